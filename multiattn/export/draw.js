// The page shows one view of one picture: a prediction, a caption, or one of several questions with its answer. A view
// has texts, and a text has maps; a text without words stands for a prediction. A map is a grid of patches, or one for
// each layer and head, and if its text has words, one for each word.

// what is chosen; layers count from 0 and the last comes first, head 0 is the mean of the heads
const chosen = { picture: 0, view: 0, text: 0, word: 0, method: "", layer: Infinity, head: 0, cell: 0, smooth: true };
let map = null; // the chosen entry of a text's maps
let grid = null; // its values: { values, scale, order }

// --- values ---

function unpack(map) {
  // the grids of all layers, heads and words, back from 16-bit steps; once for each map
  const steps = new Uint16Array(bytes(map.steps).buffer);
  const cells = map.rows * map.columns;
  map.grids = map.low.map((low, i) =>
    Float64Array.from(steps.subarray(i * cells, (i + 1) * cells), (count) => low + count * map.step[i]),
  );
}

function valuesOf(map, layer, head) {
  if (!map.grids) unpack(map);
  const word = map.words ? chosen.word : 0;
  const words = map.words || 1;
  if (!map.layers) return map.grids[word];
  const ofLayer = Array.from({ length: map.heads }, (_, i) => map.grids[(layer * map.heads + i) * words + word]);
  if (head > 0) return ofLayer[head - 1];
  return ofLayer[0].map((_, cell) => ofLayer.reduce((sum, one) => sum + one[cell], 0) / map.heads);
}

function measured(values) {
  const order = Array.from(values.keys()).sort((a, b) => values[b] - values[a]);
  return { values, order, scale: scaleOf(values, map.signed) };
}

// How concentrated the grid is, as in `maps/concentration.py`.
function spreadOf({ values, scale: { whole } }) {
  if (!whole) return "";
  const shares = Array.from(values, (value) => Math.abs(value) / whole).sort((a, b) => b - a);
  const tenth = Math.ceil(shares.length / 10);
  const top = shares.slice(0, tenth).reduce((sum, one) => sum + one, 0);
  const entropy = shares.reduce((sum, one) => sum - (one > 0 ? one * Math.log(one) : 0), 0) / Math.log(shares.length);
  const even = `${percent(tenth / shares.length)} if spread evenly`;
  return `The brightest tenth of the patches has ${percent(top)} of the map (${even}); entropy ${entropy.toFixed(2)} of 1.`;
}

// --- drawing ---

// How much each cell counts at each of `size` positions: Catmull-Rom cubic, which keeps the value at a cell's center.
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
  const { scale } = grid;
  const share = Float64Array.from(grid.values, (value) => scaled(value, scale));
  const [least, most] = [scaled(scale.low, scale), scaled(scale.high, scale)]; // a cubic runs over the highest
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
        paint(image.data, y * width + x, Math.min(most, Math.max(least, sum)), scale.signed);
      }
  } else {
    for (let y = 0; y < height; y++)
      for (let x = 0; x < width; x++)
        paint(image.data, y * width + x, share[Math.floor(y / size) * columns + Math.floor(x / size)], scale.signed);
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
      const scale = scaleOf(values, map.signed);
      const image = new ImageData(columns, rows);
      values.forEach((value, cell) => {
        paint(image.data, cell, scaled(value, scale), scale.signed);
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
  const { even, zero, span, signed, flat } = grid.scale;
  drawBar(opacity, signed);
  const multiple = (value) => `${times(even ? value / even : 0)} even`;
  element("low").textContent = multiple(signed ? -span : zero);
  element("high").textContent = multiple(zero + span);
  element("unit").textContent = map.meaning;
  element("flat").hidden = !flat;
  element("spread").textContent = grid.values.length > 1 ? spreadOf(grid) : "";
  element("opacity-value").textContent = `${element("opacity").value} %`;
  element("stage").style.setProperty("--opacity", opacity);
  element("stage").style.setProperty("--saturation", 1 - (1 - data.saturation) * opacity);
}
