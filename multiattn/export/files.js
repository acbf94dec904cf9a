// Files made in the browser: arrays as npz, and a sheet with a heading, a drawing, its scale and notes as PNG.

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

// A zip archive of files, each a name and its content, not compressed.
function zip(files) {
  const header = (signature, size) => {
    const view = new DataView(new ArrayBuffer(size));
    view.setUint32(0, signature, true);
    return view;
  };
  const [parts, entries] = [[], []];
  let [offset, listed] = [0, 0];
  for (const [name, content] of files) {
    const letters = new TextEncoder().encode(name);
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
    entry.setUint32(42, offset, true);
    parts.push(local, letters, content);
    entries.push(entry, letters);
    offset += 30 + letters.length + content.length;
    listed += 46 + letters.length;
  }
  const end = header(0x06054b50, 22);
  end.setUint16(8, files.length, true);
  end.setUint16(10, files.length, true);
  end.setUint32(12, listed, true);
  end.setUint32(16, offset, true);
  return [...parts, ...entries, end];
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

// Save a sheet as PNG: a heading, a drawing of a width and height, its scale and notes.
async function saveSheet(name, { heading, width, height, draw, ticks: [low, unit, high], signed, opacity, notes }) {
  const margin = 24;
  const total = Math.max(width, 420);
  const canvas = document.createElement("canvas");
  const context = canvas.getContext("2d");
  const [bold, plain] = ["600 20px system-ui, sans-serif", "15px system-ui, sans-serif"];
  context.font = bold;
  const head = lines(context, heading, total);
  context.font = plain;
  const foot = notes.flatMap((text) => lines(context, text, total));
  const top = margin + 26 * head.length + 8;
  const below = top + height;
  canvas.width = total + 2 * margin;
  canvas.height = below + margin + 66 + 21 * foot.length;
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  Object.assign(context, { textBaseline: "top", fillStyle: "#1d2027", font: bold });
  head.forEach((line, i) => context.fillText(line, margin, margin + 26 * i));
  context.save();
  draw(context, margin, top);
  context.restore();
  const bar = new ImageData(width, 1);
  for (let x = 0; x < width; x++) paint(bar.data, x, signed ? (2 * x) / (width - 1) - 1 : x / (width - 1), signed);
  const strip = new OffscreenCanvas(width, 1);
  strip.getContext("2d").putImageData(bar, 0, 0);
  context.fillStyle = "#808080";
  context.fillRect(margin, below + 12, width, 14);
  context.globalAlpha = opacity;
  context.drawImage(strip, margin, below + 12, width, 14);
  context.globalAlpha = 1;
  Object.assign(context, { fillStyle: "#5f6572", font: plain });
  context.fillText(low, margin, below + 32);
  context.textAlign = "right";
  context.fillText(high, margin + width, below + 32);
  context.textAlign = "center";
  context.fillText(unit, margin + width / 2, below + 32, Math.max(80, width - 200));
  context.textAlign = "left";
  foot.forEach((line, i) => context.fillText(line, margin, below + 60 + 21 * i));
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  saveFile(name, "png", [blob], "image/png");
}
