"""What may stand on a residual branch before it is added."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class LayerScale(nn.Module):
    """A learned factor per channel. Source: Touvron et al. 2021, "Going deeper with image transformers", section 2."""

    def __init__(self, dim: int, *, init: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((dim,), init))

    def forward(self, x: Float[Tensor, "*b D"]) -> Float[Tensor, "*b D"]:
        """Scale the last axis."""
        return x * self.gamma


class StochasticDepth(nn.Module):
    """Drops a whole branch for some items of a batch, in training only. Source: Huang et al. 2016, section 3."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        if not 0.0 <= probability < 1.0:
            raise ValueError(f"`probability` must be at least 0 and below 1, but is {probability} instead.")
        self.keep = 1.0 - probability

    def forward(self, x: Float[Tensor, "b *rest"]) -> Float[Tensor, "b *rest"]:
        """Zero some items, and scale the others so that the expected value stays the same."""
        if not self.training or self.keep == 1.0:
            return x
        kept = x.new_empty(x.shape[0], *(1,) * (x.ndim - 1)).bernoulli_(self.keep)
        return x * (kept / self.keep)
