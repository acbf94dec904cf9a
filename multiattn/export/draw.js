// The page shows one view of one picture: a prediction, a caption, or one of several questions with its answer. A view
// has texts, and a text has maps; a text without words stands for a prediction. A map is a grid of patches, or one for
// each layer and head, and if its text has words, one for each word.

// what is chosen; layers count from 0 and the last comes first, head 0 is the mean of the heads
const chosen = {
  picture: 0,
  view: 0,
  label: -1,
  text: 0,
  word: 0,
  method: "",
  layer: Infinity,
  head: 0,
  cell: 0,
  smooth: true,
  withoutSinks: false,
  oneScale: false,
};
let map = null; // the chosen entry of a text's maps
let grid = null; // its values: { values, scale, order }

// --- values ---

async function unpack(map) {
  // the steps of all layers, heads and words; values are made from them as they are needed
  const packed = await inflate(map.steps);
  map.counts = map.bits === 8 ? packed : new Uint16Array(packed.buffer);
}

function gridAt(map, index) {
  const cells = map.rows * map.columns;
  const { low, step } = map;
  return Float64Array.from(map.counts.subarray(index * cells, (index + 1) * cells), (count) => low[index] + count * step[index]);
}

function valuesOf(map, layer, head) {
  if (map.isTokens) return tokenValues(map, layer, head);
  const word = map.words ? chosen.word : 0;
  const words = map.words || 1;
  if (!map.layers) return gridAt(map, word);
  const at = (i) => gridAt(map, (layer * map.heads + i) * words + word);
  if (head > 0) return at(head - 1);
  const mean = new Float64Array(map.rows * map.columns);
  for (let i = 0; i < map.heads; i++) at(i).forEach((value, cell) => (mean[cell] += value / map.heads));
  return mean;
}

const sinksOf = () => data.pictures[chosen.picture].sinks.map(([row, column]) => row * map.columns + column);

// Sinks that are taken out have the lowest value of the other patches.
function withoutSinks(values) {
  if (!chosen.withoutSinks || map.isWords || !sinksOf().length) return values;
  const out = new Set(sinksOf());
  const lowest = Math.min(...values.filter((_, cell) => !out.has(cell)));
  return values.map((value, cell) => (out.has(cell) ? lowest : value));
}

const gridScale = (values) => (map.isWords ? wordScale(values) : scaleOf(values, map.signed));

function measured(all) {
  const values = withoutSinks(all);
  const order = Array.from(values.keys()).sort((a, b) => values[b] - values[a]);
  return { values, order, scale: gridScale(values) };
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

function drawLegend() {
  const opacity = element("opacity").value / 100;
  const { even, zero, span, signed, flat } = grid.scale;
  drawBar(opacity, signed);
  const multiple = (value) => `${times(even ? value / even : 0)} even`;
  element("low").textContent = multiple(signed ? -span : zero);
  element("high").textContent = multiple(zero + span);
  element("unit").textContent = map.meaning;
  element("flat").hidden = !flat || Boolean(map.isWords);
  element("spread").textContent = grid.values.length > 1 && !map.isWords ? spreadOf(grid) : "";
  element("opacity-value").textContent = `${element("opacity").value} %`;
  element("stage").style.setProperty("--opacity", opacity);
  element("stage").style.setProperty("--saturation", 1 - (1 - data.saturation) * opacity);
}
