export function liveWords() {
  return null;
}
