"""The activations that models choose by name."""

from typing import Literal

from torch import nn

from .feedforward import QuickGELU

Activation = Literal["gelu", "gelu_tanh", "gelu_quick"]
"""`gelu` is exact; `gelu_tanh` is the approximation that GPT-2 uses; `gelu_quick` is CLIP's."""


def activation(name: Activation) -> nn.Module:
    """The module called `name`."""
    return {"gelu": nn.GELU(), "gelu_tanh": nn.GELU(approximate="tanh"), "gelu_quick": QuickGELU()}[name]
