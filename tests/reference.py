"""The one oracle: attention written out pair by pair, in double precision, with no clever step."""

import math
from collections.abc import Collection
from typing import Any

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
    dilation: int = 1,
    global_tokens: Collection[int] = (),
    attention_mask: bool = True,
) -> bool:
    """Whether query `i` may attend to key `j`; the last query stands at the last key."""
    position = k_len - q_len + i
    if not attention_mask or (causal and j > position):
        return False
    if window is None or j in global_tokens or position in global_tokens:
        return True
    return j in {position + dilation * steps for steps in range(-window, window + 1)}


def naive_weights(
    scores: Tensor,
    *,
    causal: bool = False,
    window: int | None = None,
    dilation: int = 1,
    global_tokens: Tensor | None = None,
    keys: Tensor | None = None,
) -> Tensor:
    """Softmax of raw scores (b, h, q, k) under the rule; 0 for a row that may attend to nothing."""
    scores = scores.detach()
    batch, heads, q_len, k_len = scores.shape
    weights = torch.zeros(batch, heads, q_len, k_len, dtype=torch.float64)
    for b in range(batch):
        everywhere = () if global_tokens is None else global_tokens.expand(batch, -1)[b].tolist()
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
                        dilation=dilation,
                        global_tokens=everywhere,
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


def dot_product_scores(q: Tensor, k: Tensor) -> Tensor:
    """q k^T / sqrt(d), (b, h, q, k)."""
    return torch.einsum("bhqd,bhkd->bhqk", q.double(), k.double()) / math.sqrt(q.shape[-1])


def naive_attention(q: Tensor, k: Tensor, v: Tensor, **rule: Any) -> Tensor:
    """The values (b, h, k, d) mixed by the naive weights: (b, h, q, d)."""
    weights = naive_weights(dot_product_scores(q, k), **rule)
    return torch.einsum("bhqk,bhkd->bhqd", weights, v.double())
