"use strict";
// The data: pictures, each with its predictions and maps. A map is a grid of patches, or one for each layer and head.

const data = JSON.parse(document.getElementById("data").textContent);
const element = (id) => document.getElementById(id);
const bytes = (base64) => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
const palette = bytes(data.palette); // 256 x RGBA

// what is chosen; layers count from 0 and the last comes first, head 0 is the mean of the heads
const chosen = { picture: 0, method: "", layer: Infinity, head: 0, cell: 0, smooth: true };
let map = null; // the chosen entry of a picture's maps
let grid = null; // its values: { values, low, high, order }

// --- values ---

function unpack(map) {
  // the grids of all layers and heads, back from 16-bit steps; once for each map
  const steps = new Uint16Array(bytes(map.steps).buffer);
  const cells = map.rows * map.columns;
  map.grids = map.low.map((low, i) =>
    Float64Array.from(steps.subarray(i * cells, (i + 1) * cells), (count) => low + count * map.step[i]),
  );
}

function valuesOf(map, layer, head) {
  if (!map.grids) unpack(map);
  if (!map.layers) return map.grids[0];
  const ofLayer = map.grids.slice(layer * map.heads, (layer + 1) * map.heads);
  if (head > 0) return ofLayer[head - 1];
  return ofLayer[0].map((_, cell) => ofLayer.reduce((sum, one) => sum + one[cell], 0) / map.heads);
}

function measured(values) {
  const order = Array.from(values.keys()).sort((a, b) => values[b] - values[a]);
  return { values, order, low: values[order[order.length - 1]], high: values[order[0]] };
}

const scaled = (value) => (grid.high > grid.low ? (value - grid.low) / (grid.high - grid.low) : 0);
const number = (value) =>
  value !== 0 && Math.abs(value) < 1e-4 ? value.toExponential(2) : String(Number(value.toPrecision(3)));
const percent = (share) => (share > 0 && share < 0.0005 ? "< 0.1 %" : `${(100 * share).toFixed(1)} %`);

// --- drawing ---

function paint(pixels, at, share) {
  const colour = 4 * Math.round(255 * Math.min(1, Math.max(0, share)));
  pixels.set(palette.subarray(colour, colour + 4), 4 * at);
}

// How much each cell counts at each of `size` positions: Catmull-Rom cubic, which keeps the value at a cell's centre.
function taps(cells, size) {
  return Array.from({ length: size }, (_, i) => {
    const at = ((i + 0.5) * cells) / size - 0.5;
    const first = Math.floor(at);
    const t = at - first;
    const weights = [
      (((-t + 2) * t - 1) * t) / 2,
      ((3 * t - 5) * t * t + 2) / 2,
      (((-3 * t + 4) * t + 1) * t) / 2,
      ((t - 1) * t * t) / 2,
    ];
    return weights.map((weight, k) => [Math.min(cells - 1, Math.max(0, first + k - 1)), weight]);
  });
}

