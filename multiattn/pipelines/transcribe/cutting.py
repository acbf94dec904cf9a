"""The text of a window, cut into segments at the times in it, and how both are judged. Importing this imports no torch.

Times are in seconds. Source: openai-whisper, transcribe.py.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol, runtime_checkable

from ...inputs import SpeechTokens, Tokenizer
from ...inputs.spoken_words import SpokenWord
from .options import SpeechOptions

UNCOVERED = "uncovered"
"""Flag of a segment without text: somebody speaks there, and no text came of it."""

TOO_HOT = 0.5
"""Above this temperature a text is too random to rely on."""

UNHEARD = "unheard"
"""Flag of a text during which the voice activity detector hears nobody."""

_LOOP_BYTES = 100
"""A shorter text is no loop, however often it repeats itself: people say "no, no, no", and telephone numbers."""

SILENCE_DB = -70.0
"""Samples that stay below this level (dB; 0 is full scale) are silence, whatever a model writes for them."""


@runtime_checkable
class SpeechTexts(Protocol):
    """What a recognizer, on any runtime, knows of its texts."""

    @property
    def tokenizer(self) -> Tokenizer:
        """The vocabulary."""

    @property
    def tokens(self) -> SpeechTokens:
        """Its special tokens."""

    @property
    def max_length(self) -> int:
        """The most tokens of a text, prompt included."""

    def text_of(self, tokens: Sequence[int]) -> str:
        """Decode tokens without their timestamps; a space before the text is kept."""


@dataclass(frozen=True)
class WindowText:
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


class Cut(NamedTuple):
    """The text of a window as segments."""

    segments: tuple[Segment, ...]
    reached: float | None
    """Seconds from the window's start to the end of its last complete segment; None if the whole text was used."""


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
    speech: SpeechTexts, result: WindowText, *, offset: float, duration: float, to_the_end: bool, limit: float
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


def reached_by(speech: SpeechTexts, result: WindowText) -> float | None:
    """Return the end of a text's last complete segment, in seconds from the window's start; None if all was used."""
    is_time = [speech.tokens.is_timestamp(token) for token in result.tokens]
    if not is_time or not is_time[0] or is_time[-2:] == [False, True]:
        return None
    ends = [i - 1 for i in range(1, len(is_time)) if is_time[i - 1] and is_time[i]]
    return speech.tokens.seconds(result.tokens[ends[-1]]) if ends else None


def _segment(
    speech: SpeechTexts, result: WindowText, part: slice, *, start: float, end: float, window: float
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


def has_no_speech(result: WindowText, options: SpeechOptions) -> bool:
    """Tell whether the model takes a window for silence and its text is improbable too."""
    if options.no_speech_threshold is None or result.no_speech_prob is None:
        return False
    is_sure = options.log_prob_threshold is not None and result.avg_log_prob > options.log_prob_threshold
    return result.no_speech_prob > options.no_speech_threshold and not is_sure


def is_dropped(flags: Sequence[str], no_speech_prob: float | None, options: SpeechOptions, *, is_covered: bool) -> bool:
    """Tell whether a text is dropped: nobody is heard, or it is flagged and the model itself takes it for silence.

    Args:
        flags: Those of the text.
        no_speech_prob: The model's probability that nobody speaks; None where it gives none.
        options: `no_speech_threshold`, which that probability must exceed, and `keep_flagged`.
        is_covered: Whether other texts are those of all speech in the window.
    """
    if options.keep_flagged or not flags:
        return False
    if UNHEARD in flags and not is_covered:
        return False
    threshold = options.no_speech_threshold
    return UNHEARD in flags or (threshold is not None and no_speech_prob is not None and no_speech_prob > threshold)


def compression_ratio(text: str) -> float:
    """Return the factor by which zlib compresses a text; below 1 if it becomes longer."""
    data = text.encode()
    return len(data) / len(zlib.compress(data))


def repeats(text: str, ratio: float, options: SpeechOptions) -> bool:
    """Tell whether a text with this compression ratio is a loop."""
    threshold = options.compression_ratio_threshold
    return threshold is not None and ratio > threshold and len(text.encode()) >= _LOOP_BYTES


def is_silent(samples: Any) -> bool:
    """Tell whether samples, an array or a tensor (t,), contain nothing audible."""
    return not len(samples) or float(abs(samples).max()) < 10 ** (SILENCE_DB / 20)
