// A page of maps has everything in sight; here what is not for the first look waits behind two lines.

function folded(title, id, parts) {
  const details = Object.assign(document.createElement("details"), { className: "fold", id });
  details.append(Object.assign(document.createElement("summary"), { textContent: title }), ...parts.filter(Boolean));
  return details;
}

/** Fold the measurements of a verdict, and the controls and figures of a map, of the page that `place` holds. */
export function calm(place) {
  const find = (query) => place.querySelector(query);
  const verdict = find("#verdict");
  verdict.append(folded("How this was measured", "verdict-more", [...verdict.children].slice(2)));
  const sliders = [...place.querySelectorAll(".slider:not(#stack .slider)")];
  const controls = [find("#stack"), ...sliders, find("#sinks"), find("#drawn"), find("#spread"), find("#save")];
  find(".panel").append(folded("Adjust and save the map", "map-more", controls));
}
