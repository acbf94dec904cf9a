"""From the text of a window to segments: cut at the times in it, silent ones flagged, words added.

Times are in seconds. Source: openai-whisper, transcribe.py.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor

from ...alignment import TokenAttention
from ...attention import ProjectedContext
from .cutting import (
    TOO_HOT,
    UNCOVERED,
    UNHEARD,
    Cut,
    Segment,
    WindowText,
    cut_by_times,
    has_no_speech,
    is_dropped,
    is_silent,
    reached_by,
    words_until,
)
from .dropped import covers_speech, is_unheard
from .model import SpeechModel
from .options import SpeechOptions
from .pieces import Piece, span_in_recording, word_in_recording
from .voice import Voice

__all__ = [
    "TOO_HOT",
    "UNCOVERED",
    "AddWords",
    "Cut",
    "DecodedWindow",
    "Segment",
    "WindowResult",
    "cut_by_times",
    "has_no_speech",
    "reached_by",
    "window_segments",
    "words_until",
]


@dataclass(frozen=True)
class WindowResult(WindowText):
    """The text of one window, with the attention for it."""

    attention: TokenAttention | None = field(default=None, repr=False, compare=False)
    """Attention of the alignment heads for the text without timestamps; None where it was not computed."""


class DecodedWindow(NamedTuple):
    """A window of a recording with its text."""

    contexts: ProjectedContext
    """What the decoder attends to, for all windows that were decoded together."""

    row: int
    """Row of this window in `contexts`."""

    samples: Tensor
    """(t,) the recording in this window, mono, without padding."""

    start: float
    """Start of the window in the recording, in seconds."""

    frames: int
    """Encoder frames without padding; at least 1."""

    result: WindowResult
    task: str
    voice: Voice | None = None
    """What the voice activity detector hears in the recording; None where it is off."""

    segments: tuple[Segment, ...] = ()
    """In order; times are seconds of the recording."""

    pieces: tuple[Piece, ...] = ()
    """The parts of the recording that the window consists of; empty where it is one that begins at `start`."""

    def span(self, start: float, end: float) -> tuple[float, float]:
        """Return a span of the window (s) as one of the recording."""
        return span_in_recording(self.pieces, start, end) if self.pieces else (self.start + start, self.start + end)

    def word_span(self, start: float, end: float) -> tuple[float, float]:
        """Return a word's span in the window (s) as one of the recording, in one piece of it."""
        return word_in_recording(self.pieces, start, end) if self.pieces else (self.start + start, self.start + end)

    @property
    def context(self) -> ProjectedContext:
        """What the decoder attends to, for this window alone."""
        if len(self.contexts) == 1:
            return self.contexts
        return self.contexts.part(torch.tensor([self.row], device=self.contexts.device))


AddWords = Callable[[DecodedWindow], tuple[Segment, ...]]
"""Takes a window with at least one segment and returns its segments, such as with their words."""


def window_segments(
    speech: SpeechModel,
    window: DecodedWindow,
    options: SpeechOptions,
    *,
    duration: float,
    to_the_end: bool,
    limit: float,
    add_words: AddWords | None,
) -> Cut | None:
    """Cut a window's text into segments, leave empty ones out, flag and mark those where nobody speaks, and add words.

    Args:
        speech: The model that wrote the text.
        window: The window, still without segments.
        options: The thresholds.
        duration: As for `cut_by_times`, like the next two.
        to_the_end: As above.
        limit: As above.
        add_words: Called with the window and its segments without those that are dropped, if there are any.

    Returns:
        The segments; None for a window without speech.
    """
    if has_no_speech(window.result, options):
        return None
    offset = 0.0 if window.pieces else window.start
    cut = cut_by_times(speech, window.result, offset=offset, duration=duration, to_the_end=to_the_end, limit=limit)
    segments = tuple(
        _flag_nothing(segment, window, offset=offset, rate=speech.preprocessing.sample_rate)
        for segment in cut.segments
        if segment.start < segment.end and segment.text.strip()
    )
    segments = _mark_dropped(segments, window, options, end=window.span(0.0, cut.reached or duration)[1])
    kept = tuple(segment for segment in segments if not segment.is_dropped)
    if add_words is not None and kept:
        with_words = iter(add_words(window._replace(segments=kept)))
        segments = tuple(segment if segment.is_dropped else next(with_words) for segment in segments)
    return cut._replace(segments=segments)


def _placed(segment: Segment, window: DecodedWindow) -> Segment:
    """Return a segment of a window of several pieces with times of the recording."""
    if not window.pieces:
        return segment
    start, end = window.span(segment.start, segment.end)
    return replace(segment, start=start, end=end)


def _mark_dropped(
    segments: Sequence[Segment], window: DecodedWindow, options: SpeechOptions, *, end: float
) -> tuple[Segment, ...]:
    """Mark the segments that are dropped; `end` is where the text of the window ends, in seconds of the recording."""
    heard = [(segment.start, segment.end) for segment in segments if UNHEARD not in segment.flags]
    is_covered = covers_speech(heard, window.voice, start=window.start, end=end)
    return tuple(
        replace(segment, is_dropped=is_dropped(segment.flags, segment.no_speech_prob, options, is_covered=is_covered))
        for segment in segments
    )


def _flag_nothing(segment: Segment, window: DecodedWindow, *, offset: float, rate: int) -> Segment:
    """Add "silence" if the samples of a segment are silent, and "unheard" if nobody is heard near it.

    Args:
        segment: Its times count from `offset` before the samples of the window.
        window: The window.
        offset: In seconds.
        rate: Samples a second.

    Returns:
        The segment with times of the recording.
    """
    own = window.samples[round((segment.start - offset) * rate) : round((segment.end - offset) * rate)]
    placed = _placed(segment, window)
    found = {"silence": is_silent(own), UNHEARD: is_unheard(placed.start, placed.end, window.voice)}
    return replace(placed, flags=(*placed.flags, *(name for name, is_so in found.items() if is_so)))
