"use strict";
// Search and order of the cards. Without a script they stand in the order of the files.

const element = (id) => document.getElementById(id);
const cards = Array.from(document.querySelectorAll(".card"));

// those that have no such number come last
const numberOf = (card, name, missing) => (card.dataset[name] === "" ? missing : Number(card.dataset[name]));
const orders = {
  "": () => 0,
  confidence: (a, b) => numberOf(b, "confidence", -1) - numberOf(a, "confidence", -1),
  doubt: (a, b) => numberOf(a, "confidence", 2) - numberOf(b, "confidence", 2),
  verdict: (a, b) => numberOf(a, "verdict", 9) - numberOf(b, "verdict", 9),
};

function show() {
  const words = element("search").value.toLowerCase().split(/\s+/u).filter(Boolean);
  for (const card of cards) card.hidden = !words.every((word) => card.dataset.search.includes(word));
  element("cards").replaceChildren(...cards.toSorted(orders[element("sort").value])); // those that are equal keep their order
  const left = cards.filter((card) => !card.hidden).length;
  element("found").textContent = words.length ? `${left} of ${cards.length} found` : "";
}

if (cards.every((card) => card.dataset.verdict === "")) element("sort").querySelector("[value=verdict]").remove();
element("find").hidden = cards.length < 2;
element("find").addEventListener("submit", (event) => event.preventDefault());
element("search").addEventListener("input", show);
element("sort").addEventListener("change", show);
