"""Samples that come in pieces, resampled as if they had come at once.

Dimensions: s = samples at the rate they have, t = samples at the rate they get.
"""

import math

import torch
from jaxtyping import Float32
from torch import Tensor

from .resampling import half_length, ratio, resampled


class StreamResampler:
    """Resamples a stream; joined, what it returns equals the stream resampled at once.

    Args:
        source: Samples a second that come (Hz).
        target: Samples a second that are returned (Hz).
    """

    def __init__(self, source: int, target: int) -> None:
        self._from, self._to = ratio(source, target)  # this many samples become this many
        self._reach = math.ceil(half_length(self._from, self._to) / self._from + 1) * self._from
        self._held = torch.zeros(0)  # samples that are still needed
        self._skip = 0  # samples of those that are only there for their neighbors' sake

    def feed(self, samples: Float32[Tensor, " s"], *, is_last: bool = False) -> Float32[Tensor, " t"]:
        """Take the next samples; return those that no later ones change, or with `is_last` all that are left."""
        if self._from == self._to:
            return samples
        held, skip = torch.cat([self._held, samples]), self._skip
        ready = len(held) if is_last else max(skip, (len(held) - self._reach) // self._from * self._from)
        if ready == skip:
            self._held = held
            return torch.zeros(0)
        found = torch.from_numpy(resampled(held.numpy(), self._from, self._to))
        first, last = skip // self._from * self._to, ready // self._from * self._to
        keep = max(0, ready - self._reach)
        self._held, self._skip = held[keep:], ready - keep
        return found[first:] if is_last else found[first:last]
