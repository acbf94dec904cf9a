"use strict";
// The values of a patch in both maps and in their difference, where one points at it or goes there with the arrow keys.

const number = (value) => `${value < 0 ? "\u2212" : ""}${Math.abs(value) >= 9.95 ? Math.abs(value).toFixed(0) : Math.abs(value).toFixed(Math.abs(value) >= 0.995 ? 1 : 2)}`;

for (const block of document.querySelectorAll(".compared")) {
  const { rows, columns, box, names, values } = JSON.parse(block.dataset.maps);
  const [left, top, right, bottom] = box;
  const readout = block.nextElementSibling;
  const pictures = [...block.querySelectorAll(".over")];
  let cell = values[0].indexOf(Math.max(...values[0]));

  const show = (index) => {
    cell = index;
    const [row, column] = [Math.floor(cell / columns), cell % columns];
    for (const mark of block.querySelectorAll(".cell"))
      Object.assign(mark.style, {
        left: `${100 * (left + ((right - left) * column) / columns)}%`,
        top: `${100 * (top + ((bottom - top) * row) / rows)}%`,
        width: `${(100 * (right - left)) / columns}%`,
        height: `${(100 * (bottom - top)) / rows}%`,
      });
    const parts = names.map((name, i) => [name, ` \u00d7 ${number(values[i][cell])} even`]);
    readout.replaceChildren(
      `row ${row + 1}, column ${column + 1}: `,
      ...parts.flatMap(([name, value], i) => [i ? " \u00b7 " : "", Object.assign(document.createElement("b"), { textContent: name }), value]),
    );
  };

  const pointAt = (event) => {
    const area = event.currentTarget.getBoundingClientRect();
    const x = ((event.clientX - area.left) / area.width - left) / (right - left);
    const y = ((event.clientY - area.top) / area.height - top) / (bottom - top);
    if (x >= 0 && y >= 0 && x < 1 && y < 1) show(Math.floor(y * rows) * columns + Math.floor(x * columns));
  };

  for (const picture of pictures) for (const kind of ["pointermove", "pointerdown"]) picture.addEventListener(kind, pointAt);
  block.addEventListener("keydown", (event) => {
    const [row, column] = [Math.floor(cell / columns), cell % columns];
    const cells = {
      ArrowLeft: row * columns + Math.max(0, column - 1),
      ArrowRight: row * columns + Math.min(columns - 1, column + 1),
      ArrowUp: Math.max(0, row - 1) * columns + column,
      ArrowDown: Math.min(rows - 1, row + 1) * columns + column,
    };
    if (!(event.key in cells) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    show(cells[event.key]);
  });
  block.addEventListener("focus", () => show(cell));
}
