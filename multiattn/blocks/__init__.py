"""What models are built of: the feedforward, the transformer block, the stems that turn pictures into tokens."""

from .activation import Activation, activation
from .feedforward import FeedForward, QuickGELU
from .residual import LayerScale, StochasticDepth
from .stems import ConvStem, PatchStem
from .transformer import TransformerBlock

__all__ = [
    "Activation",
    "ConvStem",
    "FeedForward",
    "LayerScale",
    "PatchStem",
    "QuickGELU",
    "StochasticDepth",
    "TransformerBlock",
    "activation",
]
