"""The parts that models are built from: the transformer block with its feedforward, and the stems.

A stem turns a picture or a recording into tokens, which the blocks then transform.
"""

from .feedforward import Activation, FeedForward, QuickGELU, activation, applied
from .pooling import AttentionPool
from .reversible import Streams, run_reversible
from .stems import ConvStem, MelStem, PatchStem
from .transformer import LayerScale, Norm, StochasticDepth, TransformerBlock, make_norm

__all__ = [
    "Activation",
    "AttentionPool",
    "ConvStem",
    "FeedForward",
    "LayerScale",
    "MelStem",
    "Norm",
    "PatchStem",
    "QuickGELU",
    "StochasticDepth",
    "Streams",
    "TransformerBlock",
    "activation",
    "applied",
    "make_norm",
    "run_reversible",
]
