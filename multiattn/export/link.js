// The part of the address after # says what is shown, so that a link leads back to it:
// #picture=2&question=1&label=2&text=answer&word=3&map=attention&layer=4&head=mean&token=17&way=to&sinks=out
// Pictures, questions, labels and words count from 1; layers, heads and patches from 0; a token that is no word has its name.

function addressOf() {
  const { views } = data.pictures[chosen.picture];
  const parts = new Map();
  const add = (name, value) => parts.set(name, value);
  if (data.pictures.length > 1) add("picture", chosen.picture + 1);
  if (views.length > 1) add("question", chosen.view + 1);
  if (viewOf().labels && chosen.label >= 0 && chosen.label !== explainedLabel()) add("label", chosen.label + 1);
  if (map && textOf().words.length) {
    if (viewOf().texts.length > 1) add("text", textOf().title.toLowerCase());
    add("word", chosen.word + 1);
  }
  if (map) add("map", map.name);
  if (map?.layers) add("layer", chosen.layer);
  if (map?.layers) add("head", chosen.head ? chosen.head - 1 : "mean");
  if (map?.isTokens) add("token", chosen.token);
  if (map?.isWords && chosen.special !== null) add("token", chosen.special);
  if ((map?.isTokens || map?.isWords) && chosen.toToken) add("way", "to");
  if (map && chosen.withoutSinks) add("sinks", "out");
  return hashOf(parts);
}

// What an address asks for, as far as there is such a thing; undefined where it says nothing.
function wished() {
  const fields = fieldsOf(location.hash);
  const whole = (name, from) => wholeOf(fields, name, from);
  return {
    picture: whole("picture", 1),
    view: whole("question", 1),
    label: whole("label", 1),
    text: fields.get("text"),
    word: whole("word", 1),
    method: fields.get("map"),
    layer: whole("layer", 0),
    head: fields.get("head") === "mean" ? 0 : whole("head", -1),
    token: whole("token", 0),
    special: fields.get("token"),
    toToken: fields.has("token") || fields.has("way") ? fields.get("way") === "to" : undefined,
    withoutSinks: fields.get("sinks") === "out",
  };
}

followAddress(addressOf);
