// Subtitles from the transcript, cut as by the Python package (export/cues.py), so that both write the same files.

const STYLE = { width: 42, lines: 2, longest: 7, least: 1000, pause: 1 };
const STOPS = ".,;:?!…。、，！？";
const NO_START =
  ".,:;!?)]}%»…‥、。，．・：；？！゛゜ヽヾゝゞ々ー）］｝〉》」』】〕〗〙〛’”〜～｡｣､･" +
  "ぁぃぅぇぉっゃゅょゎゕゖァィゥェォッャュョヮヵヶ";
const NO_END = "([{«（［｛〈《「『【〔〖〘〚‘“￥＄";
const WIDE =
  /[\u1100-\u115f\u2329\u232a\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97c\uac00-\ud7a3\uf900-\ufaff\ufe10-\ufe19\ufe30-\ufe6b\uff01-\uff60\uffe0-\uffe6\u{16fe0}-\u{18cff}\u{1aff0}-\u{1b2fb}\u{1f300}-\u{1f64f}\u{1f900}-\u{1f9ff}\u{20000}-\u{3fffd}]/u;
const HANGUL = /[\u1100-\u11ff\u3130-\u318f\uac00-\ud7af]/;
const NO_WIDTH = /[\p{Mn}\p{Me}\p{Cf}]/u;

const columnsOf = (one) => (NO_WIDTH.test(one) ? 0 : WIDE.test(one) ? 2 : 1);
const widthOf = (text) => [...text].reduce((sum, one) => sum + columnsOf(one), 0);
const isApart = (one) => WIDE.test(one) && !HANGUL.test(one);
const isSpace = (text) => !text.trim();

// Words with the space before them, and by itself each character that a line may be broken at.
function atomsOf(text) {
  const atoms = [];
  let word = "";
  for (const one of text) {
    const isJoined = isSpace(word) && !isSpace(one);
    if (word && !isJoined && (isSpace(one) || isApart(one) || isApart([...word].at(-1)))) {
      atoms.push(word);
      word = "";
    }
    word += one;
  }
  return word ? [...atoms, word] : atoms;
}

// What must not be parted: lists of { time, text }.
function unitsOf(parts) {
  const found = [];
  let [unit, space] = [[], ""];
  for (const { time, text } of parts) {
    let first = time;
    for (const atom of atomsOf(text)) {
      if (isSpace(atom)) {
        space = " ";
        continue;
      }
      const start = [...atom][0];
      const last = unit.length ? [...unit.at(-1).text].at(-1) : "";
      const begins = space || start === " " || !(NO_START.includes(start) || !columnsOf(start) || (last && NO_END.includes(last)));
      if (unit.length && begins) {
        found.push(unit);
        unit = [];
      }
      unit.push({ time: first, text: start === " " ? atom : space + atom });
      [first, space] = [null, ""];
    }
  }
  return unit.length ? [...found, unit] : found;
}

const joined = (parts) => parts.map(({ text }) => text).join("");

function wrapped(parts, name) {
  if (name && parts.length)
    parts = [{ time: null, text: `${name}:` }, { ...parts[0], text: ` ${parts[0].text.trimStart()}` }, ...parts.slice(1)];
  const lines = [];
  let used = 0;
  for (const unit of unitsOf(parts)) {
    if (lines.length && used + widthOf(joined(unit).trimEnd()) <= STYLE.width) {
      lines.at(-1).push(...unit);
      used += widthOf(joined(unit));
    } else {
      lines.push([{ ...unit[0], text: unit[0].text.trimStart() }, ...unit.slice(1)]);
      used = widthOf(joined(lines.at(-1)));
    }
  }
  return lines;
}

const partsOf = (words) => words.map(({ start, text }) => ({ time: milliseconds(start), text }));

// As Python rounds: halves to the even number.
function milliseconds(seconds) {
  const [value, below] = [1000 * seconds, Math.floor(1000 * seconds)];
  return value - below === 0.5 ? below + (below % 2) : Math.round(value);
}

