"""Windowed attention in one kernel that is compiled for its mask: for compiled models on GPUs.

Blocks of keys that no query of a block may attend to are left out, without copies of the keys that two blocks share.
Elsewhere the blocks of window.py serve: FlexAttention has no backward pass on a CPU, and without torch.compile it
computes all scores. Source: Dong et al. 2024, "FlexAttention".
"""

from dataclasses import replace

import torch
from torch import Tensor

from .mask import Mask


def flex_serves(q: Tensor, dropout_p: float) -> bool:
    """Return whether FlexAttention is to compute these queries: in a compiled model on a GPU, without dropout."""
    return q.is_cuda and torch.compiler.is_compiling() and dropout_p == 0.0


def flex_windowed_attention(q: Tensor, k: Tensor, v: Tensor, mask: Mask, *, scale: float) -> Tensor:
    """Compute what `windowed_attention` computes, with arguments and result as there, without dropout."""
    # imported when it is needed: it has torch import its compiler
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    q_len, k_len = q.shape[-2], k.shape[-2]
    offset = k_len - q_len
    mask.check(k_len)
    keys = mask.keys
    far = None
    if mask.global_tokens is not None:
        far = replace(mask, global_tokens=mask.global_tokens.expand(len(q), -1)).global_keys(k_len)  # (b, k)

    def allowed(b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        position = i + offset
        near = mask.within(j - position)
        if far is not None:
            unbound = far[b, j] | (far[b, position.clamp(min=0)] & (position >= 0))
            near = near | (unbound & (j <= position) if mask.causal else unbound)
        return near if keys is None else near & keys[b if len(keys) > 1 else b * 0, j]

    block_mask = create_block_mask(
        lambda b, h, i, j: allowed(b, h, i, j),  # whose arguments torch counts
        len(q),
        None,
        q_len,
        k_len,
        device=q.device,
    )
    return flex_attention(q, k, v, block_mask=block_mask, scale=scale)
