// What is asked about: a file that is chosen, dropped, pasted or taken, or an example; one for each kind.

import { mayAsk, takePicture } from "./camera.js";
import { record } from "./microphone.js";
import { KINDS, TASKS } from "./tasks.js";

const find = (id) => document.getElementById(id);
const given = { picture: null, recording: null };

/** The file that a task is asked about; null until there is one. */
export const inputOf = (task) => given[TASKS[task].kind];

const SIZES = [
  [1e6, "MB", 1],
  [1e3, "KB", 0],
  [1, "bytes", 0],
];

function sizeOf({ size }) {
  const [unit, name, digits] = SIZES.find(([least]) => size >= least) ?? SIZES.at(-1);
  return `${(size / unit).toFixed(digits)} ${name}`;
}

// Tells a recording from a picture by its type, or, where the system knows none, by its name.
function kindOf(file) {
  if (file.type.startsWith("image/")) return "picture";
  if (/^(audio|video)\//u.test(file.type) || /\.(wav|flac|ogg|oga|opus|mp3|m4a|aac|webm)$/iu.test(file.name)) return "recording";
  return /\.(jpe?g|png|webp|gif|tiff?|bmp|heic|avif)$/iu.test(file.name) ? "picture" : "";
}

/** The length of a recording; 0 where the browser cannot tell. */
export async function secondsOf(file) {
  const sound = Object.assign(document.createElement("audio"), { preload: "metadata", src: URL.createObjectURL(file) });
  await new Promise((resolve) => {
    for (const kind of ["loadedmetadata", "error"]) sound.addEventListener(kind, resolve);
    setTimeout(resolve, 2000);
  });
  URL.revokeObjectURL(sound.src);
  return sound.duration || 0;
}

/** Show what is given for a task, and what one may give. */
export function showInput(task) {
  const { kind, examples, ours } = TASKS[task];
  const file = given[kind];
  find("drop").hidden = Boolean(file);
  find("given").hidden = !file;
  find("drop-hint").textContent = KINDS[kind].drop;
  find("file-text").textContent = KINDS[kind].choose;
  find("file").accept = KINDS[kind].accept;
  find("another").textContent = KINDS[kind].another;
  find("camera").hidden = kind !== "picture";
  find("microphone").hidden = kind !== "recording";
  const thumb = find("thumb");
  thumb.hidden = !file || kind !== "picture";
  if (file) {
    find("given-name").textContent = file.name;
    find("given-size").textContent = sizeOf(file);
    if (kind === "picture") {
      URL.revokeObjectURL(thumb.src);
      thumb.src = URL.createObjectURL(file);
    }
  }
  find("examples").replaceChildren(...examples.map(exampleButton), ...(ours ? [note(ours)] : []));
}

const note = (text) => Object.assign(document.createElement("p"), { className: "soft small", textContent: text });

function exampleButton(example) {
  const button = Object.assign(document.createElement("button"), { type: "button", className: "example" });
  const name = example.file.replace(/\..*$/u, "").replaceAll("_", " ");
  if (example.file.endsWith(".png")) {
    const image = Object.assign(document.createElement("img"), { src: `page/examples/${example.file}`, alt: `Try it with: ${name}` });
    button.append(image);
  } else button.append(name);
  button.dataset.example = example.file;
  button.addEventListener("click", async () => {
    const response = await fetch(`page/examples/${example.file}`);
    const type = response.headers.get("Content-Type");
    take(new File([await response.blob()], example.file, { type }), example);
  });
  return button;
}

find("thumb").addEventListener("error", () => (find("thumb").hidden = true)); // a format that only the server reads

let [now, turn, take, fail] = []; // what `listen` was given

function give(file, example = {}) {
  const kind = kindOf(file);
  if (kind && kind !== TASKS[now()].kind && !turn(kind)) return fail(`No model here reads ${file.name}: it is a ${kind}.`);
  take(file, example);
}

/**
 * Listen for inputs. `task()` is the task that is chosen; `turned(kind)` chooses one for another kind of file, if there is
 * any; `taken(file, example)` and `refused(problem or sentence)` get what comes, and `cleared()` hears that it goes.
 */
export function listen({ task, turned, taken, refused, cleared }) {
  [now, turn, fail] = [task, turned, refused];
  take = (file, example = {}) => {
    given[TASKS[now()].kind] = file;
    taken(file, example);
  };
  find("file").addEventListener("change", ({ target }) => {
    if (target.files.length) give(target.files[0]);
    target.value = ""; // the same file may be chosen again
  });
  find("another").addEventListener("click", () => {
    given[TASKS[now()].kind] = null;
    cleared();
    find("file").focus();
  });
  find("camera").addEventListener("click", () => device(takePicture));
  find("microphone").addEventListener("click", () => device(record));
  addEventListener("dragover", (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    document.body.classList.add("dropping");
  });
  addEventListener("dragleave", (event) => event.relatedTarget || document.body.classList.remove("dropping"));
  addEventListener("drop", (event) => {
    document.body.classList.remove("dropping");
    if (!event.dataTransfer.files.length) return;
    event.preventDefault();
    give(event.dataTransfer.files[0]);
  });
  addEventListener("paste", (event) => {
    const file = event.clipboardData.files[0];
    if (!file) return; // a text, for the field that it is pasted into
    event.preventDefault();
    give(file);
  });
}

async function device(taking) {
  if (!mayAsk()) {
    const what = TASKS[now()].kind === "picture" ? "camera" : "microphone";
    return fail(`Browsers lend the ${what} only to pages by https, or from this machine itself: choose a file instead.`);
  }
  try {
    const file = await taking();
    if (file) give(file);
  } catch (problem) {
    fail(problem);
  }
}
