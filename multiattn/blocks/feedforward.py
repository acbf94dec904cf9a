"""The feedforward half of a transformer block, and the activations that a configuration chooses by name."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

Activation = Literal["gelu", "gelu_tanh", "gelu_quick", "silu", "relu"]
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
    found: dict[str, nn.Module] = {
        "gelu": nn.GELU(),
        "gelu_tanh": nn.GELU(approximate="tanh"),
        "gelu_quick": QuickGELU(),
        "silu": nn.SiLU(),
        "relu": nn.ReLU(),
    }
    return found[name]


class FeedForward(nn.Module):
    """Two linear layers with an activation between them, applied to each token by itself.

    Args:
        dim: Width of the tokens.
        hidden_dim: Width between the two layers.
        activation: Exact GELU where None.
        gated: Whether the first layer returns a gate and a value of `hidden_dim` each, and what follows is their
            product with the gate activated. With SiLU that is SwiGLU.
            Source: Shazeer 2020, "GLU variants improve Transformer", section 2.
        bias: Whether the layers have a bias.
        norm: Normalizes what the second layer is given; a module over `hidden_dim`.
            Source: Fang et al. 2023 (EVA-02), section 2.1, "sub-LN".
        dropout: Share of what the second layer is given dropped in training.
    """

    def __init__(
        self,
        dim: int,
        hidden_dim: int,
        *,
        activation: nn.Module | None = None,
        gated: bool = False,
        bias: bool = True,
        norm: nn.Module | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.gated = gated
        self.fc1 = nn.Linear(dim, 2 * hidden_dim if gated else hidden_dim, bias=bias)
        self.activation = nn.GELU() if activation is None else activation
        self.norm = norm
        self.dropout = nn.Dropout(dropout) if dropout else None
        self.fc2 = nn.Linear(hidden_dim, dim, bias=bias)

    def forward(self, x: Float[Tensor, "*b D"]) -> Float[Tensor, "*b D"]:
        """Widen, activate, narrow."""
        hidden = self.fc1(x)
        if self.gated:
            gate, value = hidden.chunk(2, dim=-1)  # (*b, hidden) each
            # the function and not an operator: relevance propagation has a rule for it, see `maps.lrp`
            hidden = torch.mul(self.activation(gate), value)
        else:
            hidden = self.activation(hidden)
        return self.fc2(applied(self.dropout, applied(self.norm, hidden)))  # type: ignore[no-any-return]
