// What stands where the result comes: an input that is looked at, what went wrong, or what the model said.

import { KINDS, TASKS } from "./tasks.js";
import { clear } from "./viewer.js";

const find = (id) => document.getElementById(id);
const place = find("result");

function made(tag, fields = {}, ...children) {
  const one = Object.assign(document.createElement(tag), fields);
  one.append(...children);
  return one;
}

function button(textContent, act, className = "") {
  const one = made("button", { type: "button", textContent, className });
  one.addEventListener("click", act);
  return one;
}

/** Say something to those who do not see it. */
export const say = (text) => (find("status").textContent = text);

/** Show that the model is at work, until what is returned is called; `stop` is called by a button. */
export function showWaiting(task, file, { isLoaded, stop }) {
  clear(place);
  const { kind } = TASKS[task];
  const text = made("p", { className: "waiting-text" });
  const parts = [made("div", { className: "pulse" }), text, made("p", { className: "growing", id: "growing" }), button("Stop", stop)];
  if (kind === "picture") {
    const image = made("img", { src: URL.createObjectURL(file), alt: "" });
    image.addEventListener("load", () => URL.revokeObjectURL(image.src));
    image.addEventListener("error", () => image.remove()); // a format that only the server reads
    parts.unshift(image);
  }
  place.append(made("div", { className: `waiting ${kind}` }, ...parts));
  const began = performance.now();
  const tick = () => {
    const seconds = Math.floor((performance.now() - began) / 1000);
    const doing = isLoaded || seconds < 1 ? `${KINDS[kind].doing}…` : "Loading the model, which happens once…";
    text.textContent = seconds < 3 ? doing : `${doing} ${seconds} s`;
  };
  tick();
  say(`${KINDS[kind].doing}…`);
  const timer = setInterval(tick, 250);
  return () => clearInterval(timer);
}

/** Show the text of a recording as far as it is written. */
export function showGrowing(text) {
  if (find("growing")) find("growing").textContent = text;
}

/** A text as a sentence begins. */
export const sentence = (text) => text.slice(0, 1).toUpperCase() + text.slice(1);

/** Show what went wrong; `again` is called by a button, where that may help. */
export function showProblem({ heading, message, wait, again: mayHelp }, again, name = "Try again") {
  clear(place);
  const parts = [made("h2", { textContent: heading })];
  if (message) parts.push(made("p", { textContent: message }));
  if (mayHelp && again) {
    const later = wait && !message.includes(`${wait} s`) ? [made("span", { className: "soft small", textContent: `in ${wait} s or later` })] : [];
    parts.push(made("div", { className: "tools" }, button(name, again, "main"), ...later));
  }
  say("");
  const box = made("div", { className: "problem" });
  box.setAttribute("role", "alert");
  place.append(box);
  box.append(...parts);
}

// --- what the model said ---

const percent = (share) => (share > 0 && share < 0.0005 ? "< 0.1 %" : `${(100 * share).toFixed(1)} %`);

const BEST = { classify: ["predictions", "label"], match: ["texts", "text"], answer: ["answers", "answer"] };

// The text and, where there is one, its score.
function saidOf(task, reply) {
  const [list, name] = BEST[task] ?? [];
  if (!list) return [reply.text.trim() || (task === "caption" ? "No words came." : "Nothing was heard."), ""];
  const best = reply[list].at(task === "answer" ? -1 : 0);
  if (!best) return ["None of the labels", ""];
  return [best[name] || "no answer", reply.score_kind === "value" ? String(Number(best.score.toPrecision(4))) : percent(best.score)];
}

const KNOWN = {
  damaged: ({ reason, place: where }) => `The file is damaged (${reason}): it was used without what is missing ${where}.`,
  out_of_domain: ({ words }) =>
    words ? `The model has not learned the words ${words.map((word) => `“${word}”`).join(", ")}.` : "This differs from the pictures that the model has learned: what it says may mean little.",
  remark: (text) => `${sentence(text).replace(/\.$/u, "")}.`,
};

function marksOf(reply) {
  const parts = [reply, ...(reply.answers ?? []).slice(-1)];
  const texts = parts.flatMap((part) => Object.entries(KNOWN).flatMap(([name, sentence]) => (part[name] ? [sentence(part[name])] : [])));
  return [...new Set(texts)].map((textContent) => made("p", { className: "remark small", textContent }));
}

/** What stands above a result: its label or text, where the page of maps says it only beside; and what is unusual. */
export function headOf(task, reply) {
  const [said, score] = saidOf(task, reply);
  say(score ? `${said}, ${score}` : said);
  const line = made("p", { className: "said-best" }, made("b", { textContent: said }), " ", made("span", { className: "soft", textContent: score }));
  return [...(["classify", "match"].includes(task) ? [line] : []), ...marksOf(reply)];
}

/** What may be done with a result: names, and what they do; null leaves one out. */
export function toolsOf(tools) {
  const buttons = Object.entries(tools).filter(([, act]) => act).map(([name, act]) => button(name, act));
  const group = made("div", { className: "tools keeping" }, ...buttons);
  group.setAttribute("role", "group");
  group.setAttribute("aria-label", "Keep this result");
  return group;
}

/** What asks for maps by all methods. */
export const moreMaps = (ask) => button("More kinds of map", ask, "quiet more");

/** Show what the model said where there are no maps. */
export function showPlain(task, reply) {
  clear(place);
  const [said, score] = saidOf(task, reply);
  say(said);
  const className = task === "transcribe" ? "written" : "said-best"; // which may be an hour's
  const line = made("p", { className }, said, " ", made("span", { className: "soft", textContent: score }));
  place.append(made("div", { className: "plain" }, line, ...marksOf(reply)));
}
