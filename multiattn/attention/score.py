"""How a query is compared with a key: scaled dot-product through the fused kernel, or the additive form.

Notation: b batch, h heads, q query positions, k key positions, d head width.

A score is a module with two methods. Its `forward` mixes the values, as fast as it can. Its `weights` returns the
softmax of the same scores in fp32: the tap calls it, and the model's output never depends on it.
"""

import math
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .kernel import fused_attention
from .mask import OPEN, Mask
from .window import windowed_attention, worth_blocks

FEW_QUERIES = 16
"""Up to so many queries, two products with keys and values of half precision are faster than to widen those first."""


@runtime_checkable
class Score(Protocol):
    """The interface that `Attention` and the tap expect of a score."""

    def __call__(
        self, q: Tensor, k: Tensor, v: Tensor, *, mask: Mask, bias: Tensor | None = None, dropout_p: float = 0.0
    ) -> Tensor:
        """Return the values mixed by the weights, (b, h, q, d); `bias` (#b, #h, q, k) is added to the scores."""

    def weights(
        self,
        q: Tensor,
        k: Tensor,
        *,
        mask: Mask = OPEN,
        bias: Tensor | None = None,
        rows: Sequence[int] | None = None,
        heads: Sequence[int] | None = None,
    ) -> Tensor:
        """Return the softmax weights of all or some query rows and heads in fp32, (b, heads, rows, k)."""


def attention_weights(
    scores: Float[Tensor, "b h q k"],
    allowed: Bool[Tensor, "#b #h q k"] | None = None,
    bias: Float[Tensor, "#b #h q k"] | None = None,
) -> Float[Tensor, "b h q k"]:
    """Compute the softmax over the keys in fp32; a row without allowed keys is 0, as in the fused kernel, not NaN."""
    scores = scores.float() if bias is None else scores.float() + bias.float()
    if allowed is None:
        return scores.softmax(dim=-1)
    return scores.masked_fill(~allowed, -math.inf).softmax(dim=-1).masked_fill(~allowed.any(dim=-1, keepdim=True), 0.0)


def _of_rows(
    q: Tensor, k: Tensor, mask: Mask, bias: Tensor | None, rows: Sequence[int] | None
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Return the queries, the dense mask and the bias of some query rows, or of all."""
    index = None if rows is None else torch.tensor(rows)
    allowed = None if mask.is_open else mask.dense(q.shape[-2], k.shape[-2], rows=index, device=q.device)
    if rows is None:
        return q, allowed, bias
    return q[:, :, rows], allowed, None if bias is None else bias[:, :, rows]


def _of_heads(bias: Tensor | None, heads: Sequence[int] | None) -> Tensor | None:
    """Return the bias of some heads; one that all heads share has a single one."""
    return bias if bias is None or heads is None or bias.shape[1] == 1 else bias[:, list(heads)]


class DotProductScore(nn.Module):
    """Scaled dot-product: softmax(scale q k^T + bias) v. Source: Vaswani et al. 2017, section 3.2.1.

    Args:
        head_dim: Width of a head.
        scale: Multiplies the products of q and k; 1 / sqrt(head_dim) where None. T5 has 1.
    """

    def __init__(self, head_dim: int, *, scale: float | None = None) -> None:
        super().__init__()
        self.scale = head_dim**-0.5 if scale is None else scale

    def forward(
        self,
        q: Float[Tensor, "b h q d"],
        k: Float[Tensor, "b h k d"],
        v: Float[Tensor, "b h k d"],
        *,
        mask: Mask,
        bias: Float[Tensor, "#b #h q k"] | None = None,
        dropout_p: float = 0.0,
    ) -> Float[Tensor, "b h q d"]:
        """Attend through the fused kernel; a window without a bias costs time and memory linear in the length."""
        q_len, k_len = q.shape[-2], k.shape[-2]
        if k.dtype != q.dtype:
            if q_len <= FEW_QUERIES and mask.is_open and bias is None:
                return self._mixed_in_half(q, k, v)
            k, v = k.to(q.dtype), v.to(q.dtype)
        # an exported graph is for any lengths, and knows neither whether they are equal nor whether blocks are worth it
        is_exported = torch.compiler.is_exporting()
        if bias is None and not is_exported and worth_blocks(mask, q_len, k_len):
            return windowed_attention(q, k, v, mask, scale=self.scale, dropout_p=dropout_p)
        # the kernel's own causal flag is aligned top-left: the same only for equal numbers of queries and keys
        plain = mask.causal and mask.window is None and mask.keys is None and bias is None
        only_causal = plain and not is_exported and bool(q_len == k_len)
        dense = None if mask.is_open or only_causal else mask.dense(q_len, k_len, device=q.device)
        if bias is not None:
            dense = bias if dense is None else bias.masked_fill(~dense, -math.inf)
        return fused_attention(q, k, v, attn_mask=dense, dropout_p=dropout_p, is_causal=only_causal, scale=self.scale)

    def _mixed_in_half(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attend from a few queries to keys and values of half precision; the softmax is in fp32."""
        rows, keys, values = ((q * self.scale).to(k.dtype).flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1))
        weights = torch.bmm(rows, keys.transpose(1, 2)).float().softmax(dim=-1)  # (b h, q, k)
        return torch.bmm(weights.to(v.dtype), values).to(q.dtype).view(q.shape)

    def weights(
        self,
        q: Float[Tensor, "b h q d"],
        k: Float[Tensor, "b h k d"],
        *,
        mask: Mask = OPEN,
        bias: Float[Tensor, "#b #h q k"] | None = None,
        rows: Sequence[int] | None = None,
        heads: Sequence[int] | None = None,
    ) -> Float[Tensor, "b heads rows k"]:
        """Return the weights in fp32."""
        q, allowed, bias = _of_rows(q, k, mask, bias, rows)
        if heads is not None:
            q, k = q[:, list(heads)], k[:, list(heads)]
        queries, keys = q.float().flatten(0, 1), k.float().flatten(0, 1)  # (b heads, len, d)
        # the scale is part of the product: capturing all weights is limited by memory traffic
        scores = queries.new_empty(queries.shape[0], queries.shape[1], keys.shape[1])
        scores = torch.baddbmm(scores, queries, keys.transpose(-2, -1), beta=0, alpha=self.scale)
        return attention_weights(scores.reshape(*q.shape[:3], k.shape[2]), allowed, _of_heads(bias, heads))


