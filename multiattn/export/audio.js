// --- playing: the word being spoken lights up ---

const sound = element("sound");
let lit = -1; // the unit being spoken
let stopAt = null; // seconds, where only one word is played
let timer = null;
let asked = null; // the time of a seek made by this script
let wanted = null; // the name of the map to be shown as soon as it is unpacked

function spokenAt(time) {
  // the last unit that has begun, where it has not ended
  let [low, high] = [0, units.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (units[middle].start <= time) low = middle + 1;
    else high = middle;
  }
  return low && time < units[low - 1].end ? low - 1 : -1;
}

function light(index) {
  if (index === lit) return;
  if (lit >= 0) units[lit].button.classList.remove("lit");
  lit = index;
  if (lit < 0 || isCorrecting()) return;
  units[lit].button.classList.add("lit");
  choose(lit);
}

function follow() {
  const time = sound.currentTime;
  if (stopAt !== null && time >= stopAt) {
    sound.pause();
    stopAt = null;
  } else light(spokenAt(time));
  clearTimeout(timer);
  // frames come too seldom to stop at the word's end
  if (stopAt !== null) timer = setTimeout(follow, (1000 * (stopAt - time)) / sound.playbackRate);
  if (time < chosen.from || time > till()) look(time - 0.08 * chosen.span);
  followMoment();
  element("playhead").style.left = `${100 * share(time)}%`;
  element("timeline").setAttribute("aria-valuenow", time.toFixed(2));
  element("timeline").setAttribute("aria-valuetext", clockOf(time, 1));
  if (!sound.paused) requestAnimationFrame(follow);
}

function seek(time) {
  asked = Math.min(Math.max(0, time), data.seconds);
  stopAt = null;
  sound.currentTime = asked;
}

function play() {
  // being paused again at once is no error
  sound.play().catch(() => {});
}

function playSpan(start, end) {
  seek(start);
  stopAt = end;
  play();
}

function playUnit(index) {
  choose(index);
  playSpan(units[index].start, units[index].end);
}

// --- choosing ---

function look(from) {
  chosen.from = Math.max(0, Math.min(from, data.seconds - chosen.span));
  drawTimeline();
}

function choose(index) {
  if (chosen.unit >= 0) Object.assign(units[chosen.unit].button, { tabIndex: -1 }).removeAttribute("aria-current");
  chosen.unit = index;
  const { button, text, start, end, score } = units[index];
  button.tabIndex = 0;
  button.setAttribute("aria-current", "true");
  const box = element("transcript");
  const above = button.offsetTop - box.offsetTop;
  if (above < box.scrollTop || above + button.offsetHeight > box.scrollTop + box.clientHeight)
    box.scrollTop = above - box.clientHeight / 3;
  const facts = [["b", text.trim()], ["span", `${start.toFixed(2)} to ${end.toFixed(2)} s`]];
  if (score !== null) facts.push(["span", `${percent(score)} likely`]);
  if (units[index].changed) facts.push(["span", "corrected here"]);
  for (const [flag] of units[index].flags) facts.push(["em", flag]);
  showSpokenVerdict(units[index]);
  const row = isMoments() ? null : rowOf(units[index].word);
  if (!isMoments()) element("spread").textContent = row ? spreadOf(row, "moments") : "";
  if (row) {
    const peak = row.start + (row.values.indexOf(row.scale.high) + 0.5) * row.step;
    facts.push(["span", `attention peak: ${peak.toFixed(2)} s`]);
  }
  showFacts("word", facts);
  if (start < chosen.from || end > till()) look((start + end - chosen.span) / 2);
  else {
    drawWave();
    markRow();
  }
  for (const shown of whenShown) shown();
}

function showSpokenVerdict(unit) {
  // the verdict of the window that the word is in, and on the word, where each was checked
  const verdicts = chosen.map?.verdicts ?? [];
  const at = unit ? verdicts.findLastIndex((one) => one.start <= unit.start + 0.01) : 0;
  const before = verdicts.slice(0, Math.max(at, 0)).reduce((count, one) => count + (one.words?.length ?? 0), 0);
  showVerdict(verdicts[Math.max(at, 0)], unit ? unit.word - before : -1);
}

