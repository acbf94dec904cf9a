// The page of a result as a file: saved, or handed to another app where the device can.

/** Save a file. */
export function saveFile(file) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(file), download: file.name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** What hands a file to another app; null where the browser cannot. */
export function shareable(file) {
  if (!navigator.canShare?.({ files: [file] })) return null;
  // that nobody took it is no error
  return () => navigator.share({ files: [file], title: file.name }).catch(() => {});
}
