// A stretch of the recording: its waveform, its log-mel picture, and over that a row for each word spoken in it.

const BACK = 0.65; // of the log-mel picture's brightness: heat must stand out from it
const CELL = 6; // pixels that a value is wide at least: a frame of a long stretch would be a hair
const ROW = 12; // pixels that a row is high at least
const LINES = 3; // of words over the waveform
const LINE = 17; // pixels
const LONGEST = 22; // characters of a word there
const units = []; // what can be played: words, or segments whose words have no times
const wave = new Int8Array(bytes(data.wave).buffer);
const pictures = [];

// what is chosen; layers count from 0 and the last comes first, head 0 is the mean of the heads
const chosen = { map: null, layer: Infinity, head: 0, unit: -1, from: 0, span: data.seconds };
let base = null; // the timeline's map without the mark of the chosen word

// --- values ---

async function unpack(map) {
  // once for each map: the steps of all layers, heads and words of each window
  if (map.isMoments) return unpackMoments(map);
  for (const one of map.windows) {
    if (one.rows) continue;
    const steps = await inflate(one.steps);
    one.rows = one.low.map((_, row) => steps.subarray(row * one.frames, (row + 1) * one.frames));
  }
}

// The values of a word over its window's time: { start, step, values, scale }; null where there is no map.
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
  return { start: one.start, step: one.step, values, scale: scaleOf(values, map.signed) };
}

// The value at a time, evenly from the middle of one frame to that of the next; outside the window there is none.
function valueAt(row, time) {
  if (!row) return null;
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
const isSeen = (one) => one.isWord && one.end >= chosen.from && one.start <= till();
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
  const placed = placeNames(context, width, scale);
  const names = (LINE * placed.lines + 2) * scale; // pixels for the words above
  element("playhead").style.top = `${names / scale}px`;
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
  drawNames(context, placed, scale, color("--ink"), color("--accent"));
}

// Where the words stand: each on the lowest line with room for it. Those without room are counted, below, where they are.
function placeNames(context, width, scale) {
  context.font = `${13 * scale}px system-ui, sans-serif`;
  const gap = 5 * scale;
  const reached = Array(LINES).fill(-Infinity);
  const [names, more] = [[], []];
  for (const one of shownUnits()) {
    const whole = one.text.trim();
    const text = whole.length > LONGEST ? `${whole.slice(0, LONGEST - 1)}…` : whole;
    const wide = context.measureText(text).width;
    const middle = ((share(one.start) + share(one.end)) / 2) * width;
    const left = Math.max(0, Math.min(width - wide, middle - wide / 2));
    const line = reached.findIndex((end) => end <= left);
    if (line >= 0 && wide <= width) {
      names.push({ text, left, line });
      reached[line] = left + wide + gap;
    } else more.push({ count: 1, middle: Math.max(0, Math.min(width, middle)) });
  }
  const room = context.measureText("+99").width + gap;
  for (let i = 1; i < more.length; ) {
    const [one, next] = [more[i - 1], more[i]];
    if (next.middle - one.middle >= room) i++;
    else {
      const count = one.count + next.count;
      const middle = (one.count * one.middle + next.count * next.middle) / count;
      more.splice(--i, 2, { count, middle });
      i = Math.max(1, i);
    }
  }
  const used = names.length ? Math.max(...names.map(({ line }) => line)) + 1 : 1;
  return { names, more, lines: used + (more.length ? 1 : 0), used };
}

function drawNames(context, { names, more, used }, scale, ink, accent) {
  context.font = `${13 * scale}px system-ui, sans-serif`;
  context.textBaseline = "top";
  context.fillStyle = ink;
  for (const { text, left, line } of names) context.fillText(text, left, (1 + LINE * (used - 1 - line)) * scale);
  context.fillStyle = accent;
  context.font = `bold ${13 * scale}px system-ui, sans-serif`;
  for (const { count, middle } of more) {
    const wide = context.measureText(`+${count}`).width;
    const left = Math.max(0, Math.min(context.canvas.width - wide, middle - wide / 2));
    context.fillText(`+${count}`, left, (1 + LINE * used) * scale);
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

// The rows of the words that are seen, drawn into pixels from the colors of the palette. Each is on a scale of its own,
// and a value is at least `cell` pixels wide: the highest of those around shows.
function heat(rows, width, opacity, cell = 1) {
  const image = new ImageData(width, rows.length);
  const reach = Math.floor((cell - 1) / 2);
  rows.forEach((row, y) => {
    if (!row) return;
    const plain = Array.from({ length: width }, (_, x) => valueAt(row, chosen.from + ((x + 0.5) / width) * chosen.span));
    for (let x = 0; x < width; x++) {
      if (plain[x] === null) continue;
      let value = plain[x];
      for (let near = Math.max(0, x - reach); near <= Math.min(width - 1, x + reach); near++)
        if (Math.abs(plain[near]) > Math.abs(value)) value = plain[near];
      paint(image.data, y * width + x, scaled(value, row.scale), row.scale.signed);
      image.data[4 * (y * width + x) + 3] *= opacity;
    }
  });
  const canvas = new OffscreenCanvas(width, Math.max(1, rows.length));
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

// High enough for the most words that a stretch of this length has, so that it does not change while the sound plays.
function fitRows() {
  const words = units.filter((one) => one.isWord);
  let [most, first] = [0, 0];
  words.forEach((one, i) => {
    while (words[first].end < one.start - chosen.span) first++;
    most = Math.max(most, i - first + 1);
  });
  element("map").style.minHeight = `${chosen.map && !isMoments() ? Math.min(900, ROW * most) : 0}px`;
}

function drawMap() {
  fitRows();
  const { context, width, height, scale } = sized(element("map"));
  drawPicture(context, width, height);
  const ofWords = () => shownUnits().map((one) => rowOf(one.word));
  const rows = !chosen.map ? [] : isMoments() ? [momentRow()] : ofWords();
  if (rows.length) {
    context.imageSmoothingEnabled = false;
    context.drawImage(heat(rows, width, element("opacity").value / 100, CELL * scale), 0, 0, width, height);
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
  if (isMoments()) return markMoment(context, width, height, scale);
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
  const height = isMoments() ? width : Math.round(width * 0.5);
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
      if (isMoments()) drawMomentTile(context, [left, top, width, height], layer, head);
      if (isMoments() || !shown.length) continue;
      const rows = shown.map((one) => rowOf(one.word, layer, head));
      context.drawImage(heat(rows, width, 1, 3), left, top, width, height);
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
  if (chosen.map?.layers && !isMoments()) drawTiles();
  const digits = chosen.span < 5 ? 2 : chosen.span < 20 ? 1 : 0;
  const times = [0, 0.25, 0.5, 0.75, 1].map((part) => clockOf(chosen.from + part * chosen.span, digits));
  element("clock").replaceChildren(
    ...times.map((time) => Object.assign(document.createElement("span"), { textContent: time })),
  );
}
