// Attention from patch to patch: a map by itself, of the patch (or class token) that is chosen.

chosen.token = null; // its index among all tokens; null until one is chosen
chosen.toToken = false; // false: where it looks; true: who looks at it

async function unpackTokens(map, { rows, columns, box }) {
  Object.assign(map, { rows, columns, box, isTokens: true, verdicts: [] });
  map.counts = await inflate(map.steps);
  map.scales = new Float32Array(bytes(map.scale).buffer);
}

const prefixOf = (map) => map.prefix.length;

function tokenValues(map, layer, head) {
  const { size, heads } = map;
  const [first, patches] = [prefixOf(map), map.rows * map.columns];
  const values = new Float64Array(patches);
  const chosenHeads = !heads || head > 0 ? [head > 0 ? head - 1 : 0] : Array.from({ length: heads }, (_, i) => i);
  for (const one of chosenHeads) {
    const matrix = layer * (heads || 1) + one;
    for (let patch = 0; patch < patches; patch++) {
      const [query, key] = chosen.toToken ? [first + patch, chosen.token] : [chosen.token, first + patch];
      values[patch] += (map.counts[(matrix * size + query) * size + key] * map.scales[matrix * size + query]) / chosenHeads.length;
    }
  }
  return values;
}

function tokenText() {
  const cell = chosen.token - prefixOf(map);
  if (cell < 0) return map.prefix[chosen.token];
  return `row ${Math.floor(cell / map.columns) + 1}, column ${(cell % map.columns) + 1}`;
}

function chooseToken(token) {
  chosen.token = token;
  drawTiles();
  showGrid();
}

// The patch below the pointer or the marked one.
const choosePatch = () => map?.isTokens && chooseToken(prefixOf(map) + chosen.cell);

function showTokens() {
  const isTokens = Boolean(map?.isTokens);
  element("tokens").hidden = !isTokens && !map?.isWords;
  element("token").hidden = !isTokens;
  document.body.classList.toggle("choosing", isTokens);
  document.querySelector(`input[name=way][value=${chosen.toToken ? "to" : "from"}]`).checked = true;
  element("choose-patch").hidden = !isTokens;
  element("choose-word").hidden = isTokens;
  if (!isTokens) return;
  const cell = chosen.token - prefixOf(map);
  element("token").hidden = cell < 0;
  Object.assign(element("token").style, {
    left: `${(100 * (cell % map.columns)) / map.columns}%`,
    top: `${(100 * Math.floor(cell / map.columns)) / map.rows}%`,
    width: `${100 / map.columns}%`,
    height: `${100 / map.rows}%`,
  });
  element("token-text").textContent = `Shown for: ${tokenText()}.`;
  showSpecials(map.prefix.map((name, i) => [name, chosen.token === i, () => chooseToken(i)]));
}

// Buttons for the tokens that are no patch or word: each a name, whether it is chosen, and what chooses it.
function showSpecials(tokens) {
  const buttons = tokens.map(([name, isChosen, choose], i) => {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: name });
    button.setAttribute("aria-pressed", isChosen);
    button.addEventListener("click", () => {
      choose();
      element("prefix").children[i].focus(); // it was made again
    });
    return button;
  });
  element("prefix").replaceChildren(...buttons);
}

whenShown.push(showTokens);
element("stage").addEventListener("click", choosePatch);
element("stage").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !map?.isTokens) return;
  event.preventDefault();
  choosePatch();
});
for (const input of document.querySelectorAll("input[name=way]"))
  input.addEventListener("change", () => {
    chosen.toToken = input.value === "to";
    if (map.isTokens) drawTiles(); // of words they are whole tables
    showGrid();
  });
