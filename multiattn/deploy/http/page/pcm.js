// Sound as numbers: what a microphone hears, as integers and as a file.

/** Mono samples from -1 to 1 as 16-bit integers. */
export function integers(block) {
  return Int16Array.from(block, (one) => Math.round(32767 * Math.min(1, Math.max(-1, one))));
}

/** A WAVE file of blocks of mono samples: 16-bit PCM with the header that RIFF asks for. */
export function wav(blocks, samples, rate) {
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
