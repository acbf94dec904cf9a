// The page with maps that the server made, shown within this one: its parts, its data, and the same scripts.

import { calm } from "./calm.js";

const BODY = /<body>(.*?)<script type="application\/json" id="data">([^<]*)<\/script>/su;

// As `html.py` embeds it: no text may end the element.
const embedded = (data) => JSON.stringify(data).replace(/[&<>]/gu, (one) => `\\u00${one.charCodeAt(0).toString(16)}`);

const withData = ({ html, body }, data) => ({ body, data, html: html.replace(/(id="data">)[^<]*/u, (_, opening) => opening + embedded(data)) });

const plain = (text) => text.replace(/[&<>"]/gu, (one) => `&#${one.charCodeAt(0)};`);

/**
 * A page of maps: `html`, as the server wrote it, for a file; its `body`, and the `data` that its scripts draw.
 * `name` is that of the input, which the server does not know.
 */
export function pageOf(html, name) {
  const [, body, text] = BODY.exec(html);
  const data = { ...JSON.parse(text), title: name };
  if ("sound" in data) data.name = name;
  else data.pictures[0].name = name;
  return withData({ body, html: html.replace(/(<(title|h1)>)[^<]*/gu, (_, tag) => tag + plain(name)) }, data);
}

/** One page with the questions of both, those of `before` first. */
export function joined(before, page) {
  const picture = page.data.pictures[0];
  const views = [...before.data.pictures[0].views, ...picture.views];
  return withData(page, { ...page.data, pictures: [{ ...picture, views }] });
}

let shown = null; // stops the scripts of the page that is shown

/** Take the page away that is shown. */
export function clear(place) {
  shown?.abort();
  document.body.classList.remove("no-map", "choosing", "among", "owing");
  place.replaceChildren();
}

/** Show a page in `place`, its last question first. */
export async function show(place, { body, data }) {
  clear(place);
  const stop = (shown = new AbortController());
  const parts = new DOMParser().parseFromString(body, "text/html");
  const header = document.importNode(parts.querySelector("header"), true);
  const drawn = Object.assign(document.createElement("script"), { id: "data", type: "application/json", textContent: JSON.stringify(data) });
  header.hidden = true; // its name stands above
  place.replaceChildren(header, ...document.importNode(parts.querySelector("main"), true).children, drawn);
  const kind = "sound" in data ? "recording" : "picture";
  const { default: start } = await import(`./${kind}.js`);
  if (stop.signal.aborted) return;
  start(own(place, data, stop.signal));
  calm(place);
}

// What the scripts take for the browser: their listeners end with the page, the address stays as it is, and what they draw
// late, when another page has come, they draw into the elements that are gone.
function own(place, data, signal) {
  const listening = (target) => (kind, act) => target.addEventListener(kind, act, { signal });
  const addEventListener = listening(window);
  const elements = new Map(Array.from(place.querySelectorAll("[id]"), (one) => [one.id, one]));
  const held = { getElementById: (id) => elements.get(id) ?? document.getElementById(id) };
  const of = (page, name) => held[name] ?? (typeof page[name] === "function" ? page[name].bind(page) : page[name]);
  const questions = data.pictures[0]?.views?.length ?? 0; // a recording has pictures of another kind
  return {
    addEventListener,
    document: new Proxy(document, { get: of }),
    history: { replaceState() {} },
    location: { hash: questions > 1 ? `#question=${questions}` : "" },
    matchMedia: (query) => ({ matches: matchMedia(query).matches, addEventListener: listening(matchMedia(query)) }),
    window: { addEventListener },
  };
}
