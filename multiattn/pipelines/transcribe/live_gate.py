"""Where somebody speaks in sound that comes in piece by piece: silence is dropped before it costs anything.

Notation: t samples.
"""

from collections.abc import Iterator
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float32
from torch import Tensor

from ...errors import ModelError
from .cutting import is_silent
from .speech_detector import SpeechProbabilities

STEP_SECONDS = 0.032
"""Seconds that one decision is about."""

BEFORE_SECONDS = 0.3
"""Sound before the first word that stays with it: a voice begins softly."""

AFTER_SECONDS = 0.25
"""Sound after the last word that stays with it."""

_SPEECH, _NO_SPEECH = 0.5, 0.35  # the probabilities at which speech begins, and below which it may end


@runtime_checkable
class Voice(Protocol):
    """Tells how probable speech is, step by step."""

    def feed(self, samples: Float32[Tensor, " t"]) -> Float32[Tensor, " n"]:
        """Take the next samples; return the probability of speech in each step of 32 ms that is complete."""


class Loudness:
    """A voice for where no detector is installed: whatever can be heard counts as speech.

    Args:
        rate: Samples a second (Hz).
    """

    def __init__(self, rate: int) -> None:
        self._size = round(STEP_SECONDS * rate)
        self._held = torch.zeros(0)

    def feed(self, samples: Float32[Tensor, " t"]) -> Float32[Tensor, " n"]:
        """As `Voice.feed`."""
        held = torch.cat([self._held, samples])
        steps = held[: len(held) // self._size * self._size].reshape(-1, self._size)
        self._held = held[steps.numel() :].clone()
        return torch.tensor([0.0 if is_silent(step) else 1.0 for step in steps])


def voice_of(rate: int) -> Voice:
    """Return the detector that is installed, or else `Loudness`.

    Args:
        rate: Samples a second (Hz).
    """
    try:
        return SpeechProbabilities(rate)
    except ModelError:  # silero-vad is not installed
        return Loudness(rate)


class Sound(NamedTuple):
    """A part of an utterance."""

    start: float
    """Of the part, in seconds since the first sample."""

    samples: Float32[Tensor, " t"]

    is_last: bool = False
    """Whether the utterance ends with it: a pause follows."""


class SpeechGate:
    """Lets speech through, with a little of the sound around it.

    Args:
        voice: Tells where there is speech.
        rate: Samples a second (Hz).
        pause: Seconds without speech that end an utterance; at least `AFTER_SECONDS`.
    """

    def __init__(self, voice: Voice, rate: int, *, pause: float) -> None:
        self._voice, self._rate = voice, rate
        self._size = round(STEP_SECONDS * rate)
        self._longest_quiet = max(1, round(max(pause, AFTER_SECONDS) / STEP_SECONDS))
        self._passed_quiet = round(AFTER_SECONDS / STEP_SECONDS)
        self._kept = round(BEFORE_SECONDS / STEP_SECONDS)
        self._undecided = torch.zeros(0)
        self._held: list[Tensor] = []  # steps without speech, which the next speech begins with or goes on after
        self._count = 0  # steps decided so far
        self._quiet: int | None = None  # steps since the last speech; None where no utterance goes on

    def feed(self, samples: Float32[Tensor, " t"]) -> Iterator[Sound]:
        """Take the next samples; yield the parts of utterances that are known to be such."""
        self._undecided = torch.cat([self._undecided, samples])
        probabilities = self._voice.feed(samples).tolist()
        if not probabilities:
            return
        ready = self._undecided[: len(probabilities) * self._size].reshape(-1, self._size)
        self._undecided = self._undecided[len(probabilities) * self._size :].clone()
        passed = list[Tensor]()
        for step, probability in zip(ready, probabilities, strict=True):
            self._count += 1
            if self._quiet is None:
                self._held.append(step)
                if probability >= _SPEECH:
                    passed, self._held, self._quiet = self._held, [], 0
                else:
                    del self._held[: -self._kept]
                continue
            self._quiet = 0 if probability >= _NO_SPEECH else self._quiet + 1
            self._held.append(step)
            if self._quiet <= self._passed_quiet:
                passed, self._held = passed + self._held, []
            elif self._quiet >= self._longest_quiet:
                yield self._sound(passed, is_last=True)
                passed, self._quiet = [], None
                del self._held[: -self._kept]
        if passed:
            yield self._sound(passed)

    def finish(self) -> Iterator[Sound]:
        """Yield the last part of an utterance that goes on when the sound ends."""
        if self._quiet is not None:
            start = (self._count - len(self._held)) * self._size / self._rate
            yield Sound(start, torch.cat([*self._held, self._undecided]), is_last=True)
        self._undecided, self._held, self._quiet = torch.zeros(0), [], None

    def _sound(self, passed: list[Tensor], *, is_last: bool = False) -> Sound:
        steps = self._count - len(self._held) - len(passed)
        return Sound(steps * self._size / self._rate, torch.cat(passed) if passed else torch.zeros(0), is_last)
