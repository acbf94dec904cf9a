"""From a transcript to the cues of subtitles: when each is shown, and its lines.

Widths are in columns, of which a wide character of East Asia has two, as on a terminal.
"""

import math
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from typing import NamedTuple

from ..checks import require
from ..errors import InputError
from ..inputs.graphemes import clusters
from .timed_text import Piece, TimedSegment, channel_of, checked_words, in_order, pieces_of, plain, voice_of

_STOPS = ".,;:?!…。、，！？"
"""A cue is best cut after one of these."""

_NO_START = (
    ".,:;!?)]}%»…‥、。，．・：；？！゛゜ヽヾゝゞ々ー）］｝〉》」』】〕〗〙〛’”〜～｡｣､･"
    "ぁぃぅぇぉっゃゅょゎゕゖァィゥェォッャュョヮヵヶ"
)
_NO_END = "([{«（［｛〈《「『【〔〖〘〚‘“￥＄"
"""No line begins with one of the first, or ends with one of the second. Source: JIS X 4051; W3C, Requirements for
Japanese Text Layout, section 3.1.7."""

_HANGUL = re.compile("[\u1100-\u11ff\u3130-\u318f\uac00-\ud7af]")


@dataclass(frozen=True)
class CueStyle:
    """How subtitles are cut and shown. The defaults are what most guidelines for subtitles allow."""

    line_width: int = 42
    """Most columns of a line; a longer word has a line of its own."""

    max_lines: int = 2
    """Most lines of a cue, if it can be cut between words."""

    max_words: int | None = None
    """Most words of a cue, if their times are known; None: as many as fit."""

    max_seconds: float = 7.0
    """How long a cue is shown at most, if it can be cut between words."""

    min_seconds: float = 1.0
    """How long a cue is shown at least, unless the next one begins or the recording ends."""

    pause: float = 1.0
    """Seconds without a word after which a new cue begins."""

    highlight: bool = False
    """Whether there is a cue for each word, in which it is underlined, for players that know no times within a cue."""

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            InputError: A value is out of range.
        """
        for name, least in (("line_width", 4), ("max_lines", 1), ("max_words", 1)):
            value = getattr(self, name)
            is_right = (value is None and name == "max_words") or (type(value) is int and value >= least)
            require(is_right, name, must=f"a whole number of at least {least}", value=value, error=InputError)
        for name in ("max_seconds", "min_seconds", "pause"):
            value = getattr(self, name)
            is_right = type(value) in (int, float) and 0 <= value < math.inf
            require(is_right, name, must="a number of seconds from 0", value=value, error=InputError)


Line = list[tuple[int | None, str]]
"""Parts of a line. The first of a word has its start in milliseconds; others, and text without times, have None."""


class Cue(NamedTuple):
    """A subtitle."""

    start: int
    """In milliseconds, as the end."""

    end: int
    lines: list[Line]
    speaker: str | None
    """Who says it, or on which channel it is said; None where that is not known."""

    is_first: bool = True
    """Whether it is no mere repetition of the cue before it with another word underlined."""


def cues_of(
    segments: Sequence[TimedSegment], style: CueStyle, *, duration: float | None = None, named: bool = False
) -> list[Cue]:
    """Return the cues of a transcript in order of time; a segment without words is not cut.

    Cues of one channel do not overlap; those of several do where both speak.

    Args:
        segments: The segments.
        style: How they are cut.
        duration: Where the recording ends, in seconds; None where that is not known.
        named: Whether the first line begins with the speaker, where there is one.

    Raises:
        ValueError: A time is not finite or below 0, or an end is before its start.
    """
    checked_words(segments)
    cues = list[Cue]()
    for _, of_channel in groupby(sorted(segments, key=channel_of), key=channel_of):
        cues += _of_channel(list(of_channel), style, named=named)
    cues.sort(key=lambda cue: (cue.start, cue.end))
    most = None if duration is None else round(1000 * duration)
    return list(_shown_long_enough(cues, round(1000 * style.min_seconds), most))


def _of_channel(segments: Sequence[TimedSegment], style: CueStyle, *, named: bool) -> list[Cue]:
    parts: list[tuple[float, float, list[Piece] | str, str | None]] = []
    for segment in segments:
        text, speaker = " ".join(plain(segment.text).split()), voice_of(segment)
        if segment.words:
            for group in _groups(pieces_of(segment), style):
                who = voice_of(group[0].word) or speaker
                parts += [
                    (half[0].word.start, half[-1].word.end, half, who)
                    for half in _halved(group, style, who if named else None)
                ]
        elif text:
            parts.append((segment.start, segment.end, text, speaker))
    times = in_order([(start, end) for start, end, _, _ in parts])
    return [
        Cue(*span, wrapped(said, style.line_width, who if named else None), who)
        for span, (_, _, said, who) in zip(times, parts, strict=True)
    ]


def _shown_long_enough(cues: Sequence[Cue], least: int, most: int | None) -> Iterator[Cue]:
    """Let short cues stay until the next one begins, in milliseconds."""
    for i, cue in enumerate(cues):
        limits = [cue.start + least] if most is None else [cue.start + least, most]
        following = [later.start for later in cues[i + 1 : i + 2]]
        yield cue._replace(end=max(cue.end, min(*limits, *following, cue.start + least)))


def each_word(cues: Sequence[Cue], *, before: str = "<u>", after: str = "</u>") -> Iterator[Cue]:
    """Yield each cue once for every word of it, in which that word stands between two marks."""
    for cue in cues:
        starts = sorted({time for line in cue.lines for time, _ in line if time is not None})
        if len(starts) < 1:
            yield cue
            continue
        bounds = [cue.start, *(time for time in starts[1:] if cue.start < time < cue.end), cue.end]
        shown = [starts[0], *(time for time in starts[1:] if cue.start < time < cue.end)]
        for i, word in enumerate(shown):
            yield Cue(bounds[i], bounds[i + 1], list(_marked(cue.lines, word, before, after)), cue.speaker, i == 0)


def _marked(lines: Sequence[Line], word: int, before: str, after: str) -> Iterator[Line]:
    current = None
    for line in lines:
        parts: Line = []
        for time, text in line:
            current = current if time is None else time
            space = text[: len(text) - len(text.lstrip())]
            is_it = current == word and bool(text.strip())
            parts.append((time, f"{space}{before}{text.lstrip()}{after}" if is_it else text))
        yield parts


# --- cuts ---


def _groups(pieces: list[Piece], style: CueStyle) -> Iterator[list[Piece]]:
    """Group words: a pause or another speaker begins a new cue."""
    group: list[Piece] = []
    for piece in pieces:
        if not piece.text.strip():
            continue
        if group:
            last = group[-1].word
            if piece.word.start - last.end > style.pause or voice_of(piece.word) != voice_of(last):
                yield group
                group = []
        group.append(piece)
    if group:
        yield group


def _halved(group: list[Piece], style: CueStyle, name: str | None) -> list[list[Piece]]:
    """Return the group if it fits, else its halves: cut near the middle, preferably after a comma or a full stop."""
    fits = (
        len(group) <= (style.max_words or len(group))
        and group[-1].word.end - group[0].word.start <= style.max_seconds
        and len(wrapped(group, style.line_width, name)) <= style.max_lines
    )
    if fits or len(group) == 1:
        return [group]
    lengths = list(accumulate(width_of(piece.text) for piece in group))

    def cost(cut: int) -> float:
        middle = abs(2 * lengths[cut - 1] - lengths[-1]) / max(1, lengths[-1])
        is_split = group[cut].text.lstrip()[:1] in _NO_START or group[cut - 1].text.rstrip()[-1] in _NO_END
        return middle + (0.0 if group[cut - 1].text.rstrip()[-1] in _STOPS else 0.4) + (2.0 if is_split else 0.0)

    cut = min(range(1, len(group)), key=cost)
    return [*_halved(group[:cut], style, name), *_halved(group[cut:], style, name)]


# --- lines ---


def width_of(text: str) -> int:
    """Return the columns of a text: two for a wide character, none for a mark on the one before it."""
    return sum(_columns(one) for one in text)


def _columns(one: str) -> int:
    if unicodedata.category(one) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(one) in "WF" else 1


def wrapped(said: list[Piece] | str, width: int, name: str | None = None) -> list[Line]:
    """Return lines of at most so many columns, where words allow it.

    Lines are broken at spaces, between words that have none, and between wide characters, but not where a mark would be
    parted from what it closes or opens.

    Args:
        said: Words, or a text without times.
        width: Columns.
        name: What the first line begins with.
    """
    parts: Line = [(None, said)] if isinstance(said, str) else []
    if not isinstance(said, str):
        parts = [(round(1000 * piece.word.start), piece.text) for piece in said]
    lines: list[Line] = []
    used = 0
    if name is not None and parts:
        parts = [(None, f"{name}:"), (parts[0][0], f" {parts[0][1].lstrip()}"), *parts[1:]]
    for unit in _units(parts):
        size = width_of("".join(text for _, text in unit).rstrip())
        if lines and used + size <= width:
            lines[-1] += unit
            used += width_of("".join(text for _, text in unit))
        else:
            lines.append([(unit[0][0], unit[0][1].lstrip()), *unit[1:]])
            used = sum(width_of(text) for _, text in lines[-1])
    return [[*line[:-1], (line[-1][0], line[-1][1].rstrip())] for line in lines if any(text for _, text in line)]


def _units(parts: Line) -> Iterator[Line]:
    """Yield what must not be parted, as parts of a line; a space stands before what follows it."""
    unit: Line = []
    space = ""
    for time, text in parts:
        first: int | None = time
        for atom in _atoms(text):
            if atom.isspace():
                space = " "
                continue
            last = unit[-1][1][-1:] if unit else ""
            begins = space or atom[0] == " " or not (atom[0] in _NO_START or _columns(atom[0]) == 0 or last in _NO_END)
            if unit and begins:
                yield unit
                unit = []
            unit.append((first, atom if atom[0] == " " else space + atom))
            first, space = None, ""
    if unit:
        yield unit


def _atoms(text: str) -> Iterator[str]:
    """Yield words with the space before them, and by itself each character that a line may be broken at."""
    word, before = "", ""
    for one in clusters(text):
        # a space stays with the word after it
        is_joined = word.isspace() and not one.isspace()
        if word and not is_joined and (one.isspace() or _is_apart(one[0]) or _is_apart(before[0])):
            yield word
            word = ""
        word, before = word + one, one
    if word:
        yield word


def _is_apart(one: str) -> bool:
    return _columns(one) == 2 and not _HANGUL.match(one)
