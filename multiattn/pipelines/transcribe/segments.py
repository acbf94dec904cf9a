"""From the text of a window to segments: cut at the times in it, silent ones flagged, words added.

Times are in seconds. Source: openai-whisper, transcribe.py.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor

from ...alignment import SpokenWord, TokenAttention
from ...attention import ProjectedContext
from .dropped import UNHEARD, covers_speech, is_dropped, is_unheard
from .model import SpeechModel
from .options import SpeechOptions
from .pieces import Piece, span_in_recording, word_in_recording
from .vad import is_silent
from .voice import Voice

UNCOVERED = "uncovered"
"""Flag of a segment without text: somebody speaks there, and no text came of it."""

TOO_HOT = 0.5
"""Above this temperature a text is too random to rely on."""


@dataclass(frozen=True)
class WindowResult:
    """The text of one window and how it was found."""

    tokens: tuple[int, ...]
    """New tokens, timestamps included; without prompt and end token."""

    log_probs: tuple[float, ...]
    """Log-probability (natural) of each token by the model alone; the end token's comes last, if there is one."""

    text: str
    """Without timestamps and surrounding spaces."""

    avg_log_prob: float
    """Mean log-probability of the tokens, end token included, among the tokens that the rules allowed."""

    compression_ratio: float
    """Factor by which zlib compresses the text."""

    no_speech_prob: float | None
    """Probability of silence by the model; None for a model without a token for it."""

    temperature: float
    """Temperature at which the text was found; 0: by search."""

    hottest: float
    """The highest temperature that was tried; above `temperature` if no text passed and this is the best one."""

    language: str | None
    """Language code; None for a model of one language."""

    flags: tuple[str, ...] = ()
    """What is suspicious about the text. stalled, backwards: the attention stood still or ran back in time; repeats:
    the text repeats itself. Segments may also have silence: the recording is silent where the text is."""

    attention: TokenAttention | None = field(default=None, repr=False, compare=False)
    """Attention of the alignment heads for the text without timestamps; None where it was not computed."""


@dataclass(frozen=True)
class Segment:
    """A part of a transcript, such as a sentence."""

    start: float
    """Seconds from the start of the recording."""

    end: float
    text: str
    """The decoded text, with a space before it if the vocabulary has one: joined texts are the transcript."""

    tokens: tuple[int, ...]
    """Timestamps included, where the model writes times."""

    log_probs: tuple[float, ...]
    """Log-probability (natural) of each token by the model alone."""

    avg_log_prob: float
    """As for the window of the segment, like the next four."""

    compression_ratio: float
    no_speech_prob: float | None
    temperature: float
    flags: tuple[str, ...] = ()
    words: tuple[SpokenWord, ...] = ()
    """Text, start, end and score of each word, if words were asked for."""
    speaker: str | None = None
    """Who speaks, where speaker turns were given."""

    window: float = 0.0
    """Start of its window in the recording, in seconds."""

    channel: str | None = None
    """The channel that says it: left, right or a number from 1; None where one was transcribed, or their mean."""

    language: str | None = None
    """Language code of its window; None for a model of one language."""

    is_dropped: bool = False
    """Whether the text is not part of the transcript, for nobody speaks there."""


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


class Cut(NamedTuple):
    """The text of a window as segments."""

    segments: tuple[Segment, ...]
    reached: float | None
    """Seconds from the window's start to the end of its last complete segment; None if the whole text was used."""


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


def words_until(segments: Sequence[Segment], end: float) -> tuple[Segment, ...]:
    """Shorten words that reach into the next window, so that its words come after them.

    Args:
        segments: Those of a window.
        end: Where the next window begins, in seconds of the recording.
    """
    kept = []
    for segment in segments:
        if segment.words and segment.words[-1].end > end:
            words = tuple(word._replace(start=min(word.start, end), end=min(word.end, end)) for word in segment.words)
            segment = replace(segment, words=words, start=words[0].start, end=words[-1].end)
        kept.append(segment)
    return tuple(kept)


def cut_by_times(
    speech: SpeechModel, result: WindowResult, *, offset: float, duration: float, to_the_end: bool, limit: float
) -> Cut:
    """Cut a text at its timestamps. A text that does not begin with a timestamp is one segment.

    Args:
        speech: The model that wrote the text.
        result: The text, with timestamps.
        offset: Start of the window in the recording, in seconds.
        duration: Seconds of the recording in the window.
        to_the_end: Whether no window follows that decodes an unfinished last segment again: it then ends where the
            window ends.
        limit: Seconds from the window's start to the end of the recording, where segments end at the latest: the model
            may write later times for the padding of the last window.
    """
    tokens, count = speech.tokens, len(result.tokens)
    is_time = [tokens.is_timestamp(token) for token in result.tokens]
    if not is_time or not is_time[0]:
        whole = _segment(speech, result, slice(0, count), start=offset, end=offset + duration, window=offset)
        return Cut((whole,), None)
    pairs = [i for i in range(1, count) if is_time[i - 1] and is_time[i]]
    if not pairs and not to_the_end:
        # one segment; as in Whisper it ends at its last time, unless that is 0, even if this is its first time
        last = max(tokens.seconds(token) for token, one in zip(result.tokens, is_time, strict=True) if one) or duration
        whole = _segment(speech, result, slice(0, count), start=offset, end=offset + min(last, limit), window=offset)
        return Cut((whole,), None)
    starts, stops, reached = [0, *pairs], [*pairs], reached_by(speech, result)
    if to_the_end or reached is None:
        stops.append(count)
    segments = []
    for first, stop in zip(starts, stops, strict=False):
        start, last_token = tokens.seconds(result.tokens[first]), result.tokens[stop - 1]
        end = tokens.seconds(last_token) if tokens.is_timestamp(last_token) and stop - first > 1 else duration
        start, end = offset + min(start, limit), offset + min(end, limit)
        segments.append(_segment(speech, result, slice(first, stop), start=start, end=end, window=offset))
    return Cut(tuple(segments), reached)


def reached_by(speech: SpeechModel, result: WindowResult) -> float | None:
    """Return the end of a text's last complete segment, in seconds from the window's start; None if all was used."""
    is_time = [speech.tokens.is_timestamp(token) for token in result.tokens]
    if not is_time or not is_time[0] or is_time[-2:] == [False, True]:
        return None
    ends = [i - 1 for i in range(1, len(is_time)) if is_time[i - 1] and is_time[i]]
    return speech.tokens.seconds(result.tokens[ends[-1]]) if ends else None


def _segment(
    speech: SpeechModel, result: WindowResult, part: slice, *, start: float, end: float, window: float
) -> Segment:
    return Segment(
        start=start,
        end=end,
        text=speech.text_of(result.tokens[part]),
        tokens=result.tokens[part],
        log_probs=result.log_probs[part],
        avg_log_prob=result.avg_log_prob,
        compression_ratio=result.compression_ratio,
        no_speech_prob=result.no_speech_prob,
        temperature=result.temperature,
        flags=result.flags,
        window=window,
        language=result.language,
    )


def has_no_speech(result: WindowResult, options: SpeechOptions) -> bool:
    """Tell whether the model takes a window for silence and its text is improbable too."""
    if options.no_speech_threshold is None or result.no_speech_prob is None:
        return False
    is_sure = options.log_prob_threshold is not None and result.avg_log_prob > options.log_prob_threshold
    return result.no_speech_prob > options.no_speech_threshold and not is_sure


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
