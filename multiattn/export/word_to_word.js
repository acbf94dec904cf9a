// Attention from word to word: a table with a row for each word that attends and a column for each that is attended to.
// Colors go up to the highest share of a word: a start token has often more than all words.

chosen.special = null; // the name of a token that is no word, where one is chosen instead of a word

const isWord = (place, first, count) => place >= first && place < first + count;
const wordCount = () => textOf().words.length;

// The scale of a table: that of the words alone.
function wordScale(values) {
  const own = values.filter((_, cell) => isWord(cell % map.columns, map.firstKey, wordCount()));
  return scaleOf(own.length ? own : values, false);
}

// What is chosen: its name, its row and its column; -1 where it is none of the queries or of the keys.
function chosenPlace() {
  const { queries, keys, firstQuery, firstKey } = map;
  if (chosen.special !== null)
    return { name: chosen.special, row: queries.indexOf(chosen.special), column: keys.indexOf(chosen.special) };
  return { name: wordText(), row: firstQuery + chosen.word, column: firstKey + chosen.word };
}

// The share of each other word or token, as [name, index among the words or -1, share].
function wordShares() {
  const { queries, keys, firstQuery, firstKey, columns } = map;
  const { row, column } = chosenPlace();
  const [names, first] = chosen.toToken ? [queries, firstQuery] : [keys, firstKey];
  return names.map((name, i) => {
    const value = chosen.toToken ? grid.values[i * columns + column] : grid.values[row * columns + i];
    return [name, isWord(i, first, wordCount()) ? i - first : -1, value];
  });
}

const specialsOf = () => {
  const [names, first] = chosen.toToken ? [map.keys, map.firstKey] : [map.queries, map.firstQuery];
  return names.filter((_, i) => !isWord(i, first, wordCount()));
};

function drawTable() {
  const { queries, keys, columns } = map;
  const head = document.createElement("tr");
  const named = (tag, text, scope) => Object.assign(document.createElement(tag), { textContent: text, scope });
  head.append(document.createElement("td"));
  for (const key of keys) {
    const cell = named("th", "", "col");
    cell.append(Object.assign(document.createElement("span"), { textContent: key }));
    head.append(cell);
  }
  const pixel = new Uint8ClampedArray(4);
  const lines = queries.map((query, row) => {
    const line = document.createElement("tr");
    line.append(named("th", query, "row"));
    for (let column = 0; column < columns; column++) {
      const cell = document.createElement("td");
      paint(pixel, 0, Math.max(0, scaled(grid.values[row * columns + column], grid.scale)));
      cell.style.background = `rgb(${pixel[0]} ${pixel[1]} ${pixel[2]})`;
      line.append(cell);
    }
    return line;
  });
  element("table").replaceChildren(head, ...lines);
  element("low").textContent = percent(grid.scale.zero);
  element("high").textContent = `${percent(grid.scale.zero + grid.scale.span)} or more`;
}

// The table as a drawing for a sheet.
function tableDrawing() {
  const [cell, room] = [26, 150];
  const { queries, keys, columns } = map;
  const [width, height] = [room + cell * columns, room + cell * queries.length];
  const draw = (context, x, y) => {
    const pixel = new Uint8ClampedArray(4);
    Object.assign(context, { font: "14px system-ui, sans-serif", textBaseline: "middle", fillStyle: "#1d2027", textAlign: "right" });
    queries.forEach((query, row) => context.fillText(query, x + room - 8, y + room + (row + 0.5) * cell, room - 8));
    context.textAlign = "left";
    keys.forEach((key, column) => {
      context.save();
      context.translate(x + room + (column + 0.5) * cell, y + room - 8);
      context.rotate(-Math.PI / 2);
      context.fillText(key, 0, 0, room - 8);
      context.restore();
    });
    grid.values.forEach((value, at) => {
      paint(pixel, 0, Math.max(0, scaled(value, grid.scale)));
      context.fillStyle = `rgb(${pixel[0]} ${pixel[1]} ${pixel[2]})`;
      context.fillRect(x + room + cell * (at % columns), y + room + cell * Math.floor(at / columns), cell, cell);
    });
  };
  return { width, height, opacity: 1, draw };
}

