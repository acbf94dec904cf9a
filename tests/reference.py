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


def dot_product_scores(q: Tensor, k: Tensor, *, scale: float | None = None, bias: Tensor | None = None) -> Tensor:
    """q k^T times the scale, which is 1 / sqrt(d) where None, plus a bias: (b, h, q, k)."""
    products = torch.einsum("bhqd,bhkd->bhqk", q.double(), k.double())
    scores = products / math.sqrt(q.shape[-1]) if scale is None else products * scale
    return scores if bias is None else scores + bias.double()


def naive_attention(
    q: Tensor, k: Tensor, v: Tensor, *, scale: float | None = None, bias: Tensor | None = None, **rule: Any
) -> Tensor:
    """The values (b, h, k, d) mixed by the naive weights: (b, h, q, d)."""
    weights = naive_weights(dot_product_scores(q, k, scale=scale, bias=bias), **rule)
    return torch.einsum("bhqk,bhkd->bhqd", weights, v.double())


def naive_lsh_weights(
    q: Tensor,
    buckets: Tensor,
    *,
    length: int,
    before: int = 1,
    after: int = 0,
    once: bool = False,
    causal: bool = False,
    keys: Tensor | None = None,
) -> Tensor:
    """The weights (b, h, n, n) of shared queries and keys `q` by their `buckets` (b, h, t, n), pair by pair."""
    batch, heads, n, width = q.shape
    q = q.detach().double()
    weights = torch.zeros(batch, heads, n, n, dtype=torch.float64)
    for b in range(batch):
        there = [True] * n if keys is None else keys[b].tolist()
        for h in range(heads):
            ring = []
            for of_round in buckets[b, h].tolist():
                order = sorted(range(n), key=lambda i: (not there[i], of_round[i] if there[i] else 0, i))  # noqa: B023
                order += [n] * (-n % length)  # filled up with what is no token
                ring += [order[start : start + length] for start in range(0, len(order), length)]
            times = torch.zeros(n + 1, n + 1)
            for index, chunk in enumerate(ring):
                near = {(index + step) % len(ring) for step in range(-before, after + 1)}
                for i in chunk:
                    for j in (j for one in near for j in ring[one]):
                        times[i, j] += 1
            for i in range(n):
                mass = {}
                for j in range(n):
                    if times[i, j] and there[j] and j != i and not (causal and j > i):
                        key = q[b, h, j] / math.sqrt(float(q[b, h, j].square().mean()) + 1e-6) / math.sqrt(width)
                        mass[j] = math.exp(float(q[b, h, i] @ key)) * (1 if once else float(times[i, j]))
                for j, one in (mass or {i: 1.0}).items():  # a token attends to itself where there is no other
                    weights[b, h, i, j] = one / sum(mass.values() or [1.0])
    return weights
