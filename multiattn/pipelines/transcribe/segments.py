"""From the text of a window to segments, and what is said of them.

Source: openai-whisper, transcribe.py.
"""

from dataclasses import replace
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from .config import Segment, SpeechOptions, WindowResult
from .model import SpeechModel
from .vad import is_silent


class Cut(NamedTuple):
    """A window's text, cut into segments by the times in it."""

    segments: list[Segment]
    reached: float | None
    """Seconds from the window's start to where its last whole segment ends; None where all of it has been said."""

    is_open: bool
    """Whether the text does not say that nothing follows its last time."""


def cut_by_times(
    speech: SpeechModel, result: WindowResult, *, offset: float, duration: float, to_the_end: bool, limit: float
) -> Cut:
    """The segments of a window. A text that does not begin with a time is not of times, and one segment.

    Args:
        speech: Who wrote it.
        result: Its text, with times.
        offset: Where the window begins, in seconds from the start of the recording.
        duration: Of what the window holds of the recording, in seconds.
        to_the_end: Whether this window is all there is: a segment that is begun and has no end then goes up to the
            window's.
        limit: Where the recording ends, in seconds from the window's start: no segment goes beyond it. What the model
            writes of later is in the silence that the last window is filled up with.
    """
    tokens, count = speech.tokens, len(result.tokens)
    is_time = [tokens.is_timestamp(token) for token in result.tokens]
    if not is_time or not is_time[0]:
        return Cut([_segment(speech, result, slice(0, count), start=offset, end=offset + duration)], None, False)
    pairs = [i for i in range(1, count) if is_time[i - 1] and is_time[i]]
    is_open = is_time[-2:] != [False, True]
    if not pairs and not to_the_end:
        # one segment; as Whisper has it, it ends at its last time, if that is not 0, although it may be its first
        last = max(tokens.seconds(token) for token, one in zip(result.tokens, is_time, strict=True) if one) or duration
        whole = _segment(speech, result, slice(0, count), start=offset, end=offset + min(last, limit))
        return Cut([whole], None, is_open)
    reached = tokens.seconds(result.tokens[pairs[-1] - 1]) if is_open and pairs else None
    starts, stops = [0, *pairs], [*pairs]
    if to_the_end or not is_open:
        stops.append(count)
    segments = []
    for first, end in zip(starts, stops, strict=False):
        start, stop = tokens.seconds(result.tokens[first]), result.tokens[end - 1]
        until = tokens.seconds(stop) if tokens.is_timestamp(stop) and end - first > 1 else duration
        start, until = min(start, limit), min(until, limit)
        segments.append(_segment(speech, result, slice(first, end), start=offset + start, end=offset + until))
    return Cut(segments, reached, is_open)


def _segment(speech: SpeechModel, result: WindowResult, part: slice, *, start: float, end: float) -> Segment:
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
    )


def nobody_speaks(result: WindowResult, options: SpeechOptions) -> bool:
    """Whether the model holds it that nobody speaks, and is not sure of its text either."""
    if options.no_speech_threshold is None or result.no_speech_prob is None:
        return False
    is_sure = options.log_prob_threshold is not None and result.avg_log_prob > options.log_prob_threshold
    return result.no_speech_prob > options.no_speech_threshold and not is_sure


def checked(segment: Segment, samples: Float[Tensor, " t"], *, offset: float, rate: int) -> Segment:
    """A segment, flagged where nothing is to be heard in it.

    Args:
        segment: Of a window.
        samples: Of that window.
        offset: Where the window begins, in seconds from the start of the recording.
        rate: Samples a second (Hz).
    """
    own = samples[round((segment.start - offset) * rate) : round((segment.end - offset) * rate)]
    return replace(segment, flags=(*segment.flags, "silence")) if is_silent(own) else segment