async function showMap(name) {
  wanted = name;
  const one = data.maps.find((one) => one.name === name);
  await unpack(one);
  if (wanted !== name) return; // another was chosen meanwhile
  chosen.map = one;
  element("note").textContent = one.note;
  element("note").hidden = !one.note;
  element("unit").textContent = one.meaning;
  element("stack").hidden = element("overview").hidden = !one.layers;
  momentShown = null;
  showWay();
  if (one.layers) {
    element("head-slider").hidden = !one.heads;
    element("layer").max = one.layers.length - 1;
    element("head").max = one.heads;
    chosen.layer = Math.min(chosen.layer, one.layers.length - 1);
    chosen.head = Math.min(chosen.head, one.heads);
  }
  showRows();
}

function showRows() {
  const { layers, origin } = chosen.map;
  if (layers) {
    const [layer, head] = [layers[chosen.layer], chosen.head ? `head ${chosen.head - 1}` : "mean of heads"];
    for (const [id, value, text] of [["layer", chosen.layer, layer], ["head", chosen.head, head]]) {
      element(id).value = value;
      element(id).setAttribute("aria-valuetext", text);
      element(`${id}-value`).textContent = text;
    }
    element("origin").textContent = `${layer} · ${head}`;
  } else element("origin").textContent = origin;
  if (isMoments()) {
    drawTiles();
    showMoment();
  }
  drawTimeline();
  showSpokenVerdict(units[chosen.unit]);
  if (chosen.unit >= 0) choose(chosen.unit);
  for (const shown of whenShown) shown();
}

function pointAt(event) {
  const box = element("timeline").getBoundingClientRect();
  const time = chosen.from + ((event.clientX - box.left) / box.width) * chosen.span;
  const picture = element("map").getBoundingClientRect();
  const facts = [["b", `${time.toFixed(2)} s`]];
  if (isMoments()) {
    const row = momentRow();
    const value = valueAt(row, time) === null ? null : row.values[momentOf(row.size ? row : windowAt(time), time)];
    if (value !== null) facts.push(["span", `${percent(value)} of the attention`]);
    showFacts("readout", facts);
    return time;
  }
  const shown = shownUnits();
  const at = Math.floor(((event.clientY - picture.top) / picture.height) * shown.length);
  const value = chosen.map && at >= 0 && at < shown.length ? valueAt(rowOf(shown[at].word), time) : null;
  if (value !== null) {
    const { even } = rowOf(shown[at].word).scale;
    facts.push(["span", shown[at].text.trim()], ["span", `${times(even ? value / even : 0)} even`]);
    facts.push(["span", `${number(value)} ${chosen.map.meaning}`]);
  }
  showFacts("readout", facts);
  return time;
}

// --- the transcript ---

function markOf({ score, changed }) {
  if (changed) return "changed";
  return score === null || score >= 0.6 ? "" : score >= 0.3 ? "unsure" : "doubtful";
}

function flagMark([flag, meaning]) {
  return Object.assign(document.createElement("em"), { className: "flag", textContent: flag, title: meaning });
}

function wordButton(unit) {
  const button = document.createElement("button");
  const index = units.push(unit) - 1;
  const mark = markOf(unit);
  const className = `word ${mark}`.trim();
  Object.assign(button, { type: "button", className, textContent: unit.text.trim(), tabIndex: index ? -1 : 0 });
  if (mark) button.title = unit.changed ? "corrected here" : `${percent(unit.score)} likely`;
  button.addEventListener("click", () => playUnit(index));
  unit.button = button;
  return button;
}

function showTranscript() {
  units.length = 0;
  chosen.unit = lit = -1;
  const paragraphs = spoken.map((segment) => {
    const line = document.createElement("p");
    const time = document.createElement("span");
    Object.assign(time, { className: "soft small time", textContent: clockOf(Math.floor(segment.start), 0) });
    line.append(time);
    if (segment.voice) line.append(Object.assign(document.createElement("b"), { className: "voice", textContent: segment.voice }));
    const { start, end, text } = segment;
    const parts = segment.words.map((word) => ({ ...word, isWord: true }));
    if (!parts.length && text)
      parts.push({ text, start, end, score: null, word: -1, flags: [], changed: segment.changed, isWord: false });
    for (const one of parts) {
      line.append(one.text.startsWith(" ") || one === parts[0] ? " " : "", wordButton(one));
      for (const flag of one.flags) line.append(flagMark(flag));
    }
    for (const flag of segment.flags) line.append(" ", flagMark(flag));
    return line;
  });
  const none = Object.assign(document.createElement("p"), { className: "soft", textContent: "No speech was found." });
  element("transcript").replaceChildren(...(paragraphs.length ? paragraphs : [none]));
  element("sure-help").hidden = !units.some(markOf);
  element("changed-help").hidden = !units.some(({ changed }) => changed);
}

