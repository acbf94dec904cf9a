// All layers (across) and heads (down, the mean on top) of the chosen map as small tiles, named along two sides.

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
  const tiles = [];
  for (let layer = 0; layer < layers.length; layer++)
    for (let head = 0; head <= heads; head++) {
      const values = withoutSinks(valuesOf(map, layer, head));
      tiles.push({ layer, head, values, scale: gridScale(values) });
    }
  if (chosen.oneScale) shareScale(tiles);
  const small = new OffscreenCanvas(columns, rows);
  for (const { layer, head, values, scale } of tiles) {
    const image = new ImageData(columns, rows);
    values.forEach((value, cell) => {
      paint(image.data, cell, scaled(value, scale), scale.signed);
      image.data[4 * cell + 3] = 255;
    });
    small.getContext("2d").putImageData(image, 0, 0);
    context.drawImage(small, layer * (width + gap), head * (height + gap), width, height);
  }
  element("atlas-frame").style.setProperty("--aspect", canvas.width / canvas.height);
  Object.assign(element("tile").style, {
    width: `${(100 * width) / canvas.width}%`,
    height: `${(100 * height) / canvas.height}%`,
  });
  map.tile = [(100 * (width + gap)) / canvas.width, (100 * (height + gap)) / canvas.height]; // percent from one to the next
  const named = (text) => Object.assign(document.createElement("span"), { textContent: text });
  element("atlas-layers").replaceChildren(...layers.map((layer) => named(/\d+/u.exec(layer)?.[0] ?? layer)));
  element("atlas-heads").replaceChildren(...Array.from({ length: heads + 1 }, (_, i) => named(i ? i - 1 : "mean")));
}

// One scale for all tiles: from the lowest value of all to the highest.
function shareScale(tiles) {
  const scales = tiles.map(({ scale }) => scale);
  const low = Math.min(...scales.map((scale) => scale.low));
  const high = Math.max(...scales.map((scale) => scale.high));
  const even = scales.reduce((sum, scale) => sum + scale.even, 0) / scales.length;
  const span = map.signed ? Math.max(high, -low, even) : Math.max(high - low, even);
  for (const tile of tiles) tile.scale = { ...tile.scale, zero: map.signed ? 0 : low, span };
}

function chooseTile(layer, head) {
  chosen.layer = Math.min(map.layers.length - 1, Math.max(0, layer));
  chosen.head = Math.min(map.heads, Math.max(0, head));
  element("layer").value = chosen.layer;
  element("head").value = chosen.head;
  showGrid();
}

element("atlas").addEventListener("click", (event) => {
  const box = element("atlas").getBoundingClientRect();
  chooseTile(
    Math.floor(((event.clientX - box.left) / box.width) * map.layers.length),
    Math.floor(((event.clientY - box.top) / box.height) * (map.heads + 1)),
  );
});
element("atlas").addEventListener("keydown", (event) => {
  const [across, down] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key] ?? [0, 0];
  if ((!across && !down) || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  chooseTile(chosen.layer + across, chosen.head + down);
});
for (const input of document.querySelectorAll("input[name=tiles]"))
  input.addEventListener("change", () => {
    chosen.oneScale = input.value === "one";
    drawTiles();
  });
