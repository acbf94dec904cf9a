"""The one oracle: attention written out pair by pair, in double precision, with no clever step."""

import math

import torch
from torch import Tensor


def may_attend(
    i: int,
    j: int,
    q_len: int,
    k_len: int,
    *,
    causal: bool = False,
    window: int | None = None,
    attention_mask: bool = True,
) -> bool:
    """Whether query `i` may attend to key `j`; the last query stands at the last key."""
    position = k_len - q_len + i
    if not attention_mask or (causal and j > position):
        return False
    return window is None or abs(j - position) <= window


def naive_weights(
    scores: Tensor, *, causal: bool = False, window: int | None = None, keys: Tensor | None = None
) -> Tensor:
    """Softmax of raw scores (b, h, q, k) under the rule; 0 for a row that may attend to nothing."""
    scores = scores.detach()
    batch, heads, q_len, k_len = scores.shape
    weights = torch.zeros(batch, heads, q_len, k_len, dtype=torch.float64)
    for b in range(batch):
        for h in range(heads):
            for i in range(q_len):
                allowed = [
                    j
                    for j in range(k_len)
                    if may_attend(
                        i,
                        j,
                        q_len,
                        k_len,
                        causal=causal,
                        window=window,
                        attention_mask=keys is None or bool(keys[b, j]),
                    )
                ]
                if allowed:
                    row = [float(scores[b, h, i, j]) for j in allowed]
                    top = max(row)
                    exps = [math.exp(s - top) for s in row]
                    for j, e in zip(allowed, exps, strict=True):
                        weights[b, h, i, j] = e / sum(exps)
    return weights


def dot_product_scores(q: Tensor, k: Tensor, *, scale: float | None = None, bias: Tensor | None = None) -> Tensor:
    """q k^T times the scale, which is 1 / sqrt(d) where None, plus a bias: (b, h, q, k)."""
    products = torch.einsum("bhqd,bhkd->bhqk", q.double(), k.double())
    scores = products / math.sqrt(q.shape[-1]) if scale is None else products * scale
    return scores if bias is None else scores + bias.double()


def naive_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    scale: float | None = None,
    bias: Tensor | None = None,
    causal: bool = False,
    window: int | None = None,
    keys: Tensor | None = None,
) -> Tensor:
    """The values (b, h, k, d) mixed by the naive weights: (b, h, q, d)."""
    scores = dot_product_scores(q, k, scale=scale, bias=bias)
    weights = naive_weights(scores, causal=causal, window=window, keys=keys)
    return torch.einsum("bhqk,bhkd->bhqd", weights, v.double())
