// --- reading a patch ---

function showCell(cell) {
  chosen.cell = cell;
  if (map.isWords) return showPair(cell);
  const { rows, columns } = map;
  const row = Math.floor(cell / columns);
  const column = cell % columns;
  const value = grid.values[cell];
  const { whole, even, signed } = grid.scale;
  const rank = grid.order.indexOf(cell) + 1;
  Object.assign(element("cell").style, {
    left: `${(100 * column) / columns}%`,
    top: `${(100 * row) / rows}%`,
    width: `${100 / columns}%`,
    height: `${100 / rows}%`,
  });
  const position = scaled(value, grid.scale);
  element("mark").style.left = `${100 * (signed ? (position + 1) / 2 : position)}%`;
  const facts = [
    ["b", `${times(even ? value / even : 0)} even`],
    ["span", number(value)],
    ["span", `${percent(whole > 0 ? Math.abs(value) / whole : 0)} of the map`],
    ["span", `rank ${rank} of ${rows * columns}`],
    ["span", `row ${row + 1}, column ${column + 1}`],
  ];
  showFacts("readout", facts);
}

function pointAt(event) {
  if (!map) return;
  // the patch below the pointer; outside the crop nothing changes
  const box = element("crop").getBoundingClientRect();
  const column = Math.floor(((event.clientX - box.left) / box.width) * map.columns);
  const row = Math.floor(((event.clientY - box.top) / box.height) * map.rows);
  if (column >= 0 && row >= 0 && column < map.columns && row < map.rows) showCell(row * map.columns + column);
}

