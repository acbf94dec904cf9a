"""Global tokens with projections of their own, as in the published Longformer.

Notation: b batch, h heads, q query positions, k key positions, d head width, g global tokens.
The window and the global keys are in window.py. Source: Longformer (Beltagy et al. 2020), section 3.1, "Linear
projections for global attention".
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from .mask import OPEN, Mask
from .score import DotProductScore
from .window import rows_at, with_global_rows


@dataclass(frozen=True, eq=False)
class GlobalProjectionScore:
    """A score under which the rows of global tokens come from other queries, keys and values than all others."""

    score: DotProductScore
    """Of all rows."""

    q: Float[Tensor, "b h k d"]
    """The queries of global tokens, for all tokens."""

    k: Float[Tensor, "b h k d"]
    """The keys that global tokens attend to."""

    v: Float[Tensor, "b h k d"]
    """Their values."""

    def __call__(
        self,
        q: Float[Tensor, "b h q d"],
        k: Float[Tensor, "b h k d"],
        v: Float[Tensor, "b h k d"],
        *,
        mask: Mask,
        bias: Tensor | None = None,
        dropout_p: float = 0.0,
    ) -> Float[Tensor, "b h q d"]:
        """Return the mixed values, with those of the global tokens from their own projections."""
        assert mask.global_tokens is not None
        mixed = self.score(q, k, v, mask=mask, bias=bias, dropout_p=dropout_p)
        rows = rows_at(mask.global_tokens, self.q)
        return with_global_rows(mixed, rows, self.k, self.v, mask, scale=self.score.scale, dropout_p=dropout_p)

    def weights(
        self,
        q: Float[Tensor, "b h q d"],
        k: Float[Tensor, "b h k d"],
        *,
        mask: Mask = OPEN,
        bias: Tensor | None = None,
        rows: Sequence[int] | None = None,
        heads: Sequence[int] | None = None,
    ) -> Float[Tensor, "b heads rows k"]:
        """Return the weights in fp32, each row from the projections that it was computed with."""
        q_len, k_len = q.shape[2], k.shape[2]
        weights = self.score.weights(q, k, mask=mask, bias=bias, rows=rows, heads=heads)
        of_global = self.score.weights(self.q[:, :, k_len - q_len :], self.k, mask=mask, rows=rows, heads=heads)
        is_global = mask.global_keys(k_len)[:, k_len - q_len :]  # (#b, q)
        if rows is not None:
            is_global = is_global[:, rows]
        return torch.where(is_global[:, None, :, None], of_global, weights)
