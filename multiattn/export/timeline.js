// A stretch of the recording: its waveform, its log-mel picture, and over that a row for each word spoken in it.

const BACK = 0.65; // of the log-mel picture's brightness: heat must stand out from it
const units = []; // what can be played: words, or segments whose words have no times
const wave = new Int8Array(bytes(data.wave).buffer);
const pictures = [];

// what is chosen; layers count from 0 and the last comes first, head 0 is the mean of the heads
const chosen = { map: null, layer: Infinity, head: 0, unit: -1, from: 0, span: data.seconds };
let base = null; // the timeline's map without the mark of the chosen word

// --- values ---

async function unpack(map) {
  // once for each map: the steps of all layers, heads and words of each window
  for (const one of map.windows) {
    if (one.rows) continue;
    const stream = new Blob([bytes(one.steps)]).stream().pipeThrough(new DecompressionStream("deflate"));
    const steps = new Uint8Array(await new Response(stream).arrayBuffer());
    one.rows = one.low.map((_, row) => steps.subarray(row * one.frames, (row + 1) * one.frames));
  }
}

// The values of a word over its window's time: { start, step, values, low, high }; null where there is no map.
function rowOf(word, layer = chosen.layer, head = chosen.head) {
  const { map } = chosen;
  if (!map || word < 0) return null;
  let first = 0;
  const one = map.windows.find((window) => word < (first += window.words));
  const index = word - (first - one.words);
  const read = (row) => Float64Array.from(one.rows[row], (step) => one.low[row] + step * one.scale[row]);
  let values;
  if (!map.layers) values = read(index);
  else {
    const { heads } = map;
    const row = (i) => (layer * heads + i) * one.words + index;
    if (head > 0) values = read(row(head - 1));
    else {
      values = new Float64Array(one.frames);
      for (let i = 0; i < heads; i++) read(row(i)).forEach((value, frame) => (values[frame] += value / heads));
    }
  }
  const [low, high] = values.reduce(([low, high], one) => [Math.min(low, one), Math.max(high, one)], [Infinity, -Infinity]);
  return { start: one.start, step: one.step, values, low, high };
}

// The value at a time, evenly from the middle of one frame to that of the next; outside the window there is none.
function valueAt(row, time) {
  const at = (time - row.start) / row.step;
  if (at < 0 || at >= row.values.length) return null;
  const last = row.values.length - 1;
  const left = Math.min(last, Math.max(0, Math.floor(at - 0.5)));
  const share = Math.min(1, Math.max(0, at - 0.5 - left));
  return row.values[left] * (1 - share) + row.values[Math.min(last, left + 1)] * share;
}

// --- what is to be seen ---

const till = () => chosen.from + chosen.span;
// a word of no time has a row too, wherever it stands
const isSeen = (one) => one.word >= 0 && one.end >= chosen.from && one.start <= till();
const shownUnits = () => units.filter(isSeen);
const share = (time) => (time - chosen.from) / chosen.span;

function sized(canvas) {
  // the canvas has as many pixels as the screen gives it
  const scale = window.devicePixelRatio || 1;
  const [width, height] = [Math.round(canvas.clientWidth * scale), Math.round(canvas.clientHeight * scale)];
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, width, height);
  return { context, width, height, scale };
}

function drawWave() {
  const { context, width, height, scale } = sized(element("wave"));
  const color = (name) => getComputedStyle(document.body).getPropertyValue(name);
  const columns = wave.length / 2;
  const rate = columns / data.seconds;
  const names = 18 * scale; // pixels for the words above
  const middle = (height + names) / 2;
  const half = (height - names) / 2;
  for (const [i, one] of units.entries()) {
    if (!isSeen(one)) continue;
    const [left, right] = [share(one.start) * width, share(one.end) * width];
    context.globalAlpha = i === chosen.unit ? 0.4 : 0.16;
    context.fillStyle = color("--accent");
    context.fillRect(left, names, right - left, height - names);
    context.globalAlpha = 1;
    context.fillRect(left - scale / 2, names, scale, height - names);
    context.fillRect(right - scale / 2, names, scale, height - names);
  }
  context.fillStyle = color("--soft");
  for (let x = 0; x < width; x++) {
    const first = Math.floor((chosen.from + (x / width) * chosen.span) * rate);
    const last = Math.max(first + 1, Math.floor((chosen.from + ((x + 1) / width) * chosen.span) * rate));
    let [low, high] = [0, 0];
    for (let i = first; i < Math.min(last, columns); i++) {
      low = Math.min(low, wave[i]);
      high = Math.max(high, wave[columns + i]);
    }
    const tall = Math.max(scale, ((high - low) / 127) * half);
    context.fillRect(x, middle - (high / 127) * half, 1, tall);
  }
  drawNames(context, width, scale, color("--ink"));
}

function drawNames(context, width, scale, ink) {
  // a word for which there is no room is left out here; it stands in the transcript
  context.font = `${13 * scale}px system-ui, sans-serif`;
  context.textBaseline = "top";
  context.fillStyle = ink;
  let reached = -Infinity;
  for (const one of shownUnits()) {
    const text = one.text.trim();
    const wide = context.measureText(text).width;
    const left = ((share(one.start) + share(one.end)) / 2) * width - wide / 2;
    if (left < reached || left < 0 || left + wide > width) continue;
    context.fillText(text, left, 1);
    reached = left + wide + 5 * scale;
  }
}

