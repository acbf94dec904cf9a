// What stands where the result comes: a picture that is looked at, what went wrong, or what the model said.

import { KINDS, TASKS } from "./tasks.js";
import { clear } from "./viewer.js";

const find = (id) => document.getElementById(id);
const place = find("result");

function made(tag, fields = {}, ...children) {
  const one = Object.assign(document.createElement(tag), fields);
  one.append(...children);
  return one;
}

/** Say something to those who do not see it, as well. */
export const say = (text) => (find("status").textContent = text);

/** Show that the model is at work; `stop` is called by a button. Returns what ends the clock. */
export function showWaiting(task, file, { isLoaded, stop }) {
  clear(place);
  const { kind } = TASKS[task];
  const text = made("p", { className: "waiting-text" });
  const cancel = made("button", { type: "button", textContent: "Stop" });
  cancel.addEventListener("click", stop);
  const parts = [made("div", { className: "pulse" }), text, cancel];
  if (kind === "picture") {
    const image = made("img", { src: URL.createObjectURL(file), alt: "" });
    image.addEventListener("error", () => image.remove()); // a format that only the server reads
    parts.unshift(image);
  }
  place.append(made("div", { className: `waiting ${kind}` }, ...parts));
  const began = performance.now();
  const tick = () => {
    const seconds = Math.floor((performance.now() - began) / 1000);
    const doing = isLoaded || seconds < 1 ? `${KINDS[kind].looking}…` : "Loading the model, which happens once…";
    text.textContent = seconds < 3 ? doing : `${doing} ${seconds} s`;
  };
  tick();
  say(`${KINDS[kind].looking} …`);
  const timer = setInterval(tick, 250);
  return () => clearInterval(timer);
}

/** Show what went wrong; `again` is called by a button. */
export function showProblem({ heading, message, wait, isPassing }, again) {
  clear(place);
  const parts = [made("h2", { textContent: heading })];
  if (message) parts.push(made("p", { textContent: message }));
  if (isPassing && again) {
    const button = made("button", { type: "button", className: "main", textContent: "Try again" });
    button.addEventListener("click", again);
    parts.push(made("div", { className: "tools" }, button, ...(wait ? [made("span", { className: "soft small", textContent: `in ${wait} s or later` })] : [])));
  }
  place.append(made("div", { className: "problem" }, ...parts));
  say("");
  place.firstChild.setAttribute("role", "alert");
}

const percent = (share) => `${(100 * share).toFixed(1)} %`;

/** What the model said, in a line: from the JSON of its reply. */
export function lineOf(task, reply) {
  if (task === "classify") return best(reply.predictions, "label");
  if (task === "match") return best(reply.matches, "text");
  if (task === "answer") return best(reply.answers, "answer");
  return [reply.text?.trim() || (task === "caption" ? "no caption" : "Nothing was heard."), ""];
}

function best([first] = [], name) {
  return first ? [first[name], first.score >= 0 && first.score <= 1 ? percent(first.score) : String(first.score)] : ["nothing", ""];
}

/** The line above a result, with what may be done with it: `save` writes its page as a file. */
export function headlineOf(task, reply, { save, share, more }) {
  const [said, score] = lineOf(task, reply);
  say(score ? `${said}, ${score}` : said);
  const tools = [];
  const tool = (textContent, act) => {
    const button = made("button", { type: "button", textContent });
    button.addEventListener("click", act);
    tools.push(button);
  };
  if (more) tool("More maps", more);
  if (share) tool("Share", share);
  if (save) tool("Save this page", save);
  const shown = ["classify", "match"].includes(task);
  const line = shown ? [made("p", { className: "said-best" }, made("b", { textContent: said }), " ", made("span", { className: "soft", textContent: score }))] : [made("span")];
  const marks = marksOf(reply).map((textContent) => made("p", { className: "notice small", textContent }));
  return [made("div", { className: "headline" }, ...line, made("div", { className: "tools" }, ...tools)), ...marks];
}

// What is unusual about the input, in sentences of the server's.
function marksOf({ damaged, out_of_domain: outside, remark }) {
  return [damaged, outside, remark].map((mark) => (typeof mark === "string" ? mark : mark?.line ?? mark?.message ?? "")).filter(Boolean);
}

/** Show what the model said where there is no page of maps. */
export function showPlain(task, reply) {
  clear(place);
  const [said, score] = lineOf(task, reply);
  place.append(made("div", { className: "plain" }, made("p", { className: "said-best" }, said, " ", made("span", { className: "soft", textContent: score }))));
}
