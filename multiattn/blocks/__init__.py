"""What models are built of: the feedforward, the transformer block, the stems that turn files into tokens."""

from .activation import Activation, activation
from .feedforward import FeedForward, QuickGELU
from .residual import LayerScale, StochasticDepth
from .stems import ConvStem, MelStem, PatchStem
from .transformer import TransformerBlock

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
]
