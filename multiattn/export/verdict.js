// --- how far a map can be trusted: what was left of the prediction without what the map points at ---

const curve = { width: 300, height: 150, left: 40, right: 12, top: 10, bottom: 26 }; // as the viewBox

function shape(tag, attributes, text = "") {
  const found = document.createElementNS(element("verdict-curve").namespaceURI, tag);
  for (const [name, value] of Object.entries(attributes)) found.setAttribute(name, value);
  found.textContent = text;
  return found;
}

function curveOf({ whole, shares, deleted, center, random }) {
  const most = Math.max(0.01, whole, ...deleted, ...center, ...random);
  const last = shares[shares.length - 1];
  const x = (share) => curve.left + (share / last) * (curve.width - curve.left - curve.right);
  const y = (value) => curve.height - curve.bottom - (value / most) * (curve.height - curve.top - curve.bottom);
  const line = (values, className) => {
    const places = [[0, whole], ...values.map((value, i) => [shares[i], value])];
    return shape("polyline", { class: className, points: places.map(([share, value]) => `${x(share)},${y(value)}`).join(" ") });
  };
  const parts = [0, most].map((value) => shape("text", { x: curve.left - 6, y: y(value) + 4, class: "up" }, percent(value)));
  parts.push(shape("path", { class: "axis", d: `M${x(0)} ${y(most)}V${y(0)}H${x(last)}` }));
  for (const share of [0, ...shares.slice(1)])
    parts.push(shape("text", { x: x(share), y: curve.height - 8, class: "across" }, `${Number((100 * share).toFixed(1))} %`));
  parts.push(line(center, "center"), line(deleted, "own"));
  const quarter = x(shares[shares.indexOf(0.25)]);
  for (const value of random) parts.push(shape("circle", { class: "random", cx: quarter, cy: y(value), r: 4 }));
  deleted.forEach((value, i) => parts.push(shape("circle", { class: "own", cx: x(shares[i]), cy: y(value), r: 4 })));
  return parts;
}

function tableOf({ shares, deleted, center, random, place }) {
  const row = (tag, cells) => {
    const line = document.createElement("tr");
    line.append(...cells.map((text) => Object.assign(document.createElement(tag), { textContent: text })));
    return line;
  };
  const quarter = shares.indexOf(0.25);
  const chance = random.map(percent).join(", ");
  return [
    row("th", ["hidden", "the map\u2019s brightest", place, "random"]),
    ...shares.map((share, i) =>
      row("td", [`${Number((100 * share).toFixed(1))} %`, percent(deleted[i]), percent(center[i]), i === quarter ? chance : ""]),
    ),
  ];
}

// The verdict on a map, or on that of one of its words where that was checked.
function showVerdict(verdict, word = -1) {
  element("verdict").hidden = !verdict;
  if (!verdict) return;
  const shown = verdict.words?.[word] ?? verdict;
  element("verdict-line").textContent = shown.of === undefined ? shown.line : `\u201c${shown.of}\u201d: ${shown.line}`;
  element("verdict-line").className = `note ${shown.word.split(" ")[0]}`;
  element("verdict-curve").replaceChildren(...curveOf(shown));
  element("verdict-points").replaceChildren(...tableOf(shown));
}
