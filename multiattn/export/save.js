// The chosen map as a picture (PNG) and as numbers (npz), made in the browser.

const CRC = Uint32Array.from({ length: 256 }, (_, i) => {
  let code = i;
  for (let bit = 0; bit < 8; bit++) code = code & 1 ? 0xedb88320 ^ (code >>> 1) : code >>> 1;
  return code;
});

function crc32(content) {
  let code = 0xffffffff;
  for (const byte of content) code = CRC[(code ^ byte) & 255] ^ (code >>> 8);
  return (code ^ 0xffffffff) >>> 0;
}

// An array as NumPy stores it (.npy, version 1.0).
function npy(values, shape) {
  const described = `{'descr': '<f4', 'fortran_order': False, 'shape': (${shape.join(", ")}${shape.length === 1 ? "," : ""}), }`;
  const header = described.padEnd(Math.ceil((described.length + 11) / 64) * 64 - 11) + "\n"; // 10 bytes come before it
  const content = new Uint8Array(10 + header.length + 4 * values.length);
  const view = new DataView(content.buffer);
  content.set([0x93, ...Array.from("NUMPY", (letter) => letter.charCodeAt(0)), 1, 0]);
  view.setUint16(8, header.length, true);
  content.set(Array.from(header, (letter) => letter.charCodeAt(0)), 10);
  values.forEach((value, i) => view.setFloat32(10 + header.length + 4 * i, value, true));
  return content;
}

// A zip archive of one file, not compressed.
function zip(name, content) {
  const letters = new TextEncoder().encode(name);
  const header = (signature, size) => {
    const view = new DataView(new ArrayBuffer(size));
    view.setUint32(0, signature, true);
    return view;
  };
  const facts = (view, at) => {
    view.setUint16(at, 20, true); // the version that is needed
    view.setUint16(at + 8, 0x21, true); // 1980-01-01, the first day there is: date and time are of no interest
    view.setUint32(at + 10, crc32(content), true);
    view.setUint32(at + 14, content.length, true);
    view.setUint32(at + 18, content.length, true);
    view.setUint16(at + 22, letters.length, true);
  };
  const local = header(0x04034b50, 30);
  facts(local, 4);
  const entry = header(0x02014b50, 46);
  entry.setUint16(4, 20, true);
  facts(entry, 6);
  const end = header(0x06054b50, 22);
  end.setUint16(8, 1, true);
  end.setUint16(10, 1, true);
  end.setUint32(12, 46 + letters.length, true);
  end.setUint32(16, 30 + letters.length + content.length, true);
  return [local, letters, content, entry, letters, end];
}

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
  saveFile(savedName(), "npz", zip("values.npy", npy(numbers(), shapeOf(map))), "application/zip");
}

function lines(context, text, room) {
  const found = [];
  for (const word of text.split(/\s+/u).filter(Boolean)) {
    const longer = found.length ? `${found.at(-1)} ${word}` : word;
    if (found.length && context.measureText(longer).width <= room) found[found.length - 1] = longer;
    else found.push(word);
  }
  return found;
}

async function savePicture() {
  const image = element("picture");
  await image.decode();
  const scale = Math.max(1, 640 / Math.max(image.naturalWidth, image.naturalHeight));
  const [width, height] = [Math.round(image.naturalWidth * scale), Math.round(image.naturalHeight * scale)];
  const margin = 24;
  const total = Math.max(width, 420);
  const canvas = document.createElement("canvas");
  const context = canvas.getContext("2d");
  const [bold, plain] = ["600 20px system-ui, sans-serif", "15px system-ui, sans-serif"];
  const best = viewOf().predictions[0];
  context.font = bold;
  const said = [textOf().words.length ? `“${wordText()}”` : best?.[0], map.name].filter(Boolean).join(" · ");
  const head = lines(context, `${data.pictures[chosen.picture].name}: ${said}`, total);
  context.font = plain;
  const flat = grid.scale.flat ? element("flat").textContent : "";
  const foot = [flat, element("origin").textContent, map.note, chosen.withoutSinks ? sinksText() : ""].flatMap((text) => lines(context, text, total));
  canvas.width = total + 2 * margin;
  canvas.height = 2 * margin + 26 * head.length + 8 + height + 66 + 21 * foot.length;
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  Object.assign(context, { textBaseline: "top", fillStyle: "#1d2027", font: bold });
  head.forEach((line, i) => context.fillText(line, margin, margin + 26 * i));
  const top = margin + 26 * head.length + 8;
  const opacity = element("opacity").value / 100;
  context.filter = `saturate(${1 - (1 - data.saturation) * opacity})`;
  context.drawImage(image, margin, top, width, height);
  context.filter = "none";
  const [left, up, right, down] = map.box;
  context.save();
  context.beginPath();
  context.rect(margin, top, width, height);
  context.clip();
  context.beginPath(); // all but the part that the model saw
  context.rect(margin, top, width, height);
  context.rect(margin + left * width, top + up * height, (right - left) * width, (down - up) * height);
  context.fillStyle = "rgb(0 0 0 / 0.7)";
  context.fill("evenodd");
  context.globalAlpha = opacity;
  context.drawImage(element("map"), margin + left * width, top + up * height, (right - left) * width, (down - up) * height);
  context.restore();
  const bar = new ImageData(width, 1);
  for (let x = 0; x < width; x++) paint(bar.data, x, grid.scale.signed ? (2 * x) / (width - 1) - 1 : x / (width - 1), grid.scale.signed);
  const strip = new OffscreenCanvas(width, 1);
  strip.getContext("2d").putImageData(bar, 0, 0);
  context.fillStyle = "#808080";
  context.fillRect(margin, top + height + 12, width, 14);
  context.globalAlpha = opacity;
  context.drawImage(strip, margin, top + height + 12, width, 14);
  context.globalAlpha = 1;
  Object.assign(context, { fillStyle: "#5f6572", font: plain });
  context.fillText(element("low").textContent, margin, top + height + 32);
  context.textAlign = "right";
  context.fillText(element("high").textContent, margin + width, top + height + 32);
  context.textAlign = "center";
  context.fillText(map.meaning, margin + width / 2, top + height + 32, Math.max(80, width - 200));
  context.textAlign = "left";
  foot.forEach((line, i) => context.fillText(line, margin, top + height + 60 + 21 * i));
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  saveFile(savedName(), "png", [blob], "image/png");
}

element("save-png").addEventListener("click", savePicture);
element("save-npz").addEventListener("click", saveNumbers);
