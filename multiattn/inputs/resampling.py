"""Resampling from one rate to another, by torchaudio's filter. Importing this imports no torch.

Notation: s source samples, t samples at the other rate.
"""

import math
from fractions import Fraction
from functools import lru_cache

import numpy as np
from jaxtyping import Float32
from numpy.lib.stride_tricks import sliding_window_view

_TAPS = 6  # zero crossings of the resampling filter on each side: torchaudio's default
_ROLLOFF = 0.99  # cutoff frequency, as a share of half the lower rate: torchaudio's default
_FINEST = 640  # the ratio of the rates is rounded to a fraction of integers up to this
_AT_ONCE = 1 << 14  # periods of the filter
_LARGEST = 1 << 22  # and so that their product, the size of the filter, is at most this
_KEPT = 1 << 18  # the largest filter that is kept: odd rates have others of 16 MB, which a server would collect


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


def resampled(samples: Float32[np.ndarray, " s"], source: int, target: int) -> Float32[np.ndarray, " t"]:
    """Resample from `source` to `target` Hz, or any rates with that ratio: the filter is shorter for small ones."""
    if source == target or len(samples) == 0:
        return samples
    divisor = math.gcd(source, target)
    source, target = source // divisor, target // divisor
    filters = _kept_filters if source * target <= _KEPT else _filters
    bank = filters(source, target)  # (taps, target)
    reach = (len(bank) - source) // 2
    padded = np.pad(samples, (reach, reach + source))
    periods = sliding_window_view(padded, len(bank))[::source]  # (periods, taps)
    # in parts: each is copied for the product
    parts = [periods[first : first + _AT_ONCE] @ bank for first in range(0, len(periods), _AT_ONCE)]
    length = -(-target * len(samples) // source)
    return np.concatenate(parts).reshape(-1)[:length]


def _filters(source: int, target: int) -> Float32[np.ndarray, "taps target"]:
    """Return the windowed sinc for each of the `target` samples that `source` samples become.

    Source: torchaudio, `_get_sinc_resample_kernel`, "sinc_interp_hann".
    """
    base = min(source, target) * _ROLLOFF
    reach = math.ceil(_TAPS * source / base)
    at = np.arange(-reach, reach + source) / source  # (taps,)
    t = (at - np.arange(target)[:, None] / target) * base  # (target, taps), in zero crossings
    t = t.clip(-_TAPS, _TAPS)
    values = np.sinc(t) * np.cos(t * np.pi / _TAPS / 2) ** 2 * (base / source)
    return np.ascontiguousarray(values.T.astype(np.float32))


_kept_filters = lru_cache(maxsize=16)(_filters)
