// The transcript may be corrected and saved. A word that stays as it was keeps its time, its probability and its map.

let counted = 0;
// the transcript as it stands now: that of the data with the corrections; `word` is a word's row in the maps
const spoken = data.segments.map((segment) => ({
  ...segment,
  changed: false,
  words: segment.words.map((word) => ({ ...word, word: counted++, changed: false })),
}));
let isDirty = false; // whether there are corrections that are not saved

const clean = (text) => text.replace(/\s+/gu, " ").trim();

// The text in words as the segment has them: with the space before them, or in one piece between those that are as before.
function tokensOf(text, words) {
  const hasSpaces = words.some((one, i) => i && one.text.startsWith(" ")) || words.length === 1 || text.includes(" ");
  if (hasSpaces) return (text.match(/\S+/gu) ?? []).map((token, i) => (i ? ` ${token}` : token));
  const old = words.map((one) => one.text.trim());
  let [first, rest] = [0, text];
  while (first < old.length && rest.startsWith(old[first])) rest = rest.slice(old[first++].length);
  let last = old.length;
  while (last > first && rest.endsWith(old[last - 1])) rest = rest.slice(0, rest.length - old[--last].length);
  return [...old.slice(0, first), ...(rest ? [rest] : []), ...old.slice(last)];
}

// Pairs of indices of what is equal in two lists, as many as can be in order.
function common(one, other) {
  const best = Array.from({ length: one.length + 1 }, () => new Uint16Array(other.length + 1));
  for (let i = one.length - 1; i >= 0; i--)
    for (let j = other.length - 1; j >= 0; j--)
      best[i][j] = one[i] === other[j] ? best[i + 1][j + 1] + 1 : Math.max(best[i + 1][j], best[i][j + 1]);
  const pairs = [];
  for (let [i, j] = [0, 0]; i < one.length && j < other.length; )
    if (one[i] === other[j]) pairs.push([i++, j++]);
    else if (best[i + 1][j] >= best[i][j + 1]) i++;
    else j++;
  return pairs;
}

// New words in the time of old ones, each as long as its share of the letters; as many as before have the same times.
function inTimeOf(old, tokens) {
  const made = (text, start, end, word) => ({ text, start, end, word, score: null, flags: [], changed: true });
  if (old.length === tokens.length) return tokens.map((text, i) => made(text, old[i].start, old[i].end, old[i].word));
  const [start, end] = [old[0].start, old.at(-1).end];
  const letters = tokens.map((text) => Math.max(1, text.trim().length));
  const sum = letters.reduce((total, one) => total + one, 0);
  let reached = 0;
  return tokens.map((text, i) => {
    const from = start + ((end - start) * reached) / sum;
    reached += letters[i];
    return made(text, from, start + ((end - start) * reached) / sum, -1);
  });
}

function corrected(segment, typed) {
  const text = clean(typed);
  if (text === clean(segment.text)) return segment;
  isDirty = true;
  const { words } = segment;
  if (!words.length || !text) return { ...segment, text, words: [], changed: true };
  const tokens = tokensOf(text, words);
  const kept = common(words.map((one) => one.text.trim()), tokens.map((token) => token.trim()));
  const found = [];
  let [i, j] = [0, 0];
  for (const [at, now] of [...kept, [words.length, tokens.length]]) {
    let [old, added] = [words.slice(i, at), tokens.slice(j, now)];
    if (added.length && !old.length) {
      // nothing was replaced: the word before gives them of its time, or else the one after
      const before = found.pop();
      if (before) [old, added] = [[before], [before.text, ...added]];
      else {
        found.push(...inTimeOf([words[at]], [...added, tokens[now]]));
        [i, j] = [at + 1, now + 1];
        continue;
      }
    }
    if (added.length) found.push(...inTimeOf(old, added));
    if (at < words.length) found.push({ ...words[at], text: tokens[now] });
    [i, j] = [at + 1, now + 1];
  }
  return { ...segment, text, words: found, changed: true };
}

// --- the lines that are typed in ---

function showLines() {
  units.forEach(({ button }) => button.classList.remove("lit"));
  const lines = spoken.map((segment, i) => {
    const line = document.createElement("p");
    const time = clockOf(Math.floor(segment.start), 0);
    const play = document.createElement("button");
    Object.assign(play, { type: "button", className: "small time", textContent: `▶ ${time}` });
    play.setAttribute("aria-label", `Play from ${time}`);
    play.addEventListener("click", () => playSpan(segment.start, segment.end));
    const field = document.createElement("span");
    Object.assign(field, { className: "field", textContent: segment.text, spellcheck: true });
    field.setAttribute("contenteditable", "plaintext-only");
    if (field.contentEditable !== "plaintext-only") field.setAttribute("contenteditable", "true");
    field.setAttribute("role", "textbox");
    field.setAttribute("aria-label", `Text at ${time}`);
    field.addEventListener("input", () => (isDirty = true));
    field.addEventListener("keydown", (event) => moveLine(event, i));
    line.append(play, " ", field);
    return line;
  });
  element("transcript").replaceChildren(...lines);
}

const fields = () => [...element("transcript").querySelectorAll(".field")];
const isCorrecting = () => element("correct").getAttribute("aria-pressed") === "true";

function moveLine(event, index) {
  if (event.key === "Enter" && !event.isComposing) {
    event.preventDefault();
    fields()[Math.min(index + 1, spoken.length - 1)].focus();
  } else if (event.key === "Escape") {
    event.preventDefault();
    endCorrecting();
    element("correct").focus();
  }
}

function takeLines() {
  if (isCorrecting()) fields().forEach((field, i) => (spoken[i] = corrected(spoken[i], field.textContent)));
}

function setCorrecting(isOn) {
  element("correct").setAttribute("aria-pressed", isOn);
  element("correct").textContent = isOn ? "Done" : "Correct";
  element("edit-help").hidden = !isOn;
  element("words-help").hidden = isOn;
}

function endCorrecting() {
  takeLines();
  setCorrecting(false);
  showTranscript();
  drawTimeline();
}

element("correct").addEventListener("click", () => {
  if (isCorrecting()) return endCorrecting();
  setCorrecting(true);
  showLines();
  fields()[0]?.focus();
});

for (const [kind, make] of [["srt", srtOf], ["vtt", vttOf], ["txt", textOf]])
  element(`save-${kind}`).addEventListener("click", () => {
    takeLines();
    saveFile(data.name, kind, [make(spoken)], "text/plain");
    isDirty = false;
  });

window.addEventListener("beforeunload", (event) => {
  if (isDirty) event.preventDefault();
});
