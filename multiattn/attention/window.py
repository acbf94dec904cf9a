"""Sliding-window attention whose time and memory grow linearly with the length.

Notation: b batch, h heads, d head width, n blocks of queries, c queries per block, s keys per block.

Queries are cut into blocks of c. A block attends to one contiguous span of s = back + c + ahead keys, so each block is
a small attention of its own with a band-shaped mask. The blocks are folded into the batch, for one call of the fused
kernel. Source: Longformer (Beltagy et al. 2020), section 3.2, the "sliding chunks" form.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .mask import Mask

MIN_BLOCK = 32  # queries; with smaller blocks the kernel's cost per call outweighs the keys saved


def block_size(mask: Mask) -> int:
    """Return the queries per block: the width of the window, so that a span is at most three blocks."""
    assert mask.window is not None
    return max(mask.window, MIN_BLOCK)


def worth_blocks(mask: Mask, q_len: int, k_len: int) -> bool:
    """Return whether blocks are cheaper than one dense mask: a block's span is well below the number of keys."""
    if mask.window is None or q_len < 2 * MIN_BLOCK:
        return False
    return 2 * (sum(mask.reach()) + block_size(mask)) <= k_len


def windowed_attention(q: Tensor, k: Tensor, v: Tensor, mask: Mask, *, scale: float, dropout_p: float) -> Tensor:
    """Compute scaled dot-product attention under a windowed `mask`, in linear time and memory.

    Args:
        q: Queries, (b, h, q_len, d).
        k: Keys, (b, h, k_len, d).
        v: Values, of the same shape as the keys.
        mask: Has a window.
        scale: Multiplies the scores.
        dropout_p: Probability that a weight is dropped.

    Returns:
        The mixed values, (b, h, q_len, d).
    """
    batch, heads, q_len, width = q.shape
    k_len = k.shape[-2]
    back, ahead = mask.reach()
    block = block_size(mask)
    blocks = -(-q_len // block)
    span = back + block + ahead

    # the blocks attend to key positions low .. high, padded where these are outside the sequence
    low = k_len - q_len - back
    high = k_len - q_len + blocks * block + ahead
    start, stop = max(low, 0), min(high, k_len)
    padding = (start - low, high - stop)

    def spans(x: Tensor) -> Tensor:
        x = F.pad(x[:, :, start:stop], (0, 0, *padding))  # (b, h, high - low, d)
        x = x.unfold(2, span, block)  # (b, h, n, d, s)
        return x.permute(0, 2, 1, 4, 3).flatten(0, 1)  # (b n, h, s, d)

    queries = F.pad(q, (0, 0, 0, blocks * block - q_len))  # (b, h, n c, d)
    queries = queries.reshape(batch, heads, blocks, block, width).transpose(1, 2).flatten(0, 1)  # (b n, h, c, d)

    keys = torch.ones(1, k_len, dtype=torch.bool, device=q.device) if mask.keys is None else mask.keys
    attention_mask = F.pad(keys[:, start:stop], padding, value=False).unfold(1, span, block)  # (#b, n, s)
    distance = torch.arange(span, device=q.device) - back - torch.arange(block, device=q.device)[:, None]  # (c, s)
    allowed = mask.within(distance) & attention_mask[:, :, None, :]  # (#b, n, c, s)
    allowed = allowed.expand(batch, -1, -1, -1).flatten(0, 1)[:, None]  # (b n, 1, c, s)

    out = F.scaled_dot_product_attention(
        queries, spans(k), spans(v), attn_mask=allowed, dropout_p=dropout_p, scale=scale
    )  # (b n, h, c, d)
    out = out.reshape(batch, blocks, heads, block, width).transpose(1, 2).flatten(2, 3)  # (b, h, n c, d)
    return out[:, :, :q_len]
