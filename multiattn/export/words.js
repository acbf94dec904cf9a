// --- the texts (a caption, or a question and its answer): each word can be chosen, and shows its probabilities ---

const NOTHING = "nothing"; // in place of an empty text
const viewOf = () => data.pictures[chosen.picture].views[chosen.view];
const textOf = () => viewOf().texts[chosen.text];
const said = ({ words, gaps }) => [...words.flatMap((word, i) => [gaps[i], word.text.trim()]), gaps.at(-1)].join("");
const wordText = () => textOf().words[chosen.word].text.trim();

function forWord() {
  if (!map.words) return "";
  const label = otherLabel();
  if (label && chosen.text === viewOf().texts.length - 1) return `for “${label}” · `; // the answer itself
  return `for “${wordText()}”${label ? ` and “${label}”` : ""} · `;
}

function wordChoice(word, text, index, show) {
  const choose = () => {
    if (chosen.text === text && chosen.word === index) return;
    chosen.text = text;
    chosen.word = index;
    label.control.checked = true;
    show();
  };
  const here = chosen.text === text && chosen.word === index;
  const label = choice("word", `${text} ${index}`, here, [word.text.trim()], choose);
  if (word.ungrounded) {
    label.className = "made-up";
    const remark = document.createElement("small"); // for screen readers, which do not tell the line below the word
    remark.textContent = " (the picture did not matter)";
    label.lastChild.append(remark);
  }
  // pointing is enough; a finger has to tap
  label.addEventListener("pointerenter", (event) => event.pointerType !== "touch" && choose());
  return label;
}

function showText({ title, words, gaps }, text, show) {
  const part = document.createElement("div");
  const heading = document.createElement("h2");
  const line = document.createElement("div");
  Object.assign(heading, { id: `text-${text}`, textContent: title });
  line.className = "sentence";
  line.setAttribute("role", "group");
  line.setAttribute("aria-labelledby", heading.id);
  for (const [index, word] of words.entries()) line.append(gaps[index], wordChoice(word, text, index, show));
  line.append(gaps.at(-1));
  if (!words.length && !gaps[0]) {
    const none = document.createElement("span");
    line.append(Object.assign(none, { className: "soft", textContent: NOTHING }));
  }
  part.append(heading, line);
  return part;
}

function showTexts(show) {
  const { texts } = viewOf();
  const words = texts.flatMap((text) => text.words);
  const spoken = texts.some(said);
  element("texts").hidden = !spoken;
  element("texts").classList.toggle("owing", words.some((word) => word.without !== null));
  element("words").replaceChildren(...(spoken ? texts.map((text, index) => showText(text, index, show)) : []));
  element("made-up").hidden = !words.some((word) => word.ungrounded);
  element("pointing").hidden = element("word").hidden = !words.length; // a text without maps has no choice of words
  if (words.length) markWord();
}

function markWord() {
  const word = textOf().words[chosen.word];
  const facts = [["b", wordText()]];
  if (word.probability !== null) facts.push(["span", `${percent(word.probability)} likely`]);
  if (word.without !== null) {
    facts.push(["span", `${percent(word.without)} without the picture`]);
    facts.push(["span", word.likelier]);
    if (word.ungrounded) facts.push(["em", "the picture did not matter"]);
  }
  showFacts("word", facts);
}

// --- the questions about a picture ---

function showQuestions(show) {
  const { views } = data.pictures[chosen.picture];
  element("questions").hidden = views.length < 2;
  if (views.length < 2) return element("asked").replaceChildren();
  const lines = views.map(({ texts: [question, answer] }, index) => {
    const asked = Object.assign(document.createElement("span"), { textContent: said(question) });
    const answered = Object.assign(document.createElement("b"), { textContent: said(answer) || NOTHING });
    return choice("question", index, index === chosen.view, [asked, " ", answered], () => show(index));
  });
  element("asked").replaceChildren(...lines);
  element("asked").scrollTop = lines[chosen.view].offsetTop - element("asked").offsetTop;
}
