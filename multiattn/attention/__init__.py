"""The attention core: masks, positions, scoring, the cache, the tap, and the one `Attention`. Knows only torch."""

from .cache import DecoderCache, GrowingCache, KeysValues, ProjectedContext
from .mask import OPEN, Mask
from .multihead import Attention
from .positions import LearnedPositions, Rotary, apply_rotary, rotary, rotary_2d, sinusoidal, sinusoidal_2d
from .score import AdditiveScore, DotProductScore, attention_weights
from .tap import Probe, Site, Tap, probe_at

__all__ = [
    "OPEN",
    "AdditiveScore",
    "Attention",
    "DecoderCache",
    "DotProductScore",
    "GrowingCache",
    "KeysValues",
    "LearnedPositions",
    "Mask",
    "Probe",
    "ProjectedContext",
    "Rotary",
    "Site",
    "Tap",
    "apply_rotary",
    "attention_weights",
    "probe_at",
    "rotary",
    "rotary_2d",
    "sinusoidal",
    "sinusoidal_2d",
]
