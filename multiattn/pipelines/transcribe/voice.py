"""What the detector hears in a recording: the probability of speech in each step of 32 ms, looked up by time.

Notation: t samples, n steps.
"""

import math

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from .speech_detector import STEP_SECONDS, SpeechProbabilities

HEARD = 0.3
"""Where every step has a lower probability, nobody speaks. Half the usual threshold, for speech that is whispered, far
away or faint: what is heard by mistake is only decoded in vain. See "Where nothing is said" in docs/measurements.md."""


class Voice:
    """The probabilities of a recording as far as it has been read: 0.45 MB an hour.

    Args:
        rate: Sampling rate of the recording in Hz.
        start: Where it begins, in seconds of the recording that it is a part of: all times are that one's.

    Raises:
        ModelError: The package silero-vad is not installed.
    """

    def __init__(self, rate: int, *, start: float = 0.0) -> None:
        self._start = start
        self._stream = SpeechProbabilities(rate)
        self._parts: list[Float32[np.ndarray, " n"]] = []
        self._joined = np.zeros(0, np.float32)

    def add(self, samples: Float32[Tensor, " t"], *, is_last: bool = False) -> None:
        """Take the next samples; `is_last` where the recording ends with them."""
        self._parts.append(self._stream.feed(samples, is_last=is_last).numpy())

    def finish(self) -> None:
        """Take the end of the recording."""
        self.add(torch.zeros(0), is_last=True)

    @property
    def probabilities(self) -> Float32[np.ndarray, " n"]:
        """All of them, in order."""
        if self._parts:
            self._joined = np.concatenate([self._joined, *self._parts])
            self._parts = []
        return self._joined

    def most(self, start: float, end: float) -> float:
        """Return the highest probability from `start` to `end`, in seconds; 0 where nothing is there."""
        return float(self.between(start, end).max(initial=0.0))

    def hears(self, start: float, end: float) -> bool:
        """Tell whether somebody may speak from `start` to `end`, in seconds."""
        return self.most(start, end) >= HEARD

    def first(self, start: float, end: float = math.inf) -> float | None:
        """Return when somebody speaks first from `start` to `end`, in seconds; None where nobody does."""
        [found] = np.nonzero(self.between(start, end) >= HEARD)
        return self._start + (self._index(start) + int(found[0])) * STEP_SECONDS if len(found) else None

    def last(self, start: float, end: float) -> float | None:
        """Return when somebody speaks last from `start` to `end`, in seconds; None where nobody does."""
        [found] = np.nonzero(self.between(start, end) >= HEARD)
        return self._start + (self._index(start) + int(found[-1]) + 1) * STEP_SECONDS if len(found) else None

    def seconds(self, start: float, end: float) -> float:
        """Return the expected seconds of speech from `start` to `end`, in seconds."""
        return float(self.between(start, end).sum()) * STEP_SECONDS

    def at(self, times: np.ndarray) -> Float32[np.ndarray, " m"]:
        """Return the probability at each of these times (m,) in seconds; 0 before the first step and after the last."""
        padded = np.append(self.probabilities, np.float32(0))
        indices = np.floor((times - self._start) / STEP_SECONDS + 1e-6).astype(int)
        return np.asarray(padded[np.where(indices < 0, len(padded) - 1, np.minimum(indices, len(padded) - 1))])

    @property
    def known(self) -> float:
        """Where the last step ends, in seconds."""
        return self._start + len(self.probabilities) * STEP_SECONDS

    def step_start(self, seconds: float) -> float:
        """Return where the step begins that a moment lies in; both in seconds."""
        return self._start + self._index(seconds) * STEP_SECONDS

    def between(self, start: float, end: float) -> Float32[np.ndarray, " n"]:
        """Return the probabilities of the steps from `start` to `end`, in seconds."""
        last = None if end == math.inf else math.ceil(max(0.0, end - self._start) / STEP_SECONDS - 1e-6)
        return self.probabilities[self._index(start) : last]

    def _index(self, seconds: float) -> int:
        return math.floor(max(0.0, seconds - self._start) / STEP_SECONDS + 1e-6)
