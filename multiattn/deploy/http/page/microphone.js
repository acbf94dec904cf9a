// A recording by the microphone.

import { refused } from "./camera.js";
import { liveWords } from "./live.js";

const find = (id) => document.getElementById(id);
const MOST = 600; // seconds

const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;

/** Record, while the words show as they are spoken; resolves to a WAV file, or to null where it was given up. */
export async function record() {
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: false, noiseSuppression: false } });
  } catch (error) {
    throw refused(error, "microphone");
  }
  try {
    return await heard(stream);
  } finally {
    for (const track of stream.getTracks()) track.stop();
  }
}

async function heard(stream) {
  const dialog = find("microphone-dialog");
  const context = new AudioContext();
  await context.resume(); // some browsers begin in silence
  const blocks = [];
  let [samples, loudest] = [0, 0];
  await context.audioWorklet.addModule("page/capture.js");
  const node = new AudioWorkletNode(context, "capture", { numberOfOutputs: 0 });
  find("recorded").textContent = clock(0);
  const live = liveWords(find("live"), context.sampleRate);
  node.port.onmessage = ({ data: block }) => {
    blocks.push(block);
    samples += block.length;
    live.hear(block);
    for (const one of block) loudest = Math.max(loudest, Math.abs(one));
  };
  context.createMediaStreamSource(stream).connect(node);
  dialog.showModal();
  const done = await new Promise((resolve) => {
    const timer = setInterval(() => {
      find("recorded").textContent = clock(samples / context.sampleRate);
      find("level").style.width = `${100 * Math.min(1, Math.sqrt(loudest))}%`;
      loudest *= 0.6;
      if (samples > MOST * context.sampleRate) end(true);
    }, 80);
    const end = (kept) => {
      clearInterval(timer);
      resolve(kept);
    };
    find("stop").onclick = () => end(true);
    find("microphone-close").onclick = () => end(false);
    dialog.oncancel = () => end(false);
  });
  live.close();
  const rate = context.sampleRate;
  await context.close();
  dialog.close();
  return done && samples ? new File([wav(blocks, samples, rate)], "recording.wav", { type: "audio/wav" }) : null;
}

/** Mono samples from -1 to 1 as 16-bit integers. */
export function integers(block) {
  return Int16Array.from(block, (one) => Math.round(32767 * Math.min(1, Math.max(-1, one))));
}

// 16-bit PCM with the header that RIFF asks for.
function wav(blocks, samples, rate) {
  const header = new DataView(new ArrayBuffer(44));
  const text = (at, letters) => [...letters].forEach((one, i) => header.setUint8(at + i, one.charCodeAt(0)));
  text(0, "RIFF");
  header.setUint32(4, 36 + 2 * samples, true);
  text(8, "WAVEfmt ");
  header.setUint32(16, 16, true);
  header.setUint16(20, 1, true); // PCM
  header.setUint16(22, 1, true); // mono
  header.setUint32(24, rate, true);
  header.setUint32(28, 2 * rate, true);
  header.setUint16(32, 2, true);
  header.setUint16(34, 16, true);
  text(36, "data");
  header.setUint32(40, 2 * samples, true);
  return new Blob([header, ...blocks.map(integers)]);
}
