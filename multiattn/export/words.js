// --- the caption: each word is a choice, and says how much it owes to the picture ---

const wordsOf = () => data.pictures[chosen.picture].words;
const wordText = () => wordsOf()[chosen.word].text.trim();
const forWord = () => (map.words ? `for “${wordText()}” · ` : "");

function wordChoice(word, index, show) {
  const label = document.createElement("label");
  const input = document.createElement("input");
  const text = document.createElement("span");
  Object.assign(input, { type: "radio", name: "word", value: index, checked: index === chosen.word });
  text.textContent = word.text.trim();
  label.append(input, text);
  if (word.made_up) {
    label.className = "made-up";
    const said = document.createElement("small"); // for those who do not see the line below the word
    said.textContent = " (mean colour suffices)";
    text.append(said);
  }
  const choose = () => {
    if (chosen.word === index) return;
    chosen.word = index;
    input.checked = true;
    show();
  };
  input.addEventListener("change", choose);
  // pointing is enough; a finger has to tap
  label.addEventListener("pointerenter", (event) => event.pointerType !== "touch" && choose());
  return label;
}

function showSentence(words, show) {
  chosen.word = 0;
  element("caption").hidden = !words.length;
  if (!words.length) return;
  const parts = words.flatMap((word, index) => {
    const choice = wordChoice(word, index, show);
    const space = word.text.slice(0, word.text.length - word.text.trimStart().length);
    return space && index ? [space, choice] : [choice];
  });
  element("sentence").replaceChildren(...parts);
  element("made-up").hidden = !words.some((word) => word.made_up);
  markWord();
}

function markWord() {
  const word = wordsOf()[chosen.word];
  const facts = [["b", wordText()], ["span", `${percent(word.probability)} likely`]];
  if (word.without !== null) {
    facts.push(["span", `${percent(word.without)} by mean colour`]);
    facts.push(["span", word.likelier]);
    if (word.made_up) facts.push(["em", "mean colour suffices"]);
  }
  showFacts("word", facts);
}
