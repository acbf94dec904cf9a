// Requests to the server that gave this page, and its errors as sentences.

const KEY = "multiattn api key";
export const keyOf = () => sessionStorage.getItem(KEY) ?? "";
export const keepKey = (key) => (key ? sessionStorage.setItem(KEY, key) : sessionStorage.removeItem(KEY));

const HEADINGS = {
  400: "The server could not read this request",
  401: "This server asks for a key",
  404: "The server does not have this",
  408: "The upload stopped halfway",
  413: "This is too large for the server",
  415: "The server cannot read such a file",
  422: "The server cannot use this",
  429: "The server is busy",
  500: "Something went wrong in the server",
  501: "The model cannot do this",
  503: "The server is not ready",
  504: "This took too long",
};

const PASSING = [0, 408, 429, 500, 503, 504]; // worth another try as it is; 0: no answer came

/** What went wrong, as a heading and a sentence. `wait`: seconds after which to try again; `again`: whether that may help. */
export class Problem extends Error {
  constructor(heading, text, { status = 0, wait = null, again = PASSING.includes(status) } = {}) {
    super(text);
    Object.assign(this, { heading, status, wait, again });
  }
}

async function problemOf(response) {
  const { status, headers } = response;
  let text = "";
  try {
    text = (await response.json()).detail ?? ""; // RFC 9457
  } catch {
    // the page of a proxy: the heading must do
  }
  return new Problem(HEADINGS[status] ?? "The server refused", text, { status, wait: Number(headers.get("Retry-After")) || null });
}

async function answered(path, options) {
  const headers = keyOf() ? { Authorization: `Bearer ${keyOf()}` } : {};
  let response;
  try {
    response = await fetch(path, { ...options, headers, cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("The server cannot be reached", "It may have ended, or this device is no longer online.");
  }
  if (!response.ok) throw await problemOf(response);
  return response;
}

/** The models that are served: { name, task, isLoaded, isDefault }. */
export async function servedModels() {
  const { data } = await (await answered("v1/models")).json();
  return data.map(({ id, task, is_loaded, is_default }) => ({ name: id, task, isLoaded: is_loaded, isDefault: is_default }));
}

const ADDRESSES = {
  classify: "v1/classify",
  caption: "v1/caption",
  answer: "v1/answer",
  match: "v1/match",
  transcribe: "v1/audio/transcriptions",
};

/**
 * What the model says of a file.
 * `fields` are those of the form, each a text or several; `heard` is called with the text of a recording as it grows.
 */
export async function predict(task, file, fields, { signal, heard }) {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) for (const one of [value].flat()) form.append(name, one);
  form.append("file", file, file.name);
  const response = await answered(ADDRESSES[task], { method: "POST", body: form, signal });
  return response.headers.get("Content-Type").startsWith("text/event-stream") ? ofEvents(response.body, heard) : response.json();
}

// Server-sent events: the text so far, and at last the whole.
async function ofEvents(body, heard) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let [rest, text] = ["", ""];
  for (;;) {
    const { value, done } = await reader.read();
    if (done) throw new Problem("The answer stopped halfway", "The server may have ended while it answered.");
    const events = (rest + value).split(/\r?\n\r?\n/u);
    rest = events.pop();
    for (const event of events) {
      const data = event.split(/\r?\n/u).filter((line) => line.startsWith("data:"));
      if (!data.length) continue;
      const one = JSON.parse(data.map((line) => line.slice(5)).join("\n"));
      if (one.type === "error") throw new Problem("The server could not go on", one.error.message, { status: 422 });
      if (one.type === "transcript.text.done") return one;
      text += one.delta ?? "";
      heard(text);
    }
  }
}

/** The page of maps in a reply, as HTML; "" where there is none. */
export function mapsOf({ maps = [] }) {
  const page = maps.find(({ name }) => name.endsWith(".html"));
  return page ? new TextDecoder().decode(Uint8Array.from(atob(page.data), (letter) => letter.charCodeAt(0))) : "";
}