function moveWord(event) {
  const last = units.length - 1;
  const at = units.findIndex((one) => one.button === document.activeElement);
  const next = { ArrowLeft: at - 1, ArrowUp: at - 1, ArrowRight: at + 1, ArrowDown: at + 1, Home: 0, End: last };
  if (at < 0 || !(event.key in next) || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  const index = Math.min(last, Math.max(0, next[event.key]));
  choose(index);
  units[index].button.focus();
}

function moveTime(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const times = {
    ArrowLeft: sound.currentTime - 0.1,
    ArrowRight: sound.currentTime + 0.1,
    PageUp: sound.currentTime - 5,
    PageDown: sound.currentTime + 5,
    Home: 0,
    End: data.seconds,
  };
  if (event.key === " ") {
    if (sound.paused) play();
    else sound.pause();
  } else if (event.key in times) seek(times[event.key]);
  else return;
  event.preventDefault();
}

// --- start ---

const spans = [2, 3, 5, 8, 12, 20, 30, 60].filter((seconds) => seconds < data.seconds).concat(data.seconds);

function showSpan() {
  const middle = chosen.from + chosen.span / 2;
  chosen.span = spans[element("span").value];
  element("span-value").textContent = `${number(chosen.span)} s`;
  look(middle - chosen.span / 2);
}

const name = data.name === data.title ? null : data.name;
element("name").textContent = [name, clockOf(data.seconds, 1), data.language].filter(Boolean).join(" · ");
element("timeline").setAttribute("aria-valuemin", 0);
element("timeline").setAttribute("aria-valuenow", 0);
element("timeline").setAttribute("aria-valuemax", data.seconds.toFixed(2));
element("left-out").textContent = data.left_out;
element("left-out").hidden = !data.left_out;
element("choice").hidden = element("rows-help").hidden = !data.maps.length;
element("words-help").hidden = element("tools").hidden = !data.segments.length;
sound.addEventListener("error", () => (element("unplayable").hidden = false));
sound.addEventListener("play", () => requestAnimationFrame(follow));
sound.addEventListener("timeupdate", follow); // a window in the background draws no frames
sound.addEventListener("seeked", follow);
sound.addEventListener("seeking", () => {
  // a seek by the reader: play on after it
  if (asked === null || Math.abs(sound.currentTime - asked) > 0.01) stopAt = null;
  asked = null;
});
element("transcript").addEventListener("keydown", moveWord);
element("timeline").addEventListener("keydown", moveTime);
element("timeline").addEventListener("pointermove", pointAt);
element("timeline").addEventListener("click", (event) => {
  seek(pointAt(event));
  if (!isMoments()) play();
});
element("opacity").addEventListener("input", () => {
  drawBar(element("opacity").value / 100, chosen.map?.signed);
  element("opacity-value").textContent = `${element("opacity").value} %`;
  drawMap();
});
element("span").addEventListener("input", showSpan);
element("speed").addEventListener("input", () => {
  sound.playbackRate = element("speed").value / 100;
  element("speed-value").textContent = `${element("speed").value} %`;
});
for (const choice of ["layer", "head"])
  element(choice).addEventListener("input", (event) => {
    chosen[choice] = Number(event.target.value);
    showRows();
  });
element("atlas").addEventListener("click", (event) => {
  const box = element("atlas").getBoundingClientRect();
  chosen.layer = Math.floor(((event.clientX - box.left) / box.width) * chosen.map.layers.length);
  chosen.head = Math.floor(((event.clientY - box.top) / box.height) * (chosen.map.heads + 1));
  showRows();
});
new ResizeObserver(drawTimeline).observe(element("timeline"));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawTimeline);

showTranscript();
for (const { src } of data.pictures) {
  const picture = new Image();
  picture.addEventListener("load", drawTimeline);
  picture.src = src;
  pictures.push(picture);
}
sound.src = data.sound;
element("span").max = spans.length - 1;
element("span").value = spans.findLastIndex((seconds, i) => seconds <= 12 || i === 0);
for (const id of ["opacity", "speed"]) element(id).dispatchEvent(new Event("input"));
showSpan();
