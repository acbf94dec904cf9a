"""Where somebody speaks in a recording, by Silero VAD: probabilities, and spans of speech, block by block.

Notation: t samples, n steps of 32 ms.
Source: silero-vad 6, utils_vad.py, `get_speech_timestamps_from_probs`, for the spans.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float32
from torch import Tensor

from ...checks import check_rules
from ...errors import ModelError
from ...inputs.audio import Recording
from ...inputs.stream_resampler import StreamResampler
from ...models.voice_activity import CHUNK, VOICE_RATE
from ...weights.silero import load_voice_activity

STEP_SECONDS = CHUNK / VOICE_RATE
"""Seconds that one probability is about: 0.032."""

_BLOCK_SECONDS = 30.0


class SpeechSpan(NamedTuple):
    """A part of a recording where somebody speaks; start and end in seconds."""

    start: float
    end: float


@dataclass(frozen=True)
class SpeechRules:
    """How probabilities become spans of speech."""

    threshold: float = 0.5
    """Speech begins with a step of at least this probability."""

    end_threshold: float = 0.35
    """It ends where the probability falls below this one, and stays below `threshold` for `min_silence`."""

    min_speech: float = 0.25
    """The shortest speech, in seconds; less than this is left out."""

    min_silence: float = 0.1
    """The shortest silence, in seconds; less than this does not end the speech."""

    padding: float = 0.03
    """Seconds that a span is longer than the speech at each end. Between two spans closer than twice this, each gets
    half."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ModelError: A value is out of range.
        """
        check_rules(
            self,
            ("threshold", 0 < self.threshold <= 1, "above 0 and at most 1"),
            ("end_threshold", 0 <= self.end_threshold <= self.threshold, "from 0 to `threshold`"),
            *((name, getattr(self, name) >= 0, "at least 0") for name in ("min_speech", "min_silence", "padding")),
            error=ModelError,
        )


class SpeechProbabilities:
    """The probability of speech in each step of a stream of samples.

    Args:
        rate: Sampling rate of the stream in Hz. At another rate than 16 kHz it is resampled.

    Raises:
        ModelError: The package silero-vad is not installed.
    """

    def __init__(self, rate: int = VOICE_RATE) -> None:
        self._detector = load_voice_activity()
        self._resampler = StreamResampler(rate, VOICE_RATE)
        self._state = self._detector.initial_state()
        self._held = torch.zeros(0)  # samples of a chunk that is not complete

    def feed(self, samples: Float32[Tensor, " t"], *, is_last: bool = False) -> Float32[Tensor, " n"]:
        """Take the next samples; return the probabilities of the steps that are complete since the last call.

        Args:
            samples: The samples, mono, on the CPU.
            is_last: Whether the stream ends with them: the last step is then filled up with silence.
        """
        held = torch.cat([self._held, self._resampler.feed(samples, is_last=is_last)])
        if is_last and len(held) % CHUNK:
            held = torch.nn.functional.pad(held, (0, CHUNK - len(held) % CHUNK))
        ready = len(held) // CHUNK * CHUNK
        self._held = held[ready:].clone()
        found: Tensor
        found, self._state = self._detector(held[:ready], self._state)
        return found


class SpeechSpans:
    """Spans of speech in a stream of probabilities.

    Args:
        rules: How probabilities become spans; None: the defaults.
    """

    def __init__(self, rules: SpeechRules | None = None) -> None:
        self._rules = SpeechRules() if rules is None else rules
        self._count = 0  # steps so far
        self._start: int | None = None  # first step of the speech that goes on
        self._silence: int | None = None  # first step of the silence that may end it
        self._waiting: SpeechSpan | None = None  # the last span, without padding
        self._previous = -math.inf  # end of the span before it, without padding

    @property
    def is_speech(self) -> bool:
        """Whether the last step was within speech, or within a silence too short to end it."""
        return self._start is not None

    def feed(self, probabilities: Float32[Tensor, " n"]) -> list[SpeechSpan]:
        """Take the next probabilities; return the spans that later ones do not change, in order."""
        found = []
        for probability in probabilities.tolist():
            found += self._step(probability)
            self._count += 1
        earliest = (self._count if self._start is None else self._start) * STEP_SECONDS  # where the next span starts
        if self._waiting is not None and earliest - self._waiting.end >= 2 * self._rules.padding:
            found += self._padded(earliest)
        return found

    def finish(self, seconds: float) -> list[SpeechSpan]:
        """Return the spans that are left at the end of the stream, whose length is `seconds`."""
        found = []
        if self._start is not None:
            found += self._close(self._start, seconds)
        found += self._padded(math.inf)
        return [SpeechSpan(start, min(end, seconds)) for start, end in found]

    def _step(self, probability: float) -> list[SpeechSpan]:
        rules = self._rules
        if probability >= rules.threshold:
            self._silence = None
            self._start = self._count if self._start is None else self._start
        elif probability < rules.end_threshold and self._start is not None:
            self._silence = self._count if self._silence is None else self._silence
            if (self._count - self._silence) * CHUNK >= round(rules.min_silence * VOICE_RATE):
                return self._close(self._start, self._silence * STEP_SECONDS)
        return []

    def _close(self, first_step: int, end: float) -> list[SpeechSpan]:
        """End the speech that goes on; return the span before it, with padding, unless this one is too short."""
        self._start = self._silence = None
        start = first_step * STEP_SECONDS
        if end - start <= self._rules.min_speech:
            return []
        found = self._padded(start)
        self._waiting = SpeechSpan(start, end)
        return found

    def _padded(self, following: float) -> list[SpeechSpan]:
        """Return the span that waits, if one does, with padding; the next one starts at `following` at the earliest."""
        if self._waiting is None:
            return []
        (start, end), padding = self._waiting, self._rules.padding
        first = max(0.0, start - padding, (self._previous + start) / 2)
        self._waiting, self._previous = None, end
        return [SpeechSpan(first, min(end + padding, (end + following) / 2))]


def speech_probabilities(recording: Recording, *, seconds: float = _BLOCK_SECONDS) -> Iterator[Float32[Tensor, " n"]]:
    """Yield the probabilities of speech of a recording, for a block of this many seconds at a time.

    Raises:
        InputError: The recording is damaged.
        ModelError: The package silero-vad is not installed.
    """
    stream = SpeechProbabilities(recording.rate)
    for block in recording.blocks(seconds):
        yield stream.feed(block)
    yield stream.feed(torch.zeros(0), is_last=True)


def speech_spans(recording: Recording, rules: SpeechRules | None = None) -> Iterator[SpeechSpan]:
    """Yield the spans of speech of a recording in order, each as soon as it is certain.

    No more than a block of 30 s is in memory.

    Raises:
        InputError: The recording is damaged.
        ModelError: The package silero-vad is not installed.
    """
    spans = SpeechSpans(rules)
    for probabilities in speech_probabilities(recording):
        yield from spans.feed(probabilities)
    yield from spans.finish(recording.measure())


def spans_of(samples: Float32[Tensor, " t"], *, rate: int, rules: SpeechRules | None = None) -> list[SpeechSpan]:
    """Return the spans of speech in samples that are at hand, with times from their start.

    Raises:
        ModelError: The package silero-vad is not installed.
    """
    spans = SpeechSpans(rules)
    found = spans.feed(SpeechProbabilities(rate).feed(samples, is_last=True))
    return found + spans.finish(len(samples) / rate)