function drawPicture(context, width, height) {
  context.fillStyle = "#000";
  context.fillRect(0, 0, width, height);
  context.globalAlpha = BACK;
  let start = 0;
  data.pictures.forEach(({ frames }, i) => {
    const seconds = frames * data.frame;
    const [from, to] = [Math.max(chosen.from, start), Math.min(till(), start + seconds)];
    if (from < to && pictures[i].complete) {
      const source = [((from - start) / seconds) * frames, 0, ((to - from) / seconds) * frames, pictures[i].height];
      context.drawImage(pictures[i], ...source, share(from) * width, 0, ((to - from) / chosen.span) * width, height);
    }
    start += seconds;
  });
  context.globalAlpha = 1;
}

// The rows of the words that are seen, drawn into pixels from the colors of the palette.
function heat(rows, width, opacity) {
  const image = new ImageData(width, rows.length);
  rows.forEach((row, y) => {
    for (let x = 0; x < width; x++) {
      const value = valueAt(row, chosen.from + ((x + 0.5) / width) * chosen.span);
      if (value === null) continue;
      paint(image.data, y * width + x, row.high > row.low ? (value - row.low) / (row.high - row.low) : 0);
      image.data[4 * (y * width + x) + 3] *= opacity;
    }
  });
  const canvas = new OffscreenCanvas(width, rows.length);
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

function drawMap() {
  const { context, width, height } = sized(element("map"));
  drawPicture(context, width, height);
  const rows = chosen.map ? shownUnits().map((one) => rowOf(one.word)) : [];
  if (rows.length) {
    context.imageSmoothingEnabled = false;
    context.drawImage(heat(rows, width, element("opacity").value / 100), 0, 0, width, height);
  }
  base = new OffscreenCanvas(width, height);
  base.getContext("2d").drawImage(element("map"), 0, 0);
  markRow();
}

// The chosen word: its row, and in it the time in which it was spoken.
function markRow() {
  if (!base) return;
  const { context, width, height, scale } = sized(element("map"));
  context.drawImage(base, 0, 0);
  const shown = shownUnits();
  const at = shown.indexOf(units[chosen.unit]);
  if (!chosen.map || at < 0) return;
  const tall = height / shown.length;
  const [left, right] = [share(units[chosen.unit].start) * width, share(units[chosen.unit].end) * width];
  context.strokeStyle = "rgb(255 255 255 / 0.5)";
  context.lineWidth = scale;
  context.strokeRect(scale / 2, at * tall + scale / 2, width - scale, tall - scale);
  context.strokeStyle = "#fff";
  context.lineWidth = 2 * scale;
  context.strokeRect(left, at * tall + scale, right - left, tall - 2 * scale);
}

// All layers (across) and heads (down, the mean on top) as tiles: the words that are seen against time.
function drawTiles() {
  const { layers, heads } = chosen.map;
  const gap = 8;
  const width = Math.max(40, Math.floor(1400 / layers.length) - gap);
  const height = Math.round(width * 0.5);
  const canvas = element("tiles");
  canvas.width = layers.length * (width + gap) - gap;
  canvas.height = (heads + 1) * (height + gap) - gap;
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.fillStyle = "#000";
  const shown = shownUnits();
  for (let layer = 0; layer < layers.length; layer++)
    for (let head = 0; head <= heads; head++) {
      const [left, top] = [layer * (width + gap), head * (height + gap)];
      context.fillRect(left, top, width, height);
      if (!shown.length) continue;
      const rows = shown.map((one) => rowOf(one.word, layer, head));
      context.drawImage(heat(rows, width, 1), left, top, width, height);
    }
  Object.assign(element("tile").style, {
    left: `${(100 * chosen.layer * (width + gap)) / canvas.width}%`,
    top: `${(100 * chosen.head * (height + gap)) / canvas.height}%`,
    width: `${(100 * width) / canvas.width}%`,
    height: `${(100 * height) / canvas.height}%`,
  });
}

function clockOf(time, digits) {
  const whole = Math.round(time * 10 ** digits) / 10 ** digits; // first, so that 59.99 does not become 0:60
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  const seconds = (whole % 60).toFixed(digits).padStart(digits ? digits + 3 : 2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${seconds}` : `${minutes}:${seconds}`;
}

function drawTimeline() {
  if (!element("timeline").clientWidth) return; // not laid out yet; it will be drawn then
  drawWave();
  drawMap();
  if (chosen.map?.layers) drawTiles();
  const digits = chosen.span < 5 ? 2 : chosen.span < 20 ? 1 : 0;
  const times = [0, 0.25, 0.5, 0.75, 1].map((part) => clockOf(chosen.from + part * chosen.span, digits));
  element("clock").replaceChildren(
    ...times.map((time) => Object.assign(document.createElement("span"), { textContent: time })),
  );
}
