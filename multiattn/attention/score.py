"""How a query is compared with a key: scaled dot-product through the fused kernel, or the additive form.

Notation: b batch, h heads, q query positions, k key positions, d head width.

A score is a module with two faces. Called, it mixes the values, as fast as it can. Its `weights` are the softmax of
the same scores in fp32, for those who look: the tap asks for them, the output never passes through them.
"""

import math
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .mask import Mask
from .window import windowed_attention, worth_blocks


@runtime_checkable
class Score(Protocol):
    """What `Attention` needs of a score."""

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, *, mask: Mask, dropout_p: float = 0.0) -> Tensor:
        """The values mixed by the weights, (b, h, q, d)."""
        ...

    def weights(
        self, q: Tensor, k: Tensor, *, heads: Sequence[int] | None = None, allowed: Tensor | None = None
    ) -> Tensor:
        """The softmax weights of all or some heads in fp32, (b, heads, q, k)."""
        ...


def attention_weights(
    scores: Float[Tensor, "b h q k"], allowed: Bool[Tensor, "#b #h q k"] | None = None
) -> Float[Tensor, "b h q k"]:
    """Softmax over the keys in fp32; a row with no allowed key is 0, as the fused kernel has it, and not NaN."""
    scores = scores.float()
    if allowed is None:
        return scores.softmax(dim=-1)
    weights = scores.masked_fill(~allowed, -math.inf).softmax(dim=-1)
    return weights.masked_fill(~allowed.any(dim=-1, keepdim=True), 0.0)


class DotProductScore(nn.Module):
    """Scaled dot-product: softmax(q k^T / sqrt(d)) v. Source: Vaswani et al. 2017, section 3.2.1."""

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        self.scale = head_dim**-0.5

    def forward(
        self,
        q: Float[Tensor, "b h q d"],
        k: Float[Tensor, "b h k d"],
        v: Float[Tensor, "b h k d"],
        *,
        mask: Mask,
        dropout_p: float = 0.0,
    ) -> Float[Tensor, "b h q d"]:
        """Attend through the fused kernel; a window costs time and memory linear in the length."""
        q_len, k_len = q.shape[-2], k.shape[-2]
        if worth_blocks(mask, q_len, k_len):
            return windowed_attention(q, k, v, mask, scale=self.scale, dropout_p=dropout_p)
        # the kernel's own causal flag is aligned top-left: the same only when there are as many queries as keys
        only_causal = mask.causal and mask.window is None and mask.keys is None and q_len == k_len
        dense = None if mask.is_open or only_causal else mask.dense(q_len, k_len, device=q.device)
        return F.scaled_dot_product_attention(
            q, k, v, attn_mask=dense, dropout_p=dropout_p, is_causal=only_causal, scale=self.scale
        )

    def weights(
        self,
        q: Float[Tensor, "b h q d"],
        k: Float[Tensor, "b h k d"],
        *,
        heads: Sequence[int] | None = None,
        allowed: Tensor | None = None,
    ) -> Float[Tensor, "b heads q k"]:
        """The weights of the rows in `q`, in fp32."""
        if heads is not None:
            q, k = q[:, list(heads)], k[:, list(heads)]
        rows, keys = q.float().flatten(0, 1), k.float().flatten(0, 1)  # (b heads, len, d)
        # one product with the scale inside it: a full capture is bound by the memory it touches
        scores = rows.new_empty(len(rows), rows.shape[1], keys.shape[1])
        scores = torch.baddbmm(scores, rows, keys.transpose(-2, -1), beta=0, alpha=self.scale)
        return attention_weights(scores.reshape(*q.shape[:3], k.shape[2]), allowed)


class AdditiveScore(nn.Module):
    """Additive scoring: softmax(w . tanh(W q + U k)) v. Source: Bahdanau et al. 2015, appendix A.1.2.

    Every pair of query and key has a hidden vector of its own, so memory is b h q k d: for short sequences, and for
    the captioners and recognizers of the literature before dot-products.
    """

    def __init__(self, num_heads: int, head_dim: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.empty(num_heads, head_dim, head_dim))
        self.key = nn.Parameter(torch.empty(num_heads, head_dim, head_dim))
        self.bias = nn.Parameter(torch.zeros(num_heads, 1, head_dim))
        self.energy = nn.Parameter(torch.empty(num_heads, head_dim))
        for weight in (self.query, self.key, self.energy):
            nn.init.normal_(weight, std=head_dim**-0.5)

    def forward(
        self,
        q: Float[Tensor, "b h q d"],
        k: Float[Tensor, "b h k d"],
        v: Float[Tensor, "b h k d"],
        *,
        mask: Mask,
        dropout_p: float = 0.0,
    ) -> Float[Tensor, "b h q d"]:
        """Attend; there is no fused kernel for this score, so the weights are what mixes the values."""
        allowed = None if mask.is_open else mask.dense(q.shape[-2], k.shape[-2], device=q.device)
        weights = self.weights(q, k, allowed=allowed)
        return F.dropout(weights, dropout_p).to(v.dtype) @ v

    def weights(
        self,
        q: Float[Tensor, "b h q d"],
        k: Float[Tensor, "b h k d"],
        *,
        heads: Sequence[int] | None = None,
        allowed: Tensor | None = None,
    ) -> Float[Tensor, "b heads q k"]:
        """The weights of the rows in `q`, in fp32."""
        chosen = slice(None) if heads is None else list(heads)
        query = q[:, chosen].float() @ self.query[chosen].float() + self.bias[chosen].float()  # (b, h, q, d)
        key = k[:, chosen].float() @ self.key[chosen].float()  # (b, h, k, d)
        hidden = torch.tanh(query[:, :, :, None] + key[:, :, None])  # (b, h, q, k, d)
        scores = torch.einsum("bhqkd,hd->bhqk", hidden, self.energy[chosen].float())
        return attention_weights(scores, allowed)
