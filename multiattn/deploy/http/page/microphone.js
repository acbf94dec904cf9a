// A recording by the microphone.

import { refused } from "./camera.js";
import { liveWords } from "./live.js";
import { wav } from "./pcm.js";

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
