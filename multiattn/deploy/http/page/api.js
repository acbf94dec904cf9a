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
  503: "The server is not ready yet",
  504: "This took too long",
};

const LATER = [408, 429, 500, 503, 504]; // worth another try as it is

/** What went wrong, as a heading and a sentence; `wait`, in seconds, is when to try again. */
export class Problem extends Error {
  constructor(heading, text, { status = 0, wait = null } = {}) {
    super(text);
    Object.assign(this, { heading, status, wait, isPassing: !status || LATER.includes(status) });
  }
}

async function problemOf(response) {
  const heading = HEADINGS[response.status] ?? "The server refused";
  const wait = Number(response.headers.get("Retry-After")) || null;
  let text = "";
  try {
    // RFC 9457; the addresses that speak as OpenAI's do say it in `error`
    const { detail, title, error } = await response.json();
    text = [detail, error?.message, title].find((one) => typeof one === "string" && one) ?? "";
  } catch {
    // a proxy's page: the heading must do
  }
  return new Problem(heading, text, { status: response.status, wait });
}

async function answered(path, options) {
  const headers = keyOf() ? { Authorization: `Bearer ${keyOf()}` } : {};
  let response;
  try {
    response = await fetch(path, { ...options, headers, cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("The server cannot be reached", "Is it still running, and is this device still online?");
  }
  if (!response.ok) throw await problemOf(response);
  return response.json();
}

/** The models that are served: { name, task, isLoaded, isDefault }. */
export async function servedModels() {
  const { data } = await answered("v1/models");
  return data.map(({ id, task, loaded, default: isDefault }) => ({ name: id, task, isLoaded: loaded, isDefault }));
}

const ADDRESSES = {
  classify: "v1/classify",
  caption: "v1/caption",
  answer: "v1/answer",
  match: "v1/match",
  transcribe: "v1/audio/transcriptions",
};

/**
 * What the model says of an input: its JSON, and the page with the maps as HTML; "" where there is none.
 * `fields` are those of the form, each a text or a list of texts.
 */
export async function predict(task, file, fields, signal) {
  const form = new FormData();
  form.append("file", file, file.name);
  for (const [name, value] of Object.entries({ ...fields, maps: "html" }))
    for (const one of [value].flat()) form.append(name, one);
  return answered(ADDRESSES[task], { method: "POST", body: form, signal });
}
