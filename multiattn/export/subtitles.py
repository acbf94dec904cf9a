"""A transcript for other programs: subtitles and lyrics for players, TextGrid for Praat, CTM for scoring, JSON, TSV."""

import math
import re
from collections.abc import Sequence

from ..errors import InputError
from .cues import Cue, CueStyle, cues_of, each_word
from .timed_text import (
    TimedSegment,
    TimedWord,
    channel_of,
    checked_words,
    in_order,
    pieces_of,
    plain,
    speaker_of,
    voice_of,
)

_STYLE = CueStyle()
_ARROW = re.compile("-{2,}>")
_OPEN, _CLOSE = "\x02", "\x03"  # stand for tags until the text between them is escaped


def srt(segments: Sequence[TimedSegment], style: CueStyle = _STYLE, *, duration: float | None = None) -> str:
    """Return subtitles as SubRip, cut as `cues_of` does it; a speaker stands before the text.

    Args:
        segments: The segments in order.
        style: How they are cut and shown.
        duration: The length of the recording in seconds, after which nothing is shown; None where it is not known.

    Raises:
        ValueError: A time is not finite or below 0, or an end is before its start.
    """
    blocks = []
    for number, cue in enumerate(_shown(segments, style, duration, named=True), start=1):
        # an arrow would be read as a line of times, and SubRip has no escape for it
        lines = [_ARROW.sub("->", "".join(text for _, text in line)) for line in cue.lines]
        times = f"{_clock(cue.start, ',')} --> {_clock(cue.end, ',')}"
        blocks.append("\n".join([str(number), times, *lines, ""]))
    return "\n".join(blocks)


def vtt(segments: Sequence[TimedSegment], style: CueStyle = _STYLE, *, duration: float | None = None) -> str:
    """Return subtitles as WebVTT, cut as in `srt`; the times of words are in the text, for players that highlight them.

    A speaker is the voice of a cue.

    Args:
        segments: The segments in order.
        style: How they are cut and shown; with `highlight`, there are no times in the text.
        duration: As for `srt`.

    Raises:
        ValueError: A time is not finite or below 0, or an end is before its start.
    """
    blocks = ["WEBVTT\n"]
    for cue in _shown(segments, style, duration, named=False):
        shown = cue.end if style.highlight else cue.start  # a time in the text must be within the cue and rise
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
            lines.append("".join(parts).replace(_OPEN, "<u>").replace(_CLOSE, "</u>"))
        voice = "" if cue.speaker is None else f"<v {_escaped(cue.speaker)}>"  # it ends where its cue ends
        lines[0] = voice + lines[0]
        blocks.append("\n".join([f"{_clock(cue.start, '.')} --> {_clock(cue.end, '.')}", *lines, ""]))
    return "\n".join(blocks)


def _shown(segments: Sequence[TimedSegment], style: CueStyle, duration: float | None, *, named: bool) -> list[Cue]:
    cues = cues_of(segments, style, duration=duration, named=named)
    if not style.highlight:
        return cues
    marks = ("<u>", "</u>") if named else (_OPEN, _CLOSE)
    return list(each_word(cues, before=marks[0], after=marks[1]))


def tsv(segments: Sequence[TimedSegment]) -> str:
    """Return a table as openai-whisper writes it: start and end in milliseconds, and text; with a column for speakers.

    Raises:
        ValueError: A time is not finite or below 0, or an end is before its start.
    """
    checked_words(segments)
    speakers = [voice_of(segment) for segment in segments]
    has_speakers = any(speaker is not None for speaker in speakers)
    lines = ["start\tend\ttext" + ("\tspeaker" if has_speakers else "")]
    for segment, speaker in zip(segments, speakers, strict=True):
        cells = [str(round(1000 * segment.start)), str(round(1000 * segment.end))]
        cells.append(" ".join(plain(segment.text).split()))
        lines.append("\t".join([*cells, *([speaker or ""] if has_speakers else [])]))
    return "\n".join(lines) + "\n"


