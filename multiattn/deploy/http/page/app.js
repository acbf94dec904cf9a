// The page: a task, an input, and what the model said of it.

import { keepKey, keyOf, predict, Problem, servedModels } from "./api.js";
import { inputOf, listen, showInput } from "./input.js";
import { headlineOf, say, showPlain, showProblem, showWaiting } from "./results.js";
import { saveFile, shareable } from "./share.js";
import { KINDS, TASKS } from "./tasks.js";
import { clear, joined, pageOf, show } from "./viewer.js";

const find = (id) => document.getElementById(id);
const place = find("result");

let task = "classify";
let models = null; // those served; null until known
let running = null; // stops the request under way
let asked = null; // the page of the questions so far, and what they are about

const own = (wanted) => (models ?? []).filter((one) => one.task === wanted);
const modelOf = () => own(task).find(({ name }) => name === find("model").value) ?? own(task)[0];

// --- what is served ---

async function learn() {
  try {
    models = await servedModels();
  } catch (error) {
    if (error.status === 401) return askForKey();
    return showProblem(error, () => location.reload());
  }
  const chosen = new URLSearchParams(location.search).get("task");
  const first = Object.keys(TASKS).find((one) => own(one).length);
  for (const input of document.querySelectorAll("input[name=task]")) {
    input.disabled = !own(input.value).length;
    input.parentElement.title = input.disabled ? "Not served here" : "";
  }
  choose(own(chosen).length ? chosen : (first ?? task));
}

async function askForKey(problem) {
  const dialog = find("key-dialog");
  if (dialog.open) return;
  find("key-open").hidden = false;
  find("key").value = keyOf();
  if (keyOf() && problem !== null) find("key-text").textContent = "The server does not know this key.";
  dialog.returnValue = "";
  dialog.showModal();
  await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
  if (dialog.returnValue !== "keep") return models ?? showProblem(new Problem("This server asks for a key", "Nothing can be asked without one.", { status: 503 }), askForKey);
  keepKey(find("key").value.trim());
  await learn();
}

// --- choosing ---

function choose(wanted) {
  task = wanted;
  running?.abort();
  const { lead, about, needs } = TASKS[task];
  document.querySelector(`input[name=task][value=${task}]`).checked = true;
  find("lead").textContent = lead;
  find("about").textContent = about;
  find("question-field").hidden = needs !== "question";
  find("labels-field").hidden = needs !== "labels";
  const names = own(task);
  find("unserved").hidden = names.length > 0;
  find("unserved").textContent = "No model for this task is served here.";
  find("form").inert = !names.length;
  find("model-field").hidden = names.length < 2;
  find("model").replaceChildren(...names.map(({ name }) => new Option(name, name)));
  const standard = names.find(({ isDefault }) => isDefault) ?? names[0];
  if (standard) find("model").value = standard.name;
  asked = null;
  begin();
}

// Show the input; the result follows where nothing else is needed.
function begin() {
  showInput(task);
  document.body.classList.toggle("answered", false);
  clear(place);
  say("");
  if (inputOf(task) && isComplete()) return run();
  if (inputOf(task) && TASKS[task].needs) find(TASKS[task].needs).focus();
}

const textOf = () => find(TASKS[task].needs).value.trim();
const isComplete = () => !TASKS[task].needs || Boolean(textOf());

function fieldsOf(everything) {
  const fields = { model: modelOf().name };
  if (find("checking").checked) fields.check = "true";
  if (everything) fields.map_method = "all";
  if (TASKS[task].needs === "question") fields.question = everything ? asked.questions : textOf();
  if (TASKS[task].needs === "labels") fields.text = textOf().split("\n").map((one) => one.trim()).filter(Boolean);
  if (task === "transcribe") Object.assign(fields, { response_format: "verbose_json", "timestamp_granularities[]": "word" });
  return fields;
}

// --- asking ---

async function run({ everything = false } = {}) {
  running?.abort();
  const stop = (running = new AbortController());
  const file = inputOf(task);
  const model = modelOf();
  const fields = fieldsOf(everything);
  document.body.classList.add("answered");
  const ended = showWaiting(task, file, { isLoaded: model.isLoaded, stop: () => stop.abort() });
  try {
    const reply = await predict(task, file, fields, stop.signal);
    if (stop.signal.aborted) return;
    ended();
    model.isLoaded = true;
    await present(reply, { file, fields, everything });
  } catch (error) {
    ended();
    if (error.name === "AbortError") return running === stop && begin0();
    if (error.status === 401) return askForKey(error);
    if (!(error instanceof Problem)) throw error;
    showProblem(error, () => run({ everything }));
  }
}

function begin0() {
  clear(place);
  document.body.classList.remove("answered");
  say("Stopped.");
}

async function present(reply, { file, fields, everything }) {
  const html = reply.maps?.["maps.html"];
  if (!html) {
    showPlain(task, reply);
    place.prepend(...headlineOf(task, reply, {}));
    return;
  }
  let page = pageOf(html);
  if (task === "answer") {
    const about = JSON.stringify([file.name, file.size, fields.model, everything]);
    const before = asked?.about === about ? asked : null;
    if (before && !everything) page = joined(before.page, page);
    asked = { about, page, questions: [...(before?.questions ?? []), fields.question].flat() };
    find("question").value = "";
    find("question").focus();
  }
  await show(place, page);
  const content = new File([page.html], `${file.name.replace(/\.[^.]*$/u, "")}.html`, { type: "text/html" });
  const more = everything ? null : () => run({ everything: true });
  place.querySelector(".view").prepend(...headlineOf(task, reply, { save: () => saveFile(content), share: shareable(content), more }));
}

// --- events ---

for (const input of document.querySelectorAll("input[name=task]")) input.addEventListener("change", () => choose(input.value));
find("form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!inputOf(task)) return showProblem(new Problem("There is nothing to look at yet", `${KINDS[TASKS[task].kind].drop}, choose one, or try an example.`, { status: 400 }));
  if (!isComplete()) return find(TASKS[task].needs).focus();
  run();
});
find("labels").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) find("form").requestSubmit();
});
find("model").addEventListener("change", () => {
  asked = null;
  begin();
});
find("key-open").addEventListener("click", () => askForKey(null));

listen({
  task: () => task,
  taken(file, { question, labels } = {}) {
    if (question) find("question").value = question;
    if (labels) find("labels").value = labels;
    asked = null;
    begin();
  },
  refused(problem) {
    if (!problem) return begin();
    const shown = typeof problem === "string" ? new Problem("This cannot be used here", problem, { status: 400 }) : problem;
    showProblem(Object.assign(shown, { isPassing: false }));
  },
  isLive: () => false,
});
learn();
