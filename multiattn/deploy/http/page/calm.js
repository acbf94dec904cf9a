// A page of maps has everything in sight; here what is not for the first look waits behind two lines.

function folded(title, id, parts) {
  const details = Object.assign(document.createElement("details"), { className: "fold", id });
  const summary = Object.assign(document.createElement("summary"), { textContent: title });
  details.append(summary, ...parts.filter(Boolean));
  return details;
}

/** Fold the curve of a verdict, and the controls and figures of a map, in the page that `place` holds. */
export function calm(place) {
  const find = (query) => place.querySelector(query);
  const verdict = find("#verdict");
  verdict.append(folded("How this was measured", "verdict-more", [...verdict.children].slice(2)));
  const panel = find("#save").parentElement;
  const sliders = [...panel.querySelectorAll(":scope > .slider")];
  const more = [find("#stack"), ...sliders, find("#sinks"), find("#drawn"), find("#spread"), find("#save")];
  panel.append(folded("Adjust and save the map", "map-more", more));
}
