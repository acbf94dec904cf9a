// The page with maps that the server made, shown within this one: its parts, its data, and the same scripts.

import { calm } from "./calm.js";

const BODY = /<body>(.*?)<script type="application\/json" id="data">([^<]*)<\/script>/su;

/** A page of maps: `html` as the server wrote it, for a file; its `body`, and the `data` that its scripts draw. */
export function pageOf(html) {
  const [, body, data] = BODY.exec(html);
  return { html, body, data: JSON.parse(data) };
}

/** One page with the questions of both, those of `before` first. */
export function joined(before, page) {
  const picture = page.data.pictures[0];
  const views = [...before.data.pictures[0].views, ...picture.views];
  const data = { ...page.data, pictures: [{ ...picture, views }] };
  const embedded = JSON.stringify(data).replace(/[&<>]/gu, (one) => `\\u00${one.charCodeAt(0).toString(16)}`); // as `html.py` does
  return { ...page, data, html: page.html.replace(/(id="data">)[^<]*/u, (_, opening) => opening + embedded) };
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
  const embedded = Object.assign(document.createElement("script"), { id: "data", type: "application/json" });
  embedded.textContent = JSON.stringify(data);
  header.hidden = true; // its name stands above
  place.replaceChildren(header, ...document.importNode(parts.querySelector("main"), true).children, embedded);
  const kind = "sound" in data ? "recording" : "picture";
  const { default: start } = await import(`./${kind}.js`);
  if (stop.signal.aborted) return;
  start(own(data, stop.signal));
  calm(place);
}

// What the scripts take for the browser: their listeners end with the page, and the address stays as it is.
function own(data, signal) {
  const listening = (target) => (kind, act) => target.addEventListener(kind, act, { signal });
  const questions = data.pictures?.[0].views.length ?? 0;
  const addEventListener = listening(window);
  return {
    addEventListener,
    window: { addEventListener },
    matchMedia: (query) => ({ matches: matchMedia(query).matches, addEventListener: listening(matchMedia(query)) }),
    location: { hash: questions > 1 ? `#question=${questions}` : "" },
    history: { replaceState() {} },
  };
}
