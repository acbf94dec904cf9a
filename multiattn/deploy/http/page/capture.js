// Sound of the microphone, in blocks of mono samples; runs where the browser makes sound.

class Capture extends AudioWorkletProcessor {
  process([channels]) {
    if (channels.length) this.port.postMessage(channels[0].slice());
    return true;
  }
}

registerProcessor("capture", Capture);
