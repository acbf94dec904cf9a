"""Sliding-window attention whose time and memory grow linearly with the length.

Notation: b batch, h heads, d head width, n blocks of queries, c queries per block, s keys per block, g global tokens,
p the dilation.

Queries are cut into blocks of c. A block attends to one contiguous span of s = back + c + ahead keys, so each block is
a small attention of its own with a band-shaped mask. The blocks are folded into the batch, for calls of the fused
kernel, of as many as fit into the cache. With a dilation, each of the p interleaved sequences of every p-th token is
such an attention. Global tokens are g more keys of each block, and rows of their own that attend to all keys.
Source: Longformer (Beltagy et al. 2020), sections 3.1 and 3.2, the "sliding chunks" form.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from .kernel import fused_attention
from .mask import Mask

_AT_ONCE = 2**22  # elements of keys, values and masks that are copied at once: memory does not grow by them
MIN_BLOCK = 32  # queries; with smaller blocks the kernel's cost per call outweighs the keys saved


def block_size(mask: Mask, q_len: int) -> int:
    """Return the queries per block: the width of the window, so that a span is at most three blocks."""
    assert mask.window is not None
    return max(min(mask.window, -(-q_len // mask.dilation)), MIN_BLOCK)


def worth_blocks(mask: Mask, q_len: int, k_len: int) -> bool:
    """Return whether blocks are cheaper than one dense mask: a block's span is well below the number of keys."""
    if mask.window is None or q_len < 2 * MIN_BLOCK * mask.dilation:
        return False
    tokens = 0 if mask.global_tokens is None else mask.global_tokens.shape[1]
    return 2 * (sum(mask.reach()) + block_size(mask, q_len) + tokens) <= k_len


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

    Raises:
        ValueError: The mask is for another number of keys.
    """
    batch, q_len, k_len, step = len(q), q.shape[-2], k.shape[-2], mask.dilation
    mask.check(k_len)
    keys = torch.ones(1, k_len, dtype=torch.bool, device=q.device) if mask.keys is None else mask.keys
    near, far = keys, None
    if mask.global_tokens is not None:
        near = keys & ~mask.global_keys(k_len)  # a global token is one more key, and not also one of the span
        far = _GlobalKeys(k, v, keys, mask, q_len)
    block = block_size(mask, q_len)
    if step == 1:
        out = _blocks(q, k, v, near, far, mask, block, scale=scale, dropout_p=dropout_p)
    else:
        first = (k_len - q_len) % step  # of the steps, the position that the first query is at
        last = -k_len % step
        ours, theirs = (first, last), (0, last)
        if far is not None:
            far.interleave(step, ours)
        parts = _blocks(
            _interleaved(q, step, ours),
            _interleaved(k, step, theirs),
            _interleaved(v, step, theirs),
            _interleaved(near.expand(batch, -1)[:, None, :, None], step, theirs)[:, 0, :, 0],
            far,
            mask,
            block,
            scale=scale,
            dropout_p=dropout_p,
        )  # (b p, h, len / p, d)
        out = (
            parts.reshape(batch, step, *parts.shape[1:])
            .permute(0, 2, 3, 1, 4)
            .flatten(2, 3)[:, :, first : first + q_len]
        )
    if mask.global_tokens is None:
        return out
    return with_global_rows(
        out, rows_at(mask.global_tokens - (k_len - q_len), q), k, v, mask, scale=scale, dropout_p=dropout_p
    )


def rows_at(places: Tensor, x: Float[Tensor, "b h n d"]) -> Float[Tensor, "b h g d"]:
    """Return the rows at these places (#b, g) of each item; some row for a place that is not there."""
    return x.gather(2, _across(places.expand(len(x), -1).clamp(0, x.shape[2] - 1), x))


def with_global_rows(
    out: Float[Tensor, "b h q d"],
    rows: Float[Tensor, "b h g d"],
    k: Float[Tensor, "b h k d"],
    v: Float[Tensor, "b h k d"],
    mask: Mask,
    *,
    scale: float,
    dropout_p: float,
) -> Float[Tensor, "b h q d"]:
    """Return the mixed values with those of the global tokens replaced by their attention to all keys.

    Args:
        out: The mixed values of all queries.
        rows: The queries of the mask's global tokens. Those of tokens that are no query, or only fill up, are ignored.
        k: The keys that the global tokens attend to.
        v: Their values.
        mask: Has global tokens.
        scale: Multiplies the scores.
        dropout_p: Probability that a weight is dropped.
    """
    assert mask.global_tokens is not None
    q_len, k_len = out.shape[2], k.shape[2]
    allowed = None if mask.keys is None else mask.keys[:, None, None, :]  # (b, 1, 1, k)
    if mask.causal:
        before = torch.arange(k_len, device=k.device) <= mask.global_tokens[:, :, None]  # (#b, g, k)
        allowed = before[:, None] if allowed is None else before[:, None] & allowed
    mixed = fused_attention(
        rows,
        k,
        v,
        attn_mask=None if allowed is None else allowed.expand(-1, -1, rows.shape[2], -1),
        dropout_p=dropout_p,
        scale=scale,
    )  # (b, h, g, d)
    # what is no query goes to one more row, which is cut off
    places = _query_places(mask, q_len, k_len).expand(len(out), -1)
    return F.pad(out, (0, 0, 0, 1)).scatter(2, _across(places, out), mixed.to(out.dtype))[:, :, :q_len]


def _blocks(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    keys: Tensor,
    far: "_GlobalKeys | None",
    mask: Mask,
    block: int,
    *,
    scale: float,
    dropout_p: float,
) -> Tensor:
    """Attend in blocks, to the `keys` (#b, k) of the window and to global ones; without gaps: (b, h, q_len, d)."""
    batch, heads, q_len, width = q.shape
    k_len = k.shape[-2]
    back, ahead = mask.reach()
    blocks = -(-q_len // block)
    span = back + block + ahead

    # the blocks attend to key positions low .. high, padded where these are outside the sequence
    low = k_len - q_len - back
    high = k_len - q_len + blocks * block + ahead
    start, stop = max(low, 0), min(high, k_len)
    padding = (start - low, high - stop)

    def spans(x: Tensor) -> Tensor:
        x = F.pad(x[:, :, start:stop], (0, 0, *padding))  # (b, h, high - low, d)
        return x.unfold(2, span, block).transpose(-1, -2)  # (b, h, n, s, d), a view

    queries = F.pad(q, (0, 0, 0, blocks * block - q_len)).reshape(batch, heads, blocks, block, width)
    attention_mask = F.pad(keys[:, start:stop], padding, value=False).unfold(1, span, block)  # (#b, n, s)
    # in steps: the tokens between two steps are in other sequences
    distance = torch.arange(span, device=q.device) - back - torch.arange(block, device=q.device)[:, None]  # (c, s)
    band = mask.within(distance * mask.dilation)  # (c, s)
    of_queries = None
    if far is not None:
        of_queries = F.pad(far.allowed, (0, 0, 0, blocks * block - q_len)).reshape(batch, blocks, block, -1)

    def attend(some: slice) -> Tensor:
        """Return what some of the blocks mix, (b, h, f c, d) for f blocks."""
        allowed = (band & attention_mask[:, some, None, :]).expand(batch, -1, -1, -1)  # (b, f, c, s)
        k_some, v_some = k_spans[:, :, some], v_spans[:, :, some]  # (b, h, f, s, d)
        count = allowed.shape[1]
        if far is not None and of_queries is not None:
            allowed = torch.cat([allowed, of_queries[:, some]], dim=3)  # (b, f, c, s + g)
            k_some = torch.cat([k_some, far.of_blocks(far.k, count)], dim=3)
            v_some = torch.cat([v_some, far.of_blocks(far.v, count)], dim=3)
        folded = [x.transpose(1, 2).flatten(0, 1) for x in (queries[:, :, some], k_some, v_some)]  # (b f, h, ..., d)
        out = fused_attention(
            folded[0],
            folded[1],
            folded[2],
            attn_mask=allowed.flatten(0, 1)[:, None],
            dropout_p=dropout_p,
            scale=scale,
        )  # (b f, h, c, d)
        return out.reshape(batch, count, heads, block, width).transpose(1, 2).flatten(2, 3)

    k_spans, v_spans = spans(k), spans(v)
    at_once = max(1, _AT_ONCE // (batch * span * (2 * heads * width + block)))
    parts = [attend(slice(first, first + at_once)) for first in range(0, blocks, at_once)]
    return (parts[0] if len(parts) == 1 else torch.cat(parts, dim=2))[:, :, :q_len]


class _GlobalKeys:
    """The keys and values of the global tokens, and which query may attend to them."""

    def __init__(self, k: Tensor, v: Tensor, keys: Tensor, mask: Mask, q_len: int) -> None:
        assert mask.global_tokens is not None
        batch, k_len = len(k), k.shape[2]
        tokens = mask.global_tokens.expand(batch, -1)  # (b, g)
        there = tokens.clamp(min=0)
        self.k, self.v = rows_at(tokens, k), rows_at(tokens, v)  # (b, h, g, d)
        allowed = ((tokens >= 0) & keys.expand(batch, -1).gather(1, there))[:, None].expand(-1, q_len, -1)
        if mask.causal:
            position = torch.arange(k_len - q_len, k_len, device=k.device)
            allowed = allowed & (tokens[:, None] <= position[:, None])
        self.allowed = allowed  # (b, q, g)

    def interleave(self, step: int, padding: tuple[int, int]) -> None:
        """Be those of the interleaved sequences of queries."""
        self.k, self.v = (x.repeat_interleave(step, dim=0) for x in (self.k, self.v))  # (b p, h, g, d)
        self.allowed = _interleaved(self.allowed[:, None], step, padding)[:, 0]  # (b p, q / p, g)

    @staticmethod
    def of_blocks(x: Tensor, blocks: int) -> Tensor:
        """The same for each block: (b, h, n, g, d)."""
        return x[:, :, None].expand(-1, -1, blocks, -1, -1)


def _interleaved(x: Tensor, step: int, padding: tuple[int, int]) -> Tensor:
    """Every `step`-th position, from each first one: (b, h, len, d) to (b p, h, len / p, d), padded to fit."""
    x = F.pad(x, (0, 0, *padding))
    return x.reshape(*x.shape[:2], -1, step, x.shape[3]).permute(0, 3, 1, 2, 4).flatten(0, 1)


def _query_places(mask: Mask, q_len: int, k_len: int) -> Tensor:
    """Indices of the global tokens among the queries, (#b, g); `q_len` for those that are none."""
    assert mask.global_tokens is not None
    places = mask.global_tokens - (k_len - q_len)
    return torch.where((mask.global_tokens < 0) | (places < 0), q_len, places)


def _across(places: Tensor, x: Tensor) -> Tensor:
    """Indices (b, g) of positions, for a gather or scatter of `x`: (b, h, g, d)."""
    return places[:, None, :, None].expand(-1, x.shape[1], -1, x.shape[3])