function halved(words, name) {
  const seconds = words.at(-1).end - words[0].start;
  if (words.length === 1 || (seconds <= STYLE.longest && wrapped(partsOf(words), name).length <= STYLE.lines)) return [words];
  let sum = 0;
  const lengths = words.map(({ text }) => (sum += widthOf(text)));
  const cost = (cut) => {
    const middle = Math.abs(2 * lengths[cut - 1] - sum) / Math.max(1, sum);
    const last = [...words[cut - 1].text.trimEnd()].at(-1);
    const isSplit = NO_START.includes([...words[cut].text.trimStart()][0]) || NO_END.includes(last);
    return middle + (STOPS.includes(last) ? 0 : 0.4) + (isSplit ? 2 : 0);
  };
  let best = 1;
  for (let cut = 2; cut < words.length; cut++) if (cost(cut) < cost(best)) best = cut;
  return [...halved(words.slice(0, best), name), ...halved(words.slice(best), name)];
}

function groupsOf(words) {
  const groups = [];
  for (const word of words.filter(({ text }) => text.trim()))
    if (groups.length && word.start - groups.at(-1).at(-1).end <= STYLE.pause) groups.at(-1).push(word);
    else groups.push([word]);
  return groups;
}

// Cues { start, end, lines, voice } in milliseconds; those of one channel do not overlap.
function cuesOf(segments, isNamed) {
  const cues = [];
  for (const channel of [...new Set(segments.map((one) => one.channel))].sort()) {
    const parts = [];
    for (const { start, end, text, words, voice, channel: own } of segments) {
      if (own !== channel) continue;
      const name = isNamed ? voice : null;
      if (words.length)
        for (const said of groupsOf(words).flatMap((group) => halved(group, name)))
          parts.push({ start: said[0].start, end: said.at(-1).end, lines: wrapped(partsOf(said), name), voice });
      else if (text) parts.push({ start, end, lines: wrapped([{ time: null, text }], name), voice });
    }
    let reached = 0;
    parts.forEach((part, i) => {
      const start = Math.max(reached, milliseconds(part.start));
      const limit = i + 1 < parts.length ? milliseconds(parts[i + 1].start) : Infinity;
      reached = Math.max(Math.min(milliseconds(part.end), limit), start + 1);
      cues.push({ ...part, start, end: reached });
    });
  }
  cues.sort((one, other) => one.start - other.start || one.end - other.end);
  const most = milliseconds(data.seconds);
  return cues.map((cue, i) => {
    const next = i + 1 < cues.length ? cues[i + 1].start : Infinity;
    return { ...cue, end: Math.max(cue.end, Math.min(cue.start + STYLE.least, most, next)) };
  });
}

function stamp(time, mark) {
  const [hours, minutes, seconds] = [3600000, 60000, 1000].map((unit, i) => Math.floor(time / unit) % [Infinity, 60, 60][i]);
  return `${[hours, minutes, seconds].map((part) => String(part).padStart(2, "0")).join(":")}${mark}${String(time % 1000).padStart(3, "0")}`;
}

const srtOf = (segments) =>
  cuesOf(segments, true)
    .map(({ start, end, lines }, i) => {
      const texts = lines.map((line) => joined(line).trimEnd().replaceAll("-->", "->"));
      return [i + 1, `${stamp(start, ",")} --> ${stamp(end, ",")}`, ...texts, ""].join("\n");
    })
    .join("\n");

const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

function vttOf(segments) {
  const blocks = cuesOf(segments, false).map(({ start, end, lines, voice }) => {
    let shown = start;
    const texts = lines.map((line) =>
      line
        .map(({ time, text }, i) => {
          if (i === line.length - 1) text = text.trimEnd();
          if (time === null || time <= shown || time >= end) return escaped(text);
          shown = time;
          return `${text.slice(0, text.length - text.trimStart().length)}<${stamp(time, ".")}>${escaped(text.trimStart())}`;
        })
        .join(""),
    );
    if (voice) texts[0] = `<v ${escaped(voice)}>${texts[0]}`;
    return [`${stamp(start, ".")} --> ${stamp(end, ".")}`, ...texts, ""].join("\n");
  });
  return ["WEBVTT\n", ...blocks].join("\n");
}

const textOf = (segments) =>
  segments
    .filter(({ text }) => text)
    .map(({ text, voice }) => `${voice ? `${voice}: ` : ""}${text}\n`)
    .join("");
