"""Which texts are no part of a transcript: those that the model wrote where nobody speaks."""

from collections.abc import Sequence

import numpy as np

from .options import SpeechOptions
from .speech_detector import STEP_SECONDS
from .voice import Voice

UNHEARD = "unheard"
"""Flag of a text during which the voice activity detector hears nobody."""

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
