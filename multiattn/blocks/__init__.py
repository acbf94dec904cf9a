"""The parts that models are built from: the transformer block with its feedforward, and the stems.

A stem turns a picture or a recording into tokens, which the blocks then transform.
"""

from .feedforward import Activation, FeedForward, QuickGELU, activation, applied
from .stems import ConvStem, MelStem, PatchStem
from .transformer import LayerScale, StochasticDepth, TransformerBlock

__all__ = [
    "Activation",
    "ConvStem",
    "FeedForward",
    "LayerScale",
    "MelStem",
    "PatchStem",
    "QuickGELU",
    "StochasticDepth",
    "TransformerBlock",
    "activation",
    "applied",
]
