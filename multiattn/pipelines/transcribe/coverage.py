"""Speech that no segment covers, and segments that lie over silence: what a model's times leave open.

Times are in seconds of the recording.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from .pieces import Piece
from .segments import UNCOVERED, Segment
from .speech_detector import STEP_SECONDS
from .voice import Voice

_LEAST_SPEECH = 0.8
"""Seconds of speech without text that are missed: the times that a model writes are not exact, and a breath or a click
may be heard as speech."""

_LEAST_END = 0.5
"""Seconds of speech after which a text may not end: less than what is missed, for then all of the chunk is read."""

_CERTAIN = 0.5
"""Steps with at least this probability count as speech that needs a text: the detector's usual threshold."""

_SLACK = 0.2
"""Seconds by which a segment may be longer at each end than the model wrote."""

_LEAD = 0.3
"""Seconds before and after speech without text that are decoded with it."""

_TRIM = 0.1
"""Seconds of silence that a segment keeps at each end."""


def uncovered_speech(voice: Voice, segments: Iterable[Segment], start: float, end: float) -> list[tuple[float, float]]:
    """Return the parts from `start` to `end` in which somebody speaks and that no segment covers, in order."""
    found, at = list[tuple[float, float]](), start
    spans = sorted(
        (one.start - _SLACK, one.end + _SLACK) for one in segments if one.text.strip() and not one.is_dropped
    )
    for first, last in [*spans, (end, end)]:
        part = _speech_in(voice, at, min(first, end))
        if part is not None:
            found.append(part)
        at = max(at, last)
    return found


def _speech_in(voice: Voice, start: float, end: float) -> tuple[float, float] | None:
    """Return the part of a gap with speech and what is around it; None where there is not enough."""
    if end - start < _LEAST_SPEECH:
        return None
    low, high = voice.first(start, end), voice.last(start, end)
    if low is None or high is None:
        return None
    if (voice.between(start, end) >= _CERTAIN).sum() * STEP_SECONDS < _LEAST_SPEECH:
        return None
    return max(start, low - _LEAD), min(end, high + _LEAD)


def in_pieces(pieces: Sequence[Piece], spans: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return spans of the recording, each within one piece of a chunk, as seconds from the chunk's start."""
    return [
        (start - piece.start + piece.at, end - piece.start + piece.at)
        for start, end in spans
        for piece in pieces
        if piece.start - 1e-6 <= start and end <= piece.end + 1e-6
    ]


def trimmed(segment: Segment, voice: Voice) -> Segment:
    """Return a segment without the silence that it begins or ends with; as it is where nobody is heard in it."""
    first, last = voice.first(segment.start, segment.end), voice.last(segment.start, segment.end)
    if first is None or last is None or segment.words:
        return segment
    start, end = max(segment.start, first - _TRIM), min(segment.end, last + _TRIM)
    return replace(segment, start=start, end=end) if start < end else segment


def in_sequence(segments: Iterable[Segment]) -> list[Segment]:
    """Return segments in order, with words that begin after those before them end."""
    found, reached = list[Segment](), 0.0
    for one in sorted(segments, key=lambda segment: segment.start):
        if one.words and one.words[0].start < reached:
            words = tuple(
                word._replace(start=max(word.start, reached), end=max(word.end, reached)) for word in one.words
            )
            one = replace(one, words=words, start=words[0].start, end=words[-1].end)
        reached = max(reached, one.words[-1].end) if one.words else reached
        found.append(one)
    return found


def missed(start: float, end: float) -> Segment:
    """Return the mark for speech without text: a segment that has none."""
    return Segment(start, end, "", (), (), 0.0, 0.0, None, 0.0, flags=(UNCOVERED,))


def least_end(pieces: Sequence[Piece], voice: Voice | None) -> float:
    """Return the earliest time (s) in a chunk after which there is hardly any speech; 0 without a voice."""
    if voice is None:
        return 0.0
    left = _LEAST_END
    for piece in reversed(pieces):
        steps = np.cumsum((voice.between(piece.start, piece.end) >= _CERTAIN)[::-1]) * STEP_SECONDS
        if len(steps) and steps[-1] >= left:
            return piece.at + max(0.0, piece.seconds - (1 + int(np.argmax(steps >= left))) * STEP_SECONDS)
        left -= float(steps[-1]) if len(steps) else 0.0
    return 0.0
