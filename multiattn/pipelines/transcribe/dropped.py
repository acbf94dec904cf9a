"""Where the voice activity detector hears nobody, for the texts that a model wrote there (see `cutting.is_dropped`)."""

from collections.abc import Sequence

import numpy as np

from .speech_detector import STEP_SECONDS
from .voice import Voice

_REACH_SECONDS = 0.5
"""How far from a text somebody must be heard: the times that a model writes are not exact."""

_CERTAIN = 0.5
"""The probability from which on speech that no text covers counts."""

_LEAST_SECONDS = 0.3
"""How much of it there must be."""


def is_unheard(start: float, end: float, voice: Voice | None) -> bool:
    """Tell whether the detector hears nobody near the time from `start` to `end` (s); never so where it is off."""
    return voice is not None and not voice.hears(start - _REACH_SECONDS, end + _REACH_SECONDS)


def covers_speech(heard: Sequence[tuple[float, float]], voice: Voice | None, *, start: float, end: float) -> bool:
    """Tell whether all speech of a window lies near texts during which somebody is heard.

    If not, a text during which nobody is heard may be of the speech that is left, with times that are wrong.

    Args:
        heard: Start and end of those texts, in seconds of the recording.
        voice: What the detector hears; None where it is off, and nothing is known to be left.
        start: Start of the window in seconds.
        end: Its end in seconds.
    """
    if voice is None:
        return True
    times = np.arange(start, end, STEP_SECONDS)
    is_left = voice.at(times) >= _CERTAIN
    for first, last in heard:
        is_left &= (times < first - _REACH_SECONDS) | (times > last + _REACH_SECONDS)
    return float(is_left.sum()) * STEP_SECONDS < _LEAST_SECONDS