def lrc(segments: Sequence[TimedSegment], *, duration: float) -> str:
    """Return lyrics: a line for each segment with its start, and within it the start of each word whose time is known.

    An empty line takes a text away where a pause of two seconds or more follows.

    Args:
        segments: The segments in order.
        duration: The length of the recording in seconds.

    Raises:
        ValueError: A time is not finite or below 0, or an end is before its start.
    """
    checked_words(segments)
    spoken = [segment for segment in segments if segment.text.strip()]
    lines = [f"[length:{_lyric_clock(duration)}]"]
    for i, segment in enumerate(spoken):
        who = voice_of(segment)
        name = "" if who is None else f"{who}: "
        text = " ".join(plain(segment.text).split())
        if segment.words:
            pieces = [(one.text.lstrip(), one) for one in pieces_of(segment)]
            text = "".join(
                f"{one.text.removesuffix(bare)}<{_lyric_clock(one.word.start)}>{bare}" for bare, one in pieces
            ).strip()
            text += f" <{_lyric_clock(segment.words[-1].end)}>"
        lines.append(f"[{_lyric_clock(segment.start)}]{name}{text}")
        following = spoken[i + 1].start if i + 1 < len(spoken) else math.inf
        if following - segment.end >= 2:
            lines.append(f"[{_lyric_clock(segment.end)}]")
    return "\n".join(lines) + "\n"


def _lyric_clock(seconds: float) -> str:
    minutes, hundredths = divmod(round(100 * seconds), 6000)
    return f"{minutes:02}:{hundredths // 100:02}.{hundredths % 100:02}"


def textgrid(segments: Sequence[TimedSegment], *, duration: float) -> str:
    """Return tiers for Praat: `segments`, and `words` if they have times; silence is an empty interval.

    Each of several channels has its own: `left segments`, `left words`, and so on. Where speakers are known, a tier for
    each follows, with what that speaker says.

    Args:
        segments: The segments in order.
        duration: The length of the recording in seconds.

    Raises:
        ValueError: A time is not finite or below 0, or an end is before its start.
    """
    ((_, length),) = in_order([(0.0, duration)])
    checked_words(segments)
    tiers = []
    for channel in sorted({channel_of(segment) for segment in segments}) or [""]:
        own = [segment for segment in segments if channel_of(segment) == channel]
        words = [word for segment in own for word in segment.words]
        tiers.append((f"{channel} segments".strip(), _placed(own)))
        tiers += [(f"{channel} words".strip(), _placed(words))] if words else []
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
    checked_words(segments)
    lines = []
    for channel in sorted({channel_of(segment) for segment in segments}):
        number = {"": "1", "left": "1", "right": "2"}.get(channel, channel)
        words = [word for segment in segments if channel_of(segment) == channel for word in segment.words]
        lines += [
            f"{name} {number} {_seconds(start)} {_seconds(end - start)} {text.replace(' ', '_')} {word.score:.3f}\n"
            for (start, end, text), word in zip(_placed(words), words, strict=True)
            if text
        ]
    return "".join(lines)


def transcript_fields(segments: Sequence[TimedSegment]) -> dict[str, list[dict[str, object]]]:
    """Return the fields `segments` and `words` of a transcript as JSON values; times in seconds, to the millisecond.

    `words` has the words of all segments: `{word, start, end, score}`; it is empty if their times are not known.
    Words also have `flags`, and segments and words `speaker` and `channel`, where there are any.

    Raises:
        ValueError: A time is not finite or below 0, or an end is before its start.
    """
    checked_words(segments)
    return {
        "segments": [
            {
                "start": round(segment.start, 3),
                "end": round(segment.end, 3),
                "text": segment.text.strip(),
                "flags": list(segment.flags),
            }
            | _voice_fields(segment, segment)
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
            | _voice_fields(word, segment)
            for segment in segments
            for word in segment.words
        ],
    }


def _voice_fields(spoken: TimedSegment | TimedWord, segment: TimedSegment) -> dict[str, object]:
    fields = {"speaker": speaker_of(spoken), "channel": channel_of(segment) or None}
    return {name: value for name, value in fields.items() if value is not None}


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
