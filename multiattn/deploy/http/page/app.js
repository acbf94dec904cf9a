// The page: a task, an input, and what the model said of it.

import { keepKey, keyOf, mapsOf, predict, Problem, servedModels } from "./api.js";
import { inputOf, listen, secondsOf, showInput } from "./input.js";
import { headOf, moreMaps, say, sentence, showGrowing, showPlain, showProblem, showWaiting, toolsOf } from "./results.js";
import { saveFile, shareable } from "./share.js";
import { KINDS, TASKS } from "./tasks.js";
import { clear, joined, pageOf, show } from "./viewer.js";

const find = (id) => document.getElementById(id);
const place = find("result");

const MOST_SECONDS = 3600; // of a recording on a page of maps, as in `audio_page.py`

let task = "classify";
let models = null; // those served; null until known
let running = null; // stops the request under way
let asked = null; // the questions so far about this input, and the page with their answers
let everything = false; // whether maps by all methods are wanted

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
  if (dialog.returnValue !== "keep") return showProblem(new Problem("This server asks for a key", "It answers nothing without one.", { again: true }), () => askForKey(null), "Enter a key");
  keepKey(find("key").value.trim());
  await learn();
}

// --- choosing ---

function choose(wanted) {
  task = wanted;
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
  begin();
}

// Show the input; the result follows where nothing else is needed.
function begin() {
  [asked, everything] = [null, false];
  running?.abort();
  running = null;
  showInput(task);
  document.body.classList.toggle("answered", false);
  clear(place);
  say("");
  if (inputOf(task) && isComplete()) return run();
  if (inputOf(task)) find(TASKS[task].needs).focus();
}

const textOf = () => find(TASKS[task].needs).value.trim();
const isComplete = () => !TASKS[task].needs || Boolean(textOf());
const lines = (text) => text.split("\n").map((line) => line.trim()).filter(Boolean);

// The fields of the form that is sent; `again` asks the questions so far once more.
function fieldsOf(again) {
  const fields = { model: modelOf().name };
  if (find("checking").checked) fields.check = "true";
  if (everything) fields.map_method = "all";
  if (task === "answer") fields.question = again ? asked.questions : [textOf()];
  if (task === "match") fields.texts = lines(textOf());
  if (["classify", "match"].includes(task)) fields.map_labels = "3";
  if (task === "transcribe") Object.assign(fields, { response_format: "verbose_json", stream: "true" });
  return fields;
}

// --- asking ---

async function run({ again = false } = {}) {
  running?.abort();
  const stop = (running = new AbortController());
  const [file, model, fields] = [inputOf(task), modelOf(), fieldsOf(again)];
  document.body.classList.add("answered");
  const ended = showWaiting(task, file, { isLoaded: model.isLoaded, stop: () => stop.abort() });
  if (document.activeElement === document.body) place.focus({ preventScroll: true }); // what had the focus is gone
  try {
    if (task === "transcribe" && (await secondsOf(file)) > MOST_SECONDS) delete fields.check;
    else fields.maps = "html";
    const reply = await predict(task, file, fields, { signal: stop.signal, heard: showGrowing });
    if (stop.signal.aborted) return;
    model.isLoaded = true;
    await present(reply, file, fields.question, again);
  } catch (error) {
    if (error.name === "AbortError") {
      if (running === stop) showProblem(new Problem("Stopped", ""), () => run({ again }), "Start again");
    } else if (error.status === 401) askForKey(error);
    else if (error instanceof Problem) showProblem(of(file, error), () => run({ again }));
    else {
      showProblem(new Problem("The result cannot be shown", `This browser says: ${error.message}`, { again: false }));
      throw error;
    }
  } finally {
    ended();
  }
}

// The server was given bytes; whoever reads this gave a file.
function of({ name }, error) {
  const message = error.message.startsWith("the bytes ") ? name + error.message.slice(9) : sentence(error.message);
  return Object.assign(error, { message });
}

async function present(reply, file, questions, again) {
  const html = mapsOf(reply);
  if (!html) return showPlain(task, reply);
  let page = pageOf(html, file.name);
  if (questions) {
    if (asked && !again) {
      page = joined(asked.page, page);
      questions = [...asked.questions, ...questions];
    }
    asked = { page, questions };
    find("question").value = "";
    if (matchMedia("(hover: hover)").matches) find("question").focus(); // a keyboard on the screen would hide the answer
  }
  await show(place, page);
  const content = new File([page.html], `${file.name.replace(/\.[^.]*$/u, "")}.html`, { type: "text/html" });
  place.querySelector(".view").prepend(...headOf(task, reply));
  place.querySelector(".panel").append(toolsOf({ "Save this page": () => saveFile(content), Share: shareable(content) }));
  if (!everything) find("methods").after(moreMaps(askForAll));
}

function askForAll() {
  everything = true;
  run({ again: Boolean(asked) });
}

// --- events ---

for (const input of document.querySelectorAll("input[name=task]"))
  input.addEventListener("change", () => {
    history.replaceState(null, "", `?task=${input.value}`); // what a reload, and a link, open with
    choose(input.value);
  });
find("form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!inputOf(task)) return showProblem(new Problem("There is nothing to look at yet", `${KINDS[TASKS[task].kind].drop}, choose one, or try an example.`, { status: 400 }));
  if (!isComplete()) return find(TASKS[task].needs).focus();
  run();
});
find("labels").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) find("form").requestSubmit();
});
find("model").addEventListener("change", begin);
find("key-open").addEventListener("click", () => askForKey(null));

find("checking").addEventListener("change", () => inputOf(task) && (asked || isComplete()) && run({ again: Boolean(asked) }));

// Chooses a task for another kind of file; says whether there is one.
function turned(kind) {
  const other = Object.keys(TASKS).find((one) => TASKS[one].kind === kind && own(one).length);
  if (other) choose(other);
  return Boolean(other);
}

listen({
  task: () => task,
  turned,
  taken(file, { question, labels } = {}) {
    if (question) find("question").value = question;
    if (labels) find("labels").value = labels;
    begin();
  },
  refused: (problem) => showProblem(typeof problem === "string" ? new Problem("This cannot be used here", problem, { again: false }) : problem),
  cleared: begin,
});
learn();
