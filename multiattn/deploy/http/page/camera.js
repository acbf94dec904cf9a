// A picture by the camera.

import { Problem } from "./api.js";

const find = (id) => document.getElementById(id);

/** Why a camera or microphone gave nothing, as a sentence. */
export function refused(error, device) {
  const texts = {
    NotAllowedError: `Allow the ${device} for this page in the browser's settings, or choose a file.`,
    NotFoundError: `This device has no ${device} that the browser can use: choose a file.`,
    NotReadableError: `Another program may be using the ${device}: close it, or choose a file.`,
  };
  return new Problem(`The ${device} cannot be used`, texts[error.name] ?? `The browser says: ${error.message}`);
}

/** Whether a page may ask for a camera: by https, or on this machine. */
export const mayAsk = () => Boolean(navigator.mediaDevices?.getUserMedia);

/** Open the camera; resolves to a picture as a file, or to null where it was closed. */
export async function takePicture() {
  const [dialog, video] = [find("camera-dialog"), find("viewfinder")];
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", width: { ideal: 1920 } } });
  } catch (error) {
    throw refused(error, "camera");
  }
  video.srcObject = stream;
  dialog.showModal();
  video.play().catch(() => {});
  const taken = await new Promise((resolve) => {
    find("take").onclick = () => video.videoWidth && resolve(true);
    find("camera-close").onclick = () => resolve(false);
    dialog.oncancel = () => resolve(false);
  });
  const file = taken ? await still(video) : null;
  for (const track of stream.getTracks()) track.stop();
  video.srcObject = null;
  dialog.close();
  return file;
}

async function still(video) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  canvas.getContext("2d").drawImage(video, 0, 0);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
  return new File([blob], "camera.jpg", { type: blob.type });
}
