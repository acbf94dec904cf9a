"""Pooling by attention: a learned query reads a sequence of tokens.

Notation: b batch, n tokens, D width.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..attention import Attention, Probe, probe_at
from .feedforward import FeedForward


class AttentionPool(nn.Module):
    """A learned query attends to the tokens; what it mixes goes through a feedforward, with a residual around that.

    Source: Zhai et al. 2022, "Scaling vision transformers", section 3.2; Lee et al. 2019, "Set Transformer", section
    3.2.

    Args:
        dim: Width of the tokens.
        attention: Attends from the query to the tokens; cross-attention.
        feedforward: Applied to what was mixed.
        norm: Normalizes it before that.
    """

    def __init__(self, dim: int, *, attention: Attention, feedforward: FeedForward, norm: nn.Module) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.empty(1, 1, dim))
        self.attention = attention
        self.norm = norm
        self.feedforward = feedforward
        nn.init.normal_(self.query, std=dim**-0.5)

    def forward(self, x: Float[Tensor, "b n D"], *, probe: Probe | None = None) -> Float[Tensor, "b D"]:
        """Return one vector for each sequence; `probe` captures the site `cross`."""
        mixed = self.attention(self.query.expand(len(x), -1, -1), x, probe=probe_at(probe, "cross"))  # (b, 1, D)
        return (mixed + self.feedforward(self.norm(mixed)))[:, 0]  # type: ignore[no-any-return]
