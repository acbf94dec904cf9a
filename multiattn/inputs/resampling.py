"""Resampling from one rate to another, by torchaudio's filter.

Notation: s source samples, t samples at the other rate.
"""

import math
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache

from jaxtyping import Float32
from torch import Tensor

_TAPS = 6  # zero crossings of the resampling filter on each side: torchaudio's default
_ROLLOFF = 0.99  # cutoff frequency, as a share of half the lower rate: torchaudio's default
_FINEST = 640  # the ratio of the rates is rounded to a fraction of integers up to this
_LARGEST = 1 << 22  # and so that their product, the size of the filter, is at most this


def ratio(source: int, target: int) -> tuple[int, int]:
    """Return the ratio of two rates as integers that are small enough for a filter of `_LARGEST` numbers."""
    finest = _FINEST
    while True:
        ratio = Fraction(source, target).limit_denominator(finest)
        if ratio.numerator * ratio.denominator <= _LARGEST or finest == 1:
            return ratio.numerator, ratio.denominator
        finest = finest * 3 // 4


def half_length(source: int, target: int) -> int:
    """Return the source samples on each side that the filter covers, for rates with this ratio."""
    return math.ceil(_TAPS * source / (min(source, target) * _ROLLOFF))


def resampled(samples: Float32[Tensor, " s"], source: int, target: int) -> Float32[Tensor, " t"]:
    """Resample from `source` to `target` Hz, or any rates with that ratio: the filter is shorter for small ones."""
    if source == target or len(samples) == 0:
        return samples
    return _resampler(source, target)(samples)


@lru_cache(maxsize=16)
def _resampler(source: int, target: int) -> Callable[[Tensor], Tensor]:
    import torchaudio.transforms  # takes seconds, and only recordings at another rate need it

    return torchaudio.transforms.Resample(  # type: ignore[no-any-return]
        source, target, lowpass_filter_width=_TAPS, rolloff=_ROLLOFF
    )
