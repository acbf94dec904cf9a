"""The attention core, which depends on torch alone.

`Attention` (multihead) is the one attention of all models. Around it: `Mask` (which query may attend to which key),
positions (relative: those that are a bias of the scores), the scores (how a query is compared with a key; window,
longformer and lsh: for long sequences), the cache of a decoder, and `Tap`, which captures attention weights.
"""

from .cache import DecoderCache, GrowingCache, KeysValues, ProjectedContext
from .heads import Head, valid_heads
from .lsh import Chunking, LSHScore
from .mask import OPEN, Buckets, Mask
from .multihead import Attention
from .positions import (
    LearnedPositions,
    Resampling,
    Rotary,
    apply_rotary,
    rotary,
    rotary_2d,
    rotary_mixed,
    sinusoidal,
    sinusoidal_2d,
    start_frequencies,
)
from .relative import BucketBias, GridBias
from .score import AdditiveScore, DotProductScore, attention_weights
from .tap import Probe, Site, Tap, probe_at

__all__ = [
    "OPEN",
    "AdditiveScore",
    "Attention",
    "BucketBias",
    "Buckets",
    "Chunking",
    "DecoderCache",
    "DotProductScore",
    "GridBias",
    "GrowingCache",
    "Head",
    "KeysValues",
    "LSHScore",
    "LearnedPositions",
    "Mask",
    "Probe",
    "ProjectedContext",
    "Resampling",
    "Rotary",
    "Site",
    "Tap",
    "apply_rotary",
    "attention_weights",
    "probe_at",
    "rotary",
    "rotary_2d",
    "rotary_mixed",
    "sinusoidal",
    "sinusoidal_2d",
    "start_frequencies",
    "valid_heads",
]
