// Words as they are spoken, by the WebSocket of the server: settled ones, and those that may still change.

import { keyOf } from "./api.js";
import { integers } from "./pcm.js";

const LEAST = 0.1; // seconds of sound in a message

function addressOf(rate) {
  const address = new URL(`v1/live?rate=${rate}`, document.baseURI);
  address.protocol = address.protocol.replace("http", "ws");
  return address;
}

/** Send sound, and show its words in `place`. Without an answer nothing shows: the recording is transcribed in the end. */
export function liveWords(place, rate) {
  let socket;
  try {
    socket = new WebSocket(addressOf(rate), keyOf() ? ["multiattn", `multiattn-key.${keyOf()}`] : []);
  } catch {
    return { hear() {}, close() {} }; // a key with characters that a subprotocol may not have
  }
  const [settled, unsettled] = [document.createElement("span"), document.createElement("span")];
  unsettled.className = "soft";
  place.replaceChildren(settled, unsettled);
  let [waiting, samples, isReady] = [[], 0, false];
  const send = () => {
    if (!isReady || samples < LEAST * rate) return;
    socket.send(new Blob(waiting));
    [waiting, samples] = [[], 0];
  };
  socket.addEventListener("message", ({ data }) => {
    const message = JSON.parse(data);
    if (message.type === "ready") isReady = true;
    if (message.type !== "update") return;
    const text = (words) => words.map(({ word }) => word.trim()).join(" ");
    settled.textContent += `${text(message.settled)} `;
    unsettled.textContent = text(message.unsettled);
  });
  return {
    hear(block) {
      waiting.push(integers(block));
      samples += block.length;
      send();
    },
    close: () => socket.close(),
  };
}
