"use strict";
// What the scripts of all pages share: the data, the palette, numbers as text.

const data = JSON.parse(document.getElementById("data").textContent);
const element = (id) => document.getElementById(id);
const bytes = (base64) => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
const [palette, signedPalette] = data.palettes.map(bytes); // 256 x RGBA

const whenShown = []; // functions that are called after another map, word or picture is shown

async function inflate(base64) {
  const stream = new Blob([bytes(base64)]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function saveFile(name, kind, parts, type) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(parts, { type }));
  link.download = `${name.replace(/\.[^.]*$/u, "").replace(/[^\p{L}\p{N} ._-]/gu, "_") || "map"}.${kind}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

const number = (value) =>
  value !== 0 && Math.abs(value) < 1e-4 ? value.toExponential(2) : String(Number(value.toPrecision(3)));
const signed = (value) => `${value < 0 ? "\u2212" : "+"}${Number(Math.abs(value).toPrecision(4))}`;
const percent = (share) => (share > 0 && share < 0.0005 ? "< 0.1 %" : `${(100 * share).toFixed(1)} %`);

// The scale of one grid: as in `scale.py`, so that a page and a PNG have the same colors.
function scaleOf(values, signed) {
  let [low, high, whole] = [Infinity, -Infinity, 0];
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
    whole += Math.abs(value);
  }
  const even = whole / values.length;
  const common = { low, high, whole, even, signed };
  if (signed) return { ...common, zero: 0, span: Math.max(high, -low, even), flat: even === 0 };
  const flat = Math.max(high - even, even - low) <= data.flat * even;
  return { ...common, zero: low, span: Math.max(high - low, even), flat };
}

const scaled = (value, scale) => (scale.span > 0 ? (value - scale.zero) / scale.span : 0); // -1 to 1

// A multiple of the even share: × 12, × 1.9, × 0.21, × −3.0.
function times(multiple) {
  const size = Math.abs(multiple);
  const text = size.toFixed(size >= 9.95 ? 0 : size >= 0.995 ? 1 : 2);
  return `× ${multiple < 0 && Number(text) ? "\u2212" : ""}${text}`;
}

// The color of a position, -1 to 1; below 0 red and blue change places.
function paint(pixels, at, position, signed = false) {
  const color = 4 * Math.round(255 * Math.min(1, Math.abs(position)));
  const colors = signed ? signedPalette : palette;
  const [first, last] = position < 0 ? [2, 0] : [0, 2];
  pixels[4 * at] = colors[color + first];
  pixels[4 * at + 1] = colors[color + 1];
  pixels[4 * at + 2] = colors[color + last];
  pixels[4 * at + 3] = colors[color + 3];
}

// How concentrated a map is over its patches, moments or what it has, as in `maps/concentration.py`.
function spreadOf({ values, scale: { whole } }, parts = "patches") {
  if (!whole) return "";
  const shares = Array.from(values, (value) => Math.abs(value) / whole).sort((a, b) => b - a);
  const tenth = Math.ceil(shares.length / 10);
  const top = shares.slice(0, tenth).reduce((sum, one) => sum + one, 0);
  const entropy = shares.reduce((sum, one) => sum - (one > 0 ? one * Math.log(one) : 0), 0) / Math.log(shares.length);
  const even = `${percent(tenth / shares.length)} if spread evenly`;
  return `The brightest tenth of the ${parts} has ${percent(top)} of the map (${even}); entropy ${entropy.toFixed(2)} of 1.`;
}

function drawBar(opacity, signed = false) {
  const stops = [];
  const pixel = new Uint8ClampedArray(4);
  for (let i = 0; i <= 34; i++) {
    paint(pixel, 0, signed ? i / 17 - 1 : i / 34, signed);
    const [red, green, blue, alpha] = pixel;
    stops.push(`rgb(${red} ${green} ${blue} / ${((alpha / 255) * opacity).toFixed(3)})`);
  }
  element("bar").style.background = `linear-gradient(90deg, ${stops.join(", ")}) var(--between)`;
}

function showFacts(id, facts) {
  // each a tag and its text
  element(id).replaceChildren(
    ...facts.flatMap(([tag, text], i) => {
      const part = document.createElement(tag);
      part.textContent = text;
      return i ? [" ", part] : [part];
    }),
  );
}

function choice(name, value, checked, parts, choose) {
  // one of a group of which one is chosen
  const label = document.createElement("label");
  const input = document.createElement("input");
  const text = document.createElement("span");
  Object.assign(input, { type: "radio", name, value, checked });
  input.addEventListener("change", choose);
  text.append(...parts);
  label.append(input, text);
  return label;
}

function showMethods(maps, method, choose) {
  const chips = maps.map(({ name }) => choice("method", name, name === method, [name], () => choose(name)));
  element("methods").replaceChildren(...chips);
}
