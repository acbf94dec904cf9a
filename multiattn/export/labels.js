// --- the labels of a prediction, with their scores; one that has maps of its own can be chosen ---

const ownMaps = () => (viewOf().labels || [])[chosen.label] || [];

// The map by the chosen method: of the chosen label where it has one, else of the text.
function mapOf() {
  const { maps } = textOf();
  const shared = maps.find((one) => one.name === chosen.method) || maps[0];
  const isOther = (one) => shared && one.name === shared.name && one.target !== shared.target;
  return ownMaps().find(isOther) || shared; // that of the text has a verdict, too
}

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

function showPredictions(choose) {
  const { predictions, heading, labels, texts } = viewOf();
  const explained = texts[0].maps.find((one) => one.target)?.target;
  // the label that the maps explain; none of those listed where the maps explain another, or a contrast
  chosen.label = labels ? predictions.findIndex(([label]) => label === explained) : -1;
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