class AdditiveScore(nn.Module):
    """Additive scoring: softmax(w . tanh(W q + U k)) v. Source: Bahdanau et al. 2015, appendix A.1.2.

    This is the attention of the captioners and recognizers before the transformer. Each pair of a query and a key has a
    hidden vector, so memory grows with b h q k d: for short sequences. Two states of a decoder, each of which attends
    to 5 states of its encoder:

    >>> import torch
    >>> from multiattn.attention import AdditiveScore, Attention, Site, Tap
    >>> attention = Attention(dim=32, num_heads=1, kv_dim=48, score=AdditiveScore(num_heads=1, head_dim=32))
    >>> tap = Tap([Site("decoder", num_heads=1, q_len=1, k_len=5)])
    >>> state, encoded = torch.randn(2, 1, 32), torch.randn(2, 5, 48)
    >>> attention(state, encoded, probe=tap.at("decoder")).shape
    torch.Size([2, 1, 32])
    >>> weights = tap.weights["decoder"]  # where the decoder looks, (b, heads, q, k)
    >>> weights.shape, bool(torch.isclose(weights.sum(-1), torch.tensor(1.0)).all())
    (torch.Size([2, 1, 1, 5]), True)
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
        bias: Float[Tensor, "#b #h q k"] | None = None,
        dropout_p: float = 0.0,
    ) -> Float[Tensor, "b h q d"]:
        """Attend with explicit weights, because there is no fused kernel for this score."""
        weights = self.weights(q, k, mask=mask, bias=bias)
        return F.dropout(weights, dropout_p).to(v.dtype) @ v

    def weights(
        self,
        q: Float[Tensor, "b h q d"],
        k: Float[Tensor, "b h k d"],
        *,
        mask: Mask = OPEN,
        bias: Float[Tensor, "#b #h q k"] | None = None,
        rows: Sequence[int] | None = None,
        heads: Sequence[int] | None = None,
    ) -> Float[Tensor, "b heads rows k"]:
        """Return the weights in fp32."""
        q, allowed, bias = _of_rows(q, k, mask, bias, rows)
        chosen = slice(None) if heads is None else list(heads)
        query = q[:, chosen].float() @ self.query[chosen].float() + self.bias[chosen].float()  # (b, h, q, d)
        key = k[:, chosen].float() @ self.key[chosen].float()  # (b, h, k, d)
        hidden = torch.tanh(query[:, :, :, None] + key[:, :, None])  # (b, h, q, k, d)
        scores = torch.einsum("bhqkd,hd->bhqk", hidden, self.energy[chosen].float())
        return attention_weights(scores, allowed, _of_heads(bias, heads))
