"""A transcript for other programs: SRT and WebVTT for players, TextGrid for Praat, CTM for scoring tools, JSON."""

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

from ..errors import InputError
from .timed_text import Piece, TimedSegment, TimedWord, checked_words, in_order, pieces_of, plain, speaker_of

_LINE = 42
"""The most characters of a line of a subtitle, and below the most lines: what most guidelines for subtitles allow."""

_LINES = 2

_LONGEST = 7.0
"""The most seconds that a subtitle is shown, if it can be cut between words."""

_PAUSE = 1.0
"""Seconds without a word after which a new subtitle begins."""

_STOPS = ".,;:?!…。、，！？"
"""A subtitle is best cut after one of these."""


class _Cue(NamedTuple):
    """A subtitle: its time in milliseconds, and its lines, each made of parts with the start of their word."""

    start: int
    end: int
    lines: list[list[tuple[int | None, str]]]
    speaker: str | None = None


def srt(segments: Sequence[TimedSegment]) -> str:
    """Return subtitles as SubRip: no two overlap, and long segments are cut between words if these have times.

    Raises:
        ValueError: A time is not finite or below 0, or an end is before its start.
    """
    blocks = []
    for number, cue in enumerate(_cues(segments), start=1):
        # an arrow would be read as a line of times, and SubRip has no escape for it
        lines = ["".join(text for _, text in line) for line in cue.lines]
        if cue.speaker is not None:
            lines[0] = f"{cue.speaker}: {lines[0]}"
        lines = [line.replace("-->", "->") for line in lines]
        times = f"{_clock(cue.start, ',')} --> {_clock(cue.end, ',')}"
        blocks.append("\n".join([str(number), times, *lines, ""]))
    return "\n".join(blocks)


def vtt(segments: Sequence[TimedSegment]) -> str:
    """Return subtitles as WebVTT, cut as in `srt`; the times of words are in the text, for players that highlight them.

    Raises:
        ValueError: A time is not finite or below 0, or an end is before its start.
    """
    blocks = ["WEBVTT\n"]
    for cue in _cues(segments):
        shown = cue.start  # a time in the text must be within the cue and after the one before it
        lines = []
        for line in cue.lines:
            parts = []
            for time, text in line:
                if time is not None and shown < time < cue.end:
                    space = text[: len(text) - len(text.lstrip())]
                    parts.append(f"{space}<{_clock(time, '.')}>{_escaped(text.lstrip())}")
                    shown = time
                else:
                    parts.append(_escaped(text))
            lines.append("".join(parts))
        if cue.speaker is not None:  # a voice ends where its cue ends
            lines[0] = f"<v {_escaped(cue.speaker)}>{lines[0]}"
        blocks.append("\n".join([f"{_clock(cue.start, '.')} --> {_clock(cue.end, '.')}", *lines, ""]))
    return "\n".join(blocks)


def textgrid(segments: Sequence[TimedSegment], *, duration: float) -> str:
    """Return tiers for Praat: `segments`, and `words` if they have times; silence is an empty interval.

    Where speakers are known, a tier for each follows, with what that speaker says.

    Args:
        segments: The segments in order.
        duration: The length of the recording in seconds.

    Raises:
        ValueError: A time is not finite or below 0, or an end is before its start.
    """
    ((_, length),) = in_order([(0.0, duration)])
    words = checked_words(segments)
    tiers = [("segments", _placed(segments)), *([("words", _placed(words))] if words else [])]
    speakers = dict.fromkeys(name for segment in segments if (name := speaker_of(segment)) is not None)
    tiers += [(name, _placed([one for one in segments if speaker_of(one) == name])) for name in speakers]
    # a word may end a frame after the last sample
    length = max([length, *(intervals[-1][1] for _, intervals in tiers if intervals)])
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0", f"xmax = {_seconds(length)}"]
    lines += ["tiers? <exists>", f"size = {len(tiers)}", "item []:"]
    for number, (name, spoken) in enumerate(tiers, start=1):
        intervals = _with_silence(spoken, length)
        quoted = name.replace('"', '""')
        lines += [f"    item [{number}]:", '        class = "IntervalTier"', f'        name = "{quoted}"']
        lines += ["        xmin = 0", f"        xmax = {_seconds(length)}"]
        lines.append(f"        intervals: size = {len(intervals)}")
        for index, (start, end, text) in enumerate(intervals, start=1):
            quoted = text.replace('"', '""')
            lines += [f"        intervals [{index}]:", f"            xmin = {_seconds(start)}"]
            lines += [f"            xmax = {_seconds(end)}", f'            text = "{quoted}"']
    return "\n".join(lines) + "\n"


def ctm(segments: Sequence[TimedSegment], *, recording: str) -> str:
    """Return a line for each word, for NIST's scoring tools: recording, channel, start, duration, word, score.

    Spaces in the recording's name or in a word become `_`, since a space ends a field.

    Args:
        segments: The segments with their words.
        recording: The name of the recording in the reference transcript.

    Raises:
        InputError: A segment has text but no words.
        ValueError: A time is not finite or below 0, or an end is before its start.
    """
    for segment in segments:
        if segment.text.strip() and not segment.words:
            raise InputError(
                f"CTM has a line for each word, but the words of the segment at {segment.start:g} s have no times: "
                "transcribe with words."
            )
    # a line that begins with two semicolons is a comment
    name = "_".join(plain(recording).split()).replace(";;", "__", 1) or "recording"
    words = checked_words(segments)
    return "".join(
        f"{name} 1 {_seconds(start)} {_seconds(end - start)} {text.replace(' ', '_')} {word.score:.3f}\n"
        for (start, end, text), word in zip(_placed(words), words, strict=True)
        if text
    )