// The cell of the highest share among words.
const strongestPair = () => grid.order.find((cell) => isWord(cell % map.columns, map.firstKey, wordCount())) ?? grid.order[0];

const cellOf = (cell) => element("table").rows[Math.floor(cell / map.columns) + 1].cells[(cell % map.columns) + 1];

function showPair(cell) {
  const [query, key] = [map.queries[Math.floor(cell / map.columns)], map.keys[cell % map.columns]];
  for (const marked of element("table").querySelectorAll(".read")) marked.classList.remove("read");
  cellOf(cell).classList.add("read");
  const position = Math.min(1, Math.max(0, scaled(grid.values[cell], grid.scale)));
  element("mark").style.left = `${100 * position}%`;
  showFacts("readout", [["b", percent(grid.values[cell])], ["span", `of the attention of “${query}” went to “${key}”`]]);
}

// The share of each word as a color behind it in the text, and the chosen row or column of the table.
function showShares() {
  const shares = wordShares();
  const { name, row, column } = chosenPlace();
  const most = Math.max(...shares.map(([, word, value]) => (word >= 0 ? value : 0)));
  const labels = element("words").querySelectorAll(".sentence")[chosen.text].querySelectorAll("label");
  for (const [, word, value] of shares)
    if (word >= 0) labels[word].style.setProperty("--share", `${most > 0 ? (60 * value) / most : 0}%`);
  for (const line of element("table").rows)
    for (const [i, cell] of [...line.cells].entries())
      cell.classList.toggle("chosen", chosen.toToken ? i === column + 1 : line.rowIndex === row + 1);
  const best = shares.filter(([, , value]) => value >= 0.005).sort((a, b) => b[2] - a[2]).slice(0, 4);
  const listed = best.map(([of, , value]) => `${of} ${percent(value)}`).join(", ");
  const told = chosen.toToken ? ["is looked at by", "no other word"] : ["looks at", "nothing"];
  element("token-text").textContent = `“${name}” ${told[0]}: ${listed || told[1]}.`;
  element("origin").textContent = `${chosen.toToken ? "to" : "from"} “${name}” · ${map.layers[chosen.layer]} · ${headName()}`;
}

function chooseSpecial(name) {
  chosen.special = name;
  showWords();
  for (const shown of whenShown) shown();
}

function showWords() {
  if (chosen.special !== null && !specialsOf().includes(chosen.special)) chosen.special = null;
  showShares();
  showSpecials(specialsOf().map((name) => [name, chosen.special === name, () => chooseSpecial(name)]));
}

const isAmong = () => Boolean(map?.isWords);

function showAmong() {
  document.body.classList.toggle("among", isAmong());
  element("matrix").hidden = !isAmong();
  if (!isAmong()) for (const label of element("words").querySelectorAll(".sentence label")) label.style.removeProperty("--share");
}

whenShown.push(showAmong);
element("matrix").addEventListener("keydown", moveCell);
element("table").addEventListener("pointermove", (event) => {
  const cell = event.target.closest("td");
  if (cell && cell.cellIndex && cell.parentElement.rowIndex)
    showCell((cell.parentElement.rowIndex - 1) * map.columns + cell.cellIndex - 1);
});
element("table").addEventListener("click", (event) => {
  const cell = event.target.closest("td, th");
  if (!cell) return;
  const place = (chosen.toToken ? cell.cellIndex : cell.parentElement.rowIndex) - 1;
  chooseQuery(place);
});
element("matrix").addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  event.preventDefault();
  chooseQuery(chosen.toToken ? chosen.cell % map.columns : Math.floor(chosen.cell / map.columns));
});

// Choose a row of the table, or a column where it is asked who looks at a word.
function chooseQuery(place) {
  if (place < 0) return;
  const [names, first] = chosen.toToken ? [map.keys, map.firstKey] : [map.queries, map.firstQuery];
  if (!isWord(place, first, wordCount())) return chooseSpecial(names[place]);
  chosen.special = null;
  chosen.word = place - first;
  element("words").querySelectorAll(".sentence")[chosen.text].querySelectorAll("input")[chosen.word].checked = true;
  markWord();
  showWords();
  for (const shown of whenShown) shown();
}
