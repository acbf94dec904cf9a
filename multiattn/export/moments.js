// Attention from moment to moment: a map by itself, of the moment at which the recording stands.

chosen.toToken = false; // false: where it looks; true: who looks at it

const isMoments = () => Boolean(chosen.map?.isMoments);

async function unpackMoments(map) {
  for (const one of map.windows) {
    one.counts ??= await inflate(one.steps);
    one.scales ??= new Float32Array(bytes(one.scale).buffer);
  }
}

// The window of a moment; at a time in none of them that before it.
function windowAt(time) {
  const { windows } = chosen.map;
  return windows.findLast(({ start }) => start <= time + 1e-6) ?? windows[0];
}

const momentOf = ({ start, step, size }, time) => Math.min(size - 1, Math.max(0, Math.floor((time - start) / step + 1e-6)));

// Which moments one looks at, or which look at it: as a row over time.
function momentRow(layer = chosen.layer, head = chosen.head) {
  const { heads } = chosen.map;
  const one = windowAt(sound.currentTime);
  const moment = momentOf(one, sound.currentTime);
  const values = new Float64Array(one.size);
  const chosenHeads = !heads || head > 0 ? [head > 0 ? head - 1 : 0] : Array.from({ length: heads }, (_, i) => i);
  for (const i of chosenHeads) {
    const matrix = layer * (heads || 1) + i;
    for (let other = 0; other < one.size; other++) {
      const [query, key] = chosen.toToken ? [other, moment] : [moment, other];
      const row = matrix * one.size + query;
      values[other] += (one.counts[row * one.size + key] * one.scales[row]) / chosenHeads.length;
    }
  }
  return { start: one.start, step: one.step, values, scale: scaleOf(values, false) };
}

const spanText = ({ start, step }, moment) => `${(start + moment * step).toFixed(2)} to ${(start + (moment + 1) * step).toFixed(2)} s`;

function showMoment() {
  const row = momentRow();
  const one = windowAt(sound.currentTime);
  const best = Array.from(row.values.keys()).sort((a, b) => row.values[b] - row.values[a]).slice(0, 3);
  const listed = best.map((moment) => `${spanText(row, moment)}: ${percent(row.values[moment])}`).join("; ");
  const told = chosen.toToken ? "is looked at most by" : "looks most at";
  element("token-text").textContent = `${spanText(one, momentOf(one, sound.currentTime))} ${told} ${listed}.`;
  element("spread").textContent = spreadOf(row, "moments");
  drawMap();
}

// The whole window as a tile: down the moment that looks, across the moment that is looked at.
function drawMomentTile(context, [left, top, width, height], layer, head) {
  const { heads } = chosen.map;
  const one = windowAt(sound.currentTime);
  const values = new Float64Array(one.size * one.size);
  const chosenHeads = !heads || head > 0 ? [head > 0 ? head - 1 : 0] : Array.from({ length: heads }, (_, i) => i);
  for (const i of chosenHeads) {
    const matrix = layer * (heads || 1) + i;
    for (let query = 0; query < one.size; query++) {
      const row = matrix * one.size + query;
      for (let key = 0; key < one.size; key++) values[query * one.size + key] += (one.counts[row * one.size + key] * one.scales[row]) / chosenHeads.length;
    }
  }
  const scale = scaleOf(values, false);
  const image = new ImageData(one.size, one.size);
  values.forEach((value, cell) => paint(image.data, cell, scaled(value, scale)));
  const small = new OffscreenCanvas(one.size, one.size);
  small.getContext("2d").putImageData(image, 0, 0);
  context.imageSmoothingEnabled = true;
  context.drawImage(small, left, top, width, height);
}

// The frame around the chosen moment in the row that fills the map.
function markMoment(context, width, height, scale) {
  const one = windowAt(sound.currentTime);
  const start = one.start + momentOf(one, sound.currentTime) * one.step;
  context.strokeStyle = "#5cf2ff";
  context.lineWidth = 2 * scale;
  context.strokeRect(share(start) * width, scale, (share(start + one.step) - share(start)) * width, height - 2 * scale);
}

let momentShown = null; // the moment, the window and the direction that are drawn

// Draw again where the recording has gone on to another moment.
function followMoment() {
  if (!isMoments()) return;
  const one = windowAt(sound.currentTime);
  const now = `${one.start} ${momentOf(one, sound.currentTime)} ${chosen.toToken}`;
  if (now === momentShown) return;
  momentShown = now;
  showMoment();
  for (const shown of whenShown) shown();
}

function showWay() {
  document.querySelector(`input[name=way][value=${chosen.toToken ? "to" : "from"}]`).checked = true;
  element("tokens").hidden = !isMoments();
  element("row-scale").hidden = element("rows-help").hidden = element("click-help").hidden = isMoments();
  element("tiles-words").hidden = isMoments();
  element("tiles-moments").hidden = !isMoments();
}

for (const input of document.querySelectorAll("input[name=way]"))
  input.addEventListener("change", () => {
    chosen.toToken = input.value === "to";
    followMoment();
  });
