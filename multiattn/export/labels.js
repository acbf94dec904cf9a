// --- the labels of a prediction, with their scores; one that has maps of its own can be chosen ---

// Of each label, maps by text: of a prediction one text without words, of an answer its question and itself.
const ownMaps = () => viewOf().labels?.[chosen.label]?.[chosen.text] ?? [];

// The label that the maps of the texts explain; -1 where none of those listed is it.
function explainedLabel() {
  const { predictions, texts } = viewOf();
  const target = texts.at(-1).maps.find((one) => one.target)?.target;
  return predictions.findIndex(([label]) => label === target);
}

// The map by the chosen method: of the chosen label where it has one, else of the text, which has a verdict, too.
function mapOf() {
  const { maps } = textOf();
  const shared = maps.find((one) => one.name === chosen.method) || maps[0];
  if (!shared || chosen.label === explainedLabel()) return shared;
  return ownMaps().find((one) => one.name === shared.name) ?? shared;
}

// The label of a map that is another's than the text's.
const otherLabel = () => (viewOf().texts.length > 1 && ownMaps().includes(map) ? map.target : "");

function labelName(label, index, choose) {
  const name = document.createElement("span");
  name.className = "label";
  if (!(viewOf().labels || [])[index]) {
    name.textContent = label;
    return name;
  }
  const chosenNow = () => {
    chosen.label = index;
    choose();
  };
  name.append(choice("label", index, index === chosen.label, [label], chosenNow));
  return name;
}

function predictionLine([label, score], index, choose) {
  const line = document.createElement("li");
  const name = labelName(label, index, choose);
  if (viewOf().values) {
    line.append(name, signed(score));
    return line;
  }
  const bar = document.createElement("i");
  bar.style.setProperty("--share", `${100 * score}%`);
  line.append(name, percent(score), bar);
  return line;
}

function showPredictions(choose, wish) {
  const { predictions, heading, labels } = viewOf();
  chosen.label = labels ? (labels[wish] ? wish : explainedLabel()) : -1;
  element("prediction-title").textContent = heading;
  element("predictions").replaceChildren(...predictions.map((one, index) => predictionLine(one, index, choose)));
  element("prediction").hidden = !predictions.length;
  element("choose-label").hidden = !labels;
}

// The words of the text that the map explains, each in the shade of what it counts: of the largest word of the text.
function showTextWords() {
  const words = (map && map.of_words) || [];
  element("of-text").hidden = !words.length;
  const largest = Math.max(...words.map(([, value]) => Math.abs(value)), 0);
  const even = words.reduce((sum, [, value]) => sum + Math.abs(value), 0) / (words.length || 1);
  const shaded = words.map(([word, value]) => {
    const span = document.createElement("span");
    span.textContent = word.trim();
    span.className = value < 0 ? "against" : "for";
    span.style.setProperty("--share", `${largest > 0 ? 70 * (Math.abs(value) / largest) : 0}%`);
    span.title = `${times(even ? value / even : 0)} even · ${number(value)}`;
    const amount = document.createElement("small");
    amount.textContent = times(even ? value / even : 0);
    span.append(amount);
    return span;
  });
  element("shaded").replaceChildren(...shaded.flatMap((span) => [span, " "]));
}