function drawMap() {
  const { rows, columns } = map;
  const size = Math.max(4, Math.round(640 / Math.max(rows, columns))); // canvas pixels a patch
  const canvas = element("map");
  const width = (canvas.width = columns * size);
  const height = (canvas.height = rows * size);
  const image = new ImageData(width, height);
  const share = Float64Array.from(grid.values, scaled);
  if (chosen.smooth) {
    const across = taps(columns, width);
    const down = taps(rows, height);
    const wide = new Float64Array(rows * width); // the rows of the grid, each drawn out to the canvas's width
    for (let y = 0; y < rows; y++)
      for (let x = 0; x < width; x++)
        for (const [cell, weight] of across[x]) wide[y * width + x] += weight * share[y * columns + cell];
    for (let y = 0; y < height; y++)
      for (let x = 0; x < width; x++) {
        let sum = 0;
        for (const [cell, weight] of down[y]) sum += weight * wide[cell * width + x];
        paint(image.data, y * width + x, sum);
      }
  } else {
    for (let y = 0; y < height; y++)
      for (let x = 0; x < width; x++)
        paint(image.data, y * width + x, share[Math.floor(y / size) * columns + Math.floor(x / size)]);
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

// All layers (across) and heads (down, the mean on top) as tiles, each on its own scale.
function drawTiles() {
  const { rows, columns, layers, heads } = map;
  const zoom = Math.max(1, Math.round(1400 / (layers.length * columns)));
  const [width, height] = [columns * zoom, rows * zoom];
  const gap = Math.ceil(width / 14);
  const canvas = element("tiles");
  canvas.width = layers.length * (width + gap) - gap;
  canvas.height = (heads + 1) * (height + gap) - gap;
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  const small = new OffscreenCanvas(columns, rows);
  for (let layer = 0; layer < layers.length; layer++)
    for (let head = 0; head <= heads; head++) {
      const values = valuesOf(map, layer, head);
      const [low, high] = [Math.min(...values), Math.max(...values)];
      const image = new ImageData(columns, rows);
      values.forEach((value, cell) => {
        paint(image.data, cell, high > low ? (value - low) / (high - low) : 0);
        image.data[4 * cell + 3] = 255;
      });
      small.getContext("2d").putImageData(image, 0, 0);
      context.drawImage(small, layer * (width + gap), head * (height + gap), width, height);
    }
  element("atlas").style.setProperty("--aspect", canvas.width / canvas.height);
  Object.assign(element("tile").style, {
    width: `${(100 * width) / canvas.width}%`,
    height: `${(100 * height) / canvas.height}%`,
  });
  map.tile = [(100 * (width + gap)) / canvas.width, (100 * (height + gap)) / canvas.height]; // percent from one to the next
}

function drawLegend() {
  const opacity = element("opacity").value / 100;
  const stops = [];
  for (let i = 0; i < 256; i += 15) {
    const [red, green, blue, alpha] = palette.subarray(4 * i, 4 * i + 4);
    stops.push(`rgb(${red} ${green} ${blue} / ${((alpha / 255) * opacity).toFixed(3)})`);
  }
  element("bar").style.background = `linear-gradient(90deg, ${stops.join(", ")}) var(--between)`;
  element("low").textContent = number(grid.low);
  element("high").textContent = number(grid.high);
  element("unit").textContent = map.meaning;
  element("opacity-value").textContent = `${element("opacity").value} %`;
  element("stage").style.setProperty("--opacity", opacity);
  element("stage").style.setProperty("--saturation", 1 - (1 - data.saturation) * opacity);
}

// --- reading a patch ---

function showCell(cell) {
  chosen.cell = cell;
  const { rows, columns } = map;
  const row = Math.floor(cell / columns);
  const column = cell % columns;
  const value = grid.values[cell];
  const whole = grid.values.reduce((sum, one) => sum + Math.abs(one), 0);
  const rank = grid.order.indexOf(cell) + 1;
  Object.assign(element("cell").style, {
    left: `${(100 * column) / columns}%`,
    top: `${(100 * row) / rows}%`,
    width: `${100 / columns}%`,
    height: `${100 / rows}%`,
  });
  element("mark").style.left = `${100 * scaled(value)}%`;
  const facts = [
    ["b", number(value)],
    ["span", `${percent(whole > 0 ? Math.abs(value) / whole : 0)} of the map`],
    ["span", `rank ${rank} of ${rows * columns}`],
    ["span", `row ${row + 1}, column ${column + 1}`],
  ];
  element("readout").replaceChildren(
    ...facts.flatMap(([tag, text], i) => {
      const part = document.createElement(tag);
      part.textContent = text;
      return i ? [" ", part] : [part];
    }),
  );
}

function pointAt(event) {
  // the patch below the pointer; outside the crop nothing changes
  const box = element("crop").getBoundingClientRect();
  const column = Math.floor(((event.clientX - box.left) / box.width) * map.columns);
  const row = Math.floor(((event.clientY - box.top) / box.height) * map.rows);
  if (column >= 0 && row >= 0 && column < map.columns && row < map.rows) showCell(row * map.columns + column);
}

function moveCell(event) {
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

function showGrid() {
  grid = measured(valuesOf(map, chosen.layer, chosen.head));
  if (map.layers) {
    const head = chosen.head ? `head ${chosen.head - 1}` : "mean of heads";
    element("layer-value").textContent = map.layers[chosen.layer];
    element("head-value").textContent = head;
    element("layer").setAttribute("aria-valuetext", map.layers[chosen.layer]);
    element("head").setAttribute("aria-valuetext", head);
    element("origin").textContent = `${map.layers[chosen.layer]} · ${head}`;
    element("tile").style.left = `${chosen.layer * map.tile[0]}%`;
    element("tile").style.top = `${chosen.head * map.tile[1]}%`;
  }
  drawMap();
  drawLegend();
  showCell(grid.order[0]);
}

function showMap() {
  const picture = data.pictures[chosen.picture];
  map = picture.maps.find((one) => one.name === chosen.method) || picture.maps[0];
  chosen.method = map.name;
  const [left, top, right, bottom] = map.box;
  Object.assign(element("crop").style, {
    left: `${100 * left}%`,
    top: `${100 * top}%`,
    width: `${100 * (right - left)}%`,
    height: `${100 * (bottom - top)}%`,
  });
  element("note").textContent = map.note;
  element("note").hidden = !map.note;
  element("origin").textContent = map.target ? `for “${map.target}” · ${map.origin}` : map.origin;
  element("stage").setAttribute("aria-label", `Map by ${map.name} over ${picture.name}`);
  element("stack").hidden = element("overview").hidden = !map.layers;
  if (map.layers) {
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

function showPicture(index) {
  chosen.picture = (index + data.pictures.length) % data.pictures.length;
  const picture = data.pictures[chosen.picture];
  element("name").textContent = picture.name;
  element("name").hidden = picture.name === data.title;
  element("position").textContent = `${chosen.picture + 1} of ${data.pictures.length}`;
  element("picture").src = picture.src;
  element("picture").alt = picture.name;
  document.body.style.setProperty("--aspect", picture.width / picture.height);
  element("predictions").replaceChildren(
    ...picture.predictions.map(([label, score]) => {
      const line = document.createElement("li");
      const name = document.createElement("span");
      name.className = "label";
      name.textContent = label;
      const bar = document.createElement("i");
      bar.style.setProperty("--share", `${100 * score}%`);
      line.append(name, percent(score), bar);
      return line;
    }),
  );
  if (!picture.maps.some((one) => one.name === chosen.method)) chosen.method = picture.maps[0].name;
  element("methods").replaceChildren(
    ...picture.maps.map((one) => {
      const label = document.createElement("label");
      const input = document.createElement("input");
      const text = document.createElement("span");
      Object.assign(input, { type: "radio", name: "method", value: one.name, checked: one.name === chosen.method });
      input.addEventListener("change", () => {
        chosen.method = one.name;
        showMap();
      });
      text.textContent = one.name;
      label.append(input, text);
      return label;
    }),
  );
  showMap();
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
element("atlas").addEventListener("click", (event) => {
  const box = element("atlas").getBoundingClientRect();
  chosen.layer = Math.floor(((event.clientX - box.left) / box.width) * map.layers.length);
  chosen.head = Math.floor(((event.clientY - box.top) / box.height) * (map.heads + 1));
  element("layer").value = chosen.layer;
  element("head").value = chosen.head;
  showGrid();
});

element("pages").hidden = data.pictures.length < 2;
showPicture(0);
