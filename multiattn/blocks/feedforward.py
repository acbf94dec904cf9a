"""The feedforward half of a transformer block, and the activations that a configuration chooses by name."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

Activation = Literal["gelu", "gelu_tanh", "gelu_quick"]
"""`gelu` is exact; `gelu_tanh` is the approximation that GPT-2 uses; `gelu_quick` is CLIP's."""


def applied(module: nn.Module | None, x: Tensor) -> Tensor:
    """Apply an optional part of a model: return `x` itself where the part is None."""
    return x if module is None else module(x)


class QuickGELU(nn.Module):
    """x sigmoid(1.702 x), the approximation of GELU that OpenAI's CLIP weights were trained with."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply it to each element."""
        return x * torch.sigmoid(1.702 * x)


def activation(name: Activation) -> nn.Module:
    """Build the activation called `name`."""
    return {"gelu": nn.GELU(), "gelu_tanh": nn.GELU(approximate="tanh"), "gelu_quick": QuickGELU()}[name]


class FeedForward(nn.Module):
    """Two linear layers with an activation between them, applied to each token by itself."""

    def __init__(self, dim: int, hidden_dim: int, *, activation: nn.Module | None = None, dropout: float = 0.0) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.activation = nn.GELU() if activation is None else activation
        self.dropout = nn.Dropout(dropout) if dropout else None
        self.fc2 = nn.Linear(hidden_dim, dim)

    def forward(self, x: Float[Tensor, "*b D"]) -> Float[Tensor, "*b D"]:
        """Widen, activate, narrow."""
        return self.fc2(applied(self.dropout, self.activation(self.fc1(x))))  # type: ignore[no-any-return]
