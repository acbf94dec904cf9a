"""Which texts are no part of a transcript: those that the model wrote where nobody speaks."""

from collections.abc import Sequence

from .options import SpeechOptions
from .voice import Voice

UNHEARD = "unheard"
"""Flag of a text during which the voice activity detector hears nobody."""

_REACH_SECONDS = 0.5
"""How far from a text somebody must be heard: the times that a model writes are not exact."""


def is_unheard(start: float, end: float, voice: Voice | None) -> bool:
    """Tell whether the detector hears nobody near the time from `start` to `end` (s); never so where it is off."""
    return voice is not None and not voice.hears(start - _REACH_SECONDS, end + _REACH_SECONDS)


def is_dropped(flags: Sequence[str], no_speech_prob: float | None, options: SpeechOptions) -> bool:
    """Tell whether a text is dropped: nobody is heard, or it is flagged and the model itself takes it for silence.

    Args:
        flags: Those of the text.
        no_speech_prob: The model's probability that nobody speaks; None where it gives none.
        options: `no_speech_threshold`, which that probability must exceed, and `keep_flagged`.
    """
    if options.keep_flagged or not flags:
        return False
    threshold = options.no_speech_threshold
    return UNHEARD in flags or (threshold is not None and no_speech_prob is not None and no_speech_prob > threshold)
