"""Going back in sound that can be decoded forwards only.

The last seconds are kept, and what is before them is decoded once more.
"""

from collections import deque
from collections.abc import Callable

import numpy as np

_HELD = 45.0  # seconds of sound that are kept: the windows of a model overlap by at most 30
_MOST_HELD = 1 << 24  # numbers; fewer seconds of a recording with many channels


class Forward:
    """Samples by their index, from a decoder that begins at the first one.

    The seeks of some decoders and containers miss by a few samples, or guess; this one does not.
    """

    def __init__(
        self, restart: Callable[[], None], more: Callable[[], np.ndarray], *, rate: int, channels: int
    ) -> None:
        """Begin at the first sample.

        Args:
            restart: Lets the decoder begin again at the first sample.
            more: Decodes the next block of about a second, `[samples, channels]`; an empty one at the end.
            rate: Sampling rate in Hz.
            channels: Number of channels.
        """
        self._restart, self._more = restart, more
        self._kept = int(min(_HELD * rate, _MOST_HELD // channels))
        self._nothing = np.zeros((0, channels), np.float32)
        self._blocks: deque[np.ndarray] = deque()
        self._first = 0  # index of the first sample that is kept
        self.decoded = 0
        """Number of samples that have been decoded."""
        self.position = 0
        """Index of the next sample to be read."""

    def seek(self, position: int) -> None:
        """Go to a sample."""
        if position < self._first:
            self._restart()
            self._blocks.clear()
            self._first = self.decoded = self.position = 0
        while self.decoded < position and self.fill():
            self.position = self.decoded
            self._forget()
        self.position = position

    def read(self, count: int) -> np.ndarray:
        """Read the next samples; fewer only at the end."""
        while self.decoded < self.position + count and self.fill():
            pass
        parts, at, end = [self._nothing], self._first, self.position + count
        for block in self._blocks:
            if at + len(block) > self.position and at < end:
                parts.append(block[max(0, self.position - at) : end - at])
            at += len(block)
        samples = np.concatenate(parts)
        self.position += len(samples)
        self._forget()
        return samples

    def fill(self) -> bool:
        """Decode the next block; return whether there was one."""
        block = self._more()
        if len(block):
            self._blocks.append(block)
            self.decoded += len(block)
        return bool(len(block))

    def _forget(self) -> None:
        while self._blocks and self._first + len(self._blocks[0]) < self.position - self._kept:
            self._first += len(self._blocks.popleft())
