"use strict";
// What the scripts of all pages share: the data, the palette, numbers as text.

const data = JSON.parse(document.getElementById("data").textContent);
const element = (id) => document.getElementById(id);
const bytes = (base64) => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
const palette = bytes(data.palette); // 256 x RGBA

const number = (value) =>
  value !== 0 && Math.abs(value) < 1e-4 ? value.toExponential(2) : String(Number(value.toPrecision(3)));
const signed = (value) => `${value < 0 ? "\u2212" : "+"}${Number(Math.abs(value).toPrecision(4))}`;
const percent = (share) => (share > 0 && share < 0.0005 ? "< 0.1 %" : `${(100 * share).toFixed(1)} %`);

function paint(pixels, at, share) {
  const color = 4 * Math.round(255 * Math.min(1, Math.max(0, share)));
  pixels.set(palette.subarray(color, color + 4), 4 * at);
}

function drawBar(opacity) {
  const stops = [];
  for (let i = 0; i < 256; i += 15) {
    const [red, green, blue, alpha] = palette.subarray(4 * i, 4 * i + 4);
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