function moveCell(event) {
  if (!map) return;
  const { rows, columns } = map;
  const row = Math.floor(chosen.cell / columns);
  const column = chosen.cell % columns;
  const cells = {
    ArrowLeft: row * columns + Math.max(0, column - 1),
    ArrowRight: row * columns + Math.min(columns - 1, column + 1),
    ArrowUp: Math.max(0, row - 1) * columns + column,
    ArrowDown: Math.min(rows - 1, row + 1) * columns + column,
    Home: grid.order[0],
  };
  if (!(event.key in cells) || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  showCell(cells[event.key]);
}

// --- choosing ---

const headName = () => (chosen.head ? `head ${chosen.head - 1}` : "mean of heads");

function showGrid() {
  grid = measured(valuesOf(map, chosen.layer, chosen.head));
  if (map.layers) {
    element("layer-value").textContent = map.layers[chosen.layer];
    element("head-value").textContent = headName();
    element("layer").setAttribute("aria-valuetext", map.layers[chosen.layer]);
    element("head").setAttribute("aria-valuetext", headName());
    const of = map.isTokens ? `${chosen.toToken ? "to" : "from"} ${tokenText()} · ` : forWord();
    element("origin").textContent = `${of}${map.layers[chosen.layer]} · ${headName()}`;
    element("tile").style.left = `${chosen.layer * map.tile[0]}%`;
    element("tile").style.top = `${chosen.head * map.tile[1]}%`;
  }
  if (!map.isWords) drawMap();
  drawLegend();
  if (map.isWords) {
    drawTable();
    showWords();
  }
  showCell(map.isWords ? strongestPair() : grid.order[0]);
  for (const shown of whenShown) shown();
}

function showWord() {
  markWord();
  chosen.special = null;
  if (mapOf() !== map) return showMap(); // another text has maps of its own
  if (map.isWords) {
    showWords();
    for (const shown of whenShown) shown();
  }
  if (!map.words) return; // this map is the same for all words
  nameMap();
  if (map.layers) drawTiles();
  showGrid();
}

function nameMap() {
  showVerdict(map.verdicts[0], chosen.word);
  const target = map.words ? forWord() : map.target ? `for “${map.target}” · ` : "";
  element("origin").textContent = target + map.origin;
  showTextWords();
}

function placeCrop([left, top, right, bottom]) {
  Object.assign(element("crop").style, {
    left: `${100 * left}%`,
    top: `${100 * top}%`,
    width: `${100 * (right - left)}%`,
    height: `${100 * (bottom - top)}%`,
  });
}

function showMap() {
  map = mapOf();
  if (map.box) placeCrop(map.box); // a table has no place in the picture
  for (const input of document.querySelectorAll("input[name=method]")) input.checked = input.value === map.name;
  element("note").textContent = map.note;
  element("note").hidden = !map.note;
  nameMap();
  element("stage").setAttribute("aria-label", `Map by ${map.name} over ${data.pictures[chosen.picture].name}`);
  element("stack").hidden = element("overview").hidden = !map.layers;
  // it begins with the patch that was looked at last
  if (map.isTokens && chosen.token === null) chosen.token = prefixOf(map) + Math.min(chosen.cell, map.rows * map.columns - 1);
  if (map.layers) {
    element("head-slider").hidden = !map.heads;
    element("layer").max = map.layers.length - 1;
    element("head").max = map.heads;
    chosen.layer = Math.min(chosen.layer, map.layers.length - 1);
    chosen.head = Math.min(chosen.head, map.heads);
    element("layer").value = chosen.layer;
    element("head").value = chosen.head;
    drawTiles();
  }
  showGrid();
}

function showView(index, wish = {}) {
  chosen.view = index;
  showPredictions(showMap, wish.label);
  open(wish);
  showTexts(showWord);
  const mapped = mapOf() !== undefined;
  document.body.classList.toggle("no-map", !mapped);
  element("no-map").hidden = mapped;
  if (!mapped) {
    map = null;
    showTextWords();
    for (const shown of whenShown) shown();
    return;
  }
  chosen.method = mapOf().name; // the method stays where there is a map by it
  const { texts } = viewOf();
  const names = new Map(texts.flatMap(({ maps }) => maps.map((one) => [one.name, one])));
  showMethods([...names.values()], chosen.method, (name) => {
    chosen.method = name;
    const has = ({ maps }) => maps.some((one) => one.name === name);
    if (!has(textOf())) chooseText(texts.findIndex(has)); // one may have a kind of map that others lack
    showMap();
  });
  showMap();
}

function chooseText(index) {
  chosen.text = index;
  chosen.word = 0;
  element("words").querySelectorAll(".sentence")[index].querySelector("input").checked = true;
  markWord();
}

// What a view opens with: what an address asks for; else the last text that has maps, the answer rather than its
// question, and of a caption the word that depends most on the picture.
function open(wish) {
  const { texts } = viewOf();
  const asked = texts.findIndex(({ title, words }) => words.length && title.toLowerCase() === wish.text);
  const having = texts.findLastIndex(({ maps }) => maps.some(({ name }) => name === wish.method));
  const first = having >= 0 ? having : texts.findLastIndex((text) => text.words.length);
  chosen.text = Math.max(0, asked >= 0 ? asked : first);
  const { words, maps } = textOf();
  const drops = words.map((word) => word.drop ?? -Infinity);
  chosen.word = words[wish.word] ? wish.word : Math.max(0, drops.indexOf(Math.max(...drops)));
  if (maps.some(({ name }) => name === wish.method)) chosen.method = wish.method;
  const among = maps.find(({ isWords }) => isWords);
  chosen.special = among && chosen.method === among.name ? ([...among.queries, ...among.keys].find((name) => name === wish.special) ?? null) : null;
  const tokens = maps.find(({ isTokens }) => isTokens);
  if (tokens && wish.token < tokens.size) chosen.token = wish.token;
  chosen.toToken = wish.toToken ?? chosen.toToken;
  if (wish.layer !== undefined) chosen.layer = wish.layer;
  if (wish.head !== undefined) chosen.head = wish.head;
}

const sinksText = () => {
  const { columns } = map;
  const places = sinksOf().map((cell) => `row ${Math.floor(cell / columns) + 1}, column ${(cell % columns) + 1}`);
  const [patches, they] = places.length > 1 ? [`${places.length} patches`, "they show"] : ["1 patch", "it shows"];
  return `${patches} (${places.join("; ")}) that most others attend to in many layers, whatever ${they}.`;
};

function showSinks() {
  const { sinks } = data.pictures[chosen.picture];
  element("sinks").hidden = !sinks.length || !map;
  if (!sinks.length || !map) return;
  element("sinks-text").textContent = `Sinks: ${sinksText()}`;
  element("without-sinks").checked = chosen.withoutSinks;
}

function showPicture(index, view = 0, wish = {}) {
  chosen.picture = (index + data.pictures.length) % data.pictures.length;
  const picture = data.pictures[chosen.picture];
  element("name").textContent = picture.name;
  element("name").hidden = picture.name === data.title;
  element("position").textContent = `${chosen.picture + 1} of ${data.pictures.length}`;
  element("picture").src = picture.src;
  element("picture").alt = picture.name;
  element("left-out").textContent = picture.left_out;
  element("left-out").hidden = !picture.left_out;
  document.body.style.setProperty("--aspect", picture.width / picture.height);
  chosen.token = null;
  chosen.view = view;
  showQuestions(showView);
  showView(view, wish);
}

function showAddress() {
  const wish = wished();
  const picture = data.pictures[wish.picture] ? wish.picture : 0;
  chosen.withoutSinks = wish.withoutSinks;
  showPicture(picture, data.pictures[picture].views[wish.view] ? wish.view : 0, wish);
}

element("stage").addEventListener("pointermove", pointAt);
element("stage").addEventListener("pointerdown", pointAt);
element("stage").addEventListener("keydown", moveCell);
element("opacity").addEventListener("input", drawLegend);
element("previous").addEventListener("click", () => showPicture(chosen.picture - 1));
element("next").addEventListener("click", () => showPicture(chosen.picture + 1));
for (const choice of ["layer", "head"])
  element(choice).addEventListener("input", (event) => {
    chosen[choice] = Number(event.target.value);
    showGrid();
  });
for (const input of document.querySelectorAll("input[name=drawing]"))
  input.addEventListener("change", () => {
    chosen.smooth = input.value === "smooth";
    drawMap();
  });
element("without-sinks").addEventListener("change", (event) => {
  chosen.withoutSinks = event.target.checked;
  if (map.layers) drawTiles();
  showGrid();
});
whenShown.push(showSinks);

async function start() {
  document.documentElement.dataset.ready = "no"; // maps are packed
  const ofView = ({ texts, labels }) => [...texts.flatMap(({ maps }) => maps), ...(labels || []).flat(2)];
  const maps = data.pictures.flatMap(({ views }) => views.flatMap(ofView));
  await Promise.all(maps.map(unpack));
  for (const { tokens, views } of data.pictures) {
    if (!tokens) continue;
    const texts = views.flatMap((view) => view.texts).filter((text) => text.maps.length);
    await unpackTokens(tokens, texts[0].maps.find(({ box }) => box));
    for (const text of texts) text.maps.push(tokens);
  }
  element("pages").hidden = data.pictures.length < 2;
  showAddress();
  addEventListener("hashchange", showAddress);
  document.documentElement.dataset.ready = "yes";
}

start();
