// The chosen map of a recording as a picture (PNG) of what is seen, and as numbers (npz).

const shownName = () => (isMoments() ? "" : chosen.unit >= 0 ? `“${units[chosen.unit].text.trim()}” · ` : "");
const fileName = () => `${data.name.replace(/\.[^.]*$/u, "")} ${chosen.map.name}._`;

// The values of a window: of words, or of layers, heads and words; from moment to moment those of the chosen moment.
function windowNumbers(one) {
  const { layers, heads } = chosen.map;
  const read = (row) => Array.from(one.rows[row], (step) => one.low[row] + step * one.scale[row]);
  const shape = [...(layers ? [layers.length, heads] : []), one.words, one.frames];
  return [new Float32Array(one.low.flatMap((_, row) => read(row))), shape];
}

function momentNumbers() {
  const { layers, heads } = chosen.map;
  const rows = layers.flatMap((_, layer) => Array.from({ length: heads || 1 }, (_, i) => Array.from(momentRow(layer, heads ? i + 1 : 0).values)));
  return [new Float32Array(rows.flat()), [layers.length, heads || 1, rows[0].length]];
}

function saveNumbers() {
  const found = isMoments() ? [momentNumbers()] : chosen.map.windows.map(windowNumbers);
  const files = found.map(([values, shape], i) => [i ? `values_${i + 1}.npy` : "values.npy", npy(values, shape)]);
  saveFile(fileName(), "npz", zip(files), "application/zip");
}

async function savePicture() {
  const [waves, heat] = [element("wave"), element("map")];
  const scale = Math.max(1, 900 / waves.width);
  const width = Math.round(waves.width * scale);
  const [above, below] = [waves, heat].map(({ height }) => Math.round(height * scale));
  const seen = `${clockOf(chosen.from, 1)} to ${clockOf(till(), 1)}`;
  await saveSheet(fileName(), {
    heading: `${data.name}: ${shownName()}${chosen.map.name} · ${seen}`,
    width,
    height: above + below,
    opacity: element("opacity").value / 100,
    draw: (context, x, y) => {
      context.fillStyle = getComputedStyle(document.body).backgroundColor; // the waveform is drawn for it
      context.fillRect(x, y, width, above);
      context.drawImage(waves, x, y, width, above);
      context.drawImage(heat, x, y + above, width, below);
    },
    ticks: ["lowest", chosen.map.meaning, "highest"],
    signed: chosen.map.signed,
    notes: [isMoments() ? element("token-text").textContent : element("row-scale").textContent.trim(), element("origin").textContent, chosen.map.note],
  });
}

element("save-png").addEventListener("click", savePicture);
element("save-npz").addEventListener("click", saveNumbers);