def transcript_fields(segments: Sequence[TimedSegment]) -> dict[str, list[dict[str, object]]]:
    """Return the fields `segments` and `words` of a transcript as JSON values; times in seconds, to the millisecond.

    `words` has the words of all segments: `{word, start, end, score}`; it is empty if their times are not known.
    Words also have `flags` and segments and words `speaker`, where there are any.

    Raises:
        ValueError: A time is not finite or below 0, or an end is before its start.
    """
    words = checked_words(segments)
    return {
        "segments": [
            {
                "start": round(segment.start, 3),
                "end": round(segment.end, 3),
                "text": segment.text.strip(),
                "flags": list(segment.flags),
            }
            | _speaker_field(segment)
            for segment in segments
        ],
        "words": [
            {
                "word": word.text.strip(),
                "start": round(word.start, 3),
                "end": round(word.end, 3),
                "score": round(word.score, 4),
            }
            | ({"flags": list(flags)} if (flags := getattr(word, "flags", ())) else {})
            | _speaker_field(word)
            for word in words
        ],
    }


def _speaker_field(spoken: TimedSegment | TimedWord) -> dict[str, object]:
    name = speaker_of(spoken)
    return {} if name is None else {"speaker": name}


# --- cues ---


def _cues(segments: Sequence[TimedSegment]) -> list[_Cue]:
    """Return the segments with text, cut to fit two lines; a segment without words is not cut."""
    checked_words(segments)
    parts: list[tuple[float, float, list[Piece] | str, str | None]] = []
    for segment in segments:
        text, speaker = " ".join(plain(segment.text).split()), speaker_of(segment)
        if segment.words:
            groups = _groups(pieces_of(segment))
            parts += [(group[0].word.start, group[-1].word.end, group, speaker) for group in groups]
        elif text:
            parts.append((segment.start, segment.end, text, speaker))
    times = in_order([(start, end) for start, end, _, _ in parts])
    return [_Cue(*span, _wrapped(said), speaker) for span, (_, _, said, speaker) in zip(times, parts, strict=True)]


def _groups(pieces: list[Piece]) -> list[list[Piece]]:
    """Group words into subtitles: cut at pauses, then in halves until each fits two lines and seven seconds."""
    groups: list[list[Piece]] = []
    for piece in pieces:
        if not piece.text.strip():
            continue
        if groups and piece.word.start - groups[-1][-1].word.end <= _PAUSE:
            groups[-1].append(piece)
        else:
            groups.append([piece])
    return [half for group in groups for half in _halved(group)]


def _halved(group: list[Piece]) -> list[list[Piece]]:
    """Return the group if it fits, else its halves: cut near the middle, preferably after a comma or a full stop."""
    fits = len(_wrapped(group)) <= _LINES and group[-1].word.end - group[0].word.start <= _LONGEST
    if fits or len(group) == 1:
        return [group]
    lengths = list(accumulate(len(piece.text) for piece in group))

    def cost(cut: int) -> float:
        middle = abs(2 * lengths[cut - 1] - lengths[-1]) / lengths[-1]
        return middle if group[cut - 1].text.rstrip()[-1] in _STOPS else middle + 0.4

    cut = min(range(1, len(group)), key=cost)
    return [*_halved(group[:cut]), *_halved(group[cut:])]


def _wrapped(said: list[Piece] | str) -> list[list[tuple[int | None, str]]]:
    """Return lines of at most 42 characters, broken at spaces, or between words in a language without spaces."""
    if isinstance(said, str):
        parts: list[tuple[int | None, str]] = [(None, f" {word}") for word in said.split()]
    else:
        parts = [(round(1000 * piece.word.start), piece.text) for piece in said]
    lines: list[list[tuple[int | None, str]]] = []
    length = 0
    for time, text in parts:
        if lines and length + len(text.rstrip()) <= _LINE:
            lines[-1].append((time, text))
            length += len(text)
        else:
            lines.append([(time, text.lstrip())])
            length = len(text.lstrip())
    return [[*line[:-1], (line[-1][0], line[-1][1].rstrip())] for line in lines]


# --- times and intervals ---


def _placed(spoken: Sequence[TimedSegment | TimedWord]) -> list[tuple[int, int, str]]:
    """Return start, end (milliseconds) and text of each, without overlap."""
    times = in_order([(one.start, one.end) for one in spoken])
    return [(*span, " ".join(plain(one.text).split())) for span, one in zip(times, spoken, strict=True)]


def _with_silence(spoken: list[tuple[int, int, str]], length: int) -> list[tuple[int, int, str]]:
    """Return the intervals and empty ones between them, without a gap from 0 to the end of the recording."""
    intervals, reached = [], 0
    for start, end, text in [*spoken, (length, length, "")]:
        if start > reached:
            intervals.append((reached, start, ""))
        if end > start:
            intervals.append((start, end, text))
        reached = end
    return intervals


def _clock(milliseconds: int, mark: str) -> str:
    """Return hours, minutes, seconds and milliseconds; hours above 99 have more digits."""
    seconds, rest = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{mark}{rest:03}"


def _seconds(milliseconds: int) -> str:
    return f"{milliseconds // 1000}.{milliseconds % 1000:03}"


def _escaped(text: str) -> str:
    """Return a text escaped for a WebVTT cue: without tags, entities and arrows."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
