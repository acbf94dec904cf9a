"""PyTorch's fused attention, with one detour: training in half precision on a CPU.

Notation: b batch, h heads, q query positions, k key positions, d head width.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

WIDENED_KEYS = 600
"""Up to so many keys, the backward pass on a CPU is faster in fp32 than in half precision: each pair of a sequence and
a head costs the latter 0.1 to 0.2 ms. `python -m tests.benchmarks half_training` measures it."""


def fused_attention(
    q: Float[Tensor, "b h q d"],
    k: Float[Tensor, "b h k d"],
    v: Float[Tensor, "b h k d"],
    *,
    attn_mask: Bool[Tensor, "#b #h #q k"] | Float[Tensor, "#b #h #q k"] | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float,
) -> Float[Tensor, "b h q d"]:
    """Call `F.scaled_dot_product_attention`; in fp32 where that is the faster way to train. The dtype is q's."""
    if not _is_widened(q, k, v):
        return F.scaled_dot_product_attention(
            q, k, v, attn_mask=attn_mask, dropout_p=dropout_p, is_causal=is_causal, scale=scale
        )
    if attn_mask is not None and attn_mask.is_floating_point():
        attn_mask = attn_mask.float()
    with torch.autocast("cpu", enabled=False):  # it would take them back to half precision
        mixed = F.scaled_dot_product_attention(
            q.float(), k.float(), v.float(), attn_mask=attn_mask, dropout_p=dropout_p, is_causal=is_causal, scale=scale
        )
    return mixed.to(q.dtype)


def _is_widened(q: Tensor, k: Tensor, v: Tensor) -> bool:
    """Return whether the products are computed in fp32 although the values are of half precision."""
    if q.device.type != "cpu" or q.dtype not in (torch.bfloat16, torch.float16) or k.shape[-2] > WIDENED_KEYS:
        return False
    return torch.is_grad_enabled() and any(x.requires_grad for x in (q, k, v))
