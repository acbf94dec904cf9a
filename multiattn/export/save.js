// The chosen map as a picture (PNG) and as numbers (npz).

function shapeOf({ layers, heads, words, rows, columns }) {
  return [...(layers ? [layers.length, heads || 1] : []), ...(words ? [words] : []), rows, columns];
}

// All values of the chosen map; of the attention from patch to patch those of the chosen token.
function numbers() {
  const cells = map.rows * map.columns;
  const grids = [];
  if (map.isTokens)
    for (let layer = 0; layer < map.layers.length; layer++)
      for (let head = 0; head < (map.heads || 1); head++) grids.push(tokenValues(map, layer, map.heads ? head + 1 : 0));
  else for (let i = 0; i < map.low.length; i++) grids.push(gridAt(map, i));
  const values = new Float32Array(grids.length * cells);
  grids.forEach((one, i) => values.set(one, i * cells));
  return values;
}

const savedName = () => `${data.pictures[chosen.picture].name.replace(/\.[^.]*$/u, "")} ${map.name}._`;

function saveNumbers() {
  saveFile(savedName(), "npz", zip([["values.npy", npy(numbers(), shapeOf(map))]]), "application/zip");
}

// The picture with the map over it, as a drawing for a sheet.
async function pictureDrawing() {
  const image = element("picture");
  await image.decode();
  const scale = Math.max(1, 640 / Math.max(image.naturalWidth, image.naturalHeight));
  const [width, height] = [Math.round(image.naturalWidth * scale), Math.round(image.naturalHeight * scale)];
  const opacity = element("opacity").value / 100;
  const [left, up, right, down] = map.box;
  const draw = (context, x, y) => {
    context.filter = `saturate(${1 - (1 - data.saturation) * opacity})`;
    context.drawImage(image, x, y, width, height);
    context.filter = "none";
    context.beginPath();
    context.rect(x, y, width, height);
    context.clip();
    context.beginPath(); // all but the part that the model saw
    context.rect(x, y, width, height);
    context.rect(x + left * width, y + up * height, (right - left) * width, (down - up) * height);
    context.fillStyle = "rgb(0 0 0 / 0.7)";
    context.fill("evenodd");
    context.globalAlpha = opacity;
    context.drawImage(element("map"), x + left * width, y + up * height, (right - left) * width, (down - up) * height);
  };
  return { width, height, opacity, draw };
}

async function savePicture() {
  const best = viewOf().predictions[0];
  const said = [textOf().words.length ? `“${wordText()}”` : best?.[0], map.name].filter(Boolean).join(" · ");
  const flat = grid.scale.flat && !map.isWords ? element("flat").textContent : "";
  await saveSheet(savedName(), {
    heading: `${data.pictures[chosen.picture].name}: ${said}`,
    ...(map.isWords ? tableDrawing() : await pictureDrawing()),
    ticks: [element("low").textContent, map.meaning, element("high").textContent],
    signed: grid.scale.signed,
    notes: [flat, element("origin").textContent, map.note, chosen.withoutSinks && !map.isWords ? sinksText() : ""],
  });
}

element("save-png").addEventListener("click", savePicture);
element("save-npz").addEventListener("click", saveNumbers);
