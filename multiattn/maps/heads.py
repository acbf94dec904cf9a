"""Attention heads by layer and place: the check that a model has them, and the choice of those that a map is of."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..attention.heads import Head
from ..attention.heads import check_heads as checked_heads
from ..errors import ModelError
from .attention_map import AttentionMap


def mean_of_heads(
    stack: AttentionMap,
    *,
    layer: int | None,
    head: int | None,
    heads: Sequence[Head] | None,
    found_by: str,
) -> AttentionMap:
    """The map by the method `attention`, out of a stack of what each layer and head looked at.

    Args:
        stack: Axes (layer, head, ...).
        layer: Negative from the end; the mean of all where None.
        head: The mean of all where None.
        heads: The mean of these alone, in place of `layer` and `head`.
        found_by: What finds such heads, for the message.

    Raises:
        ModelError: There is no such layer or head, or both ways to choose are used.
    """
    depth, num_heads = stack.values.shape[:2]
    if heads is not None:
        if layer is not None or head is not None:
            raise ModelError("a layer or head must not be chosen together with `heads`: leave one of them out")
        chosen = checked_heads(heads, depth=depth, num_heads=num_heads, found_by=found_by)
    else:
        if layer is not None and not -depth <= layer < depth:
            raise ModelError(f"`layer` must be from {-depth} to {depth - 1}, but is {layer} instead.")
        if head is not None and not 0 <= head < num_heads:
            raise ModelError(f"`head` must be from 0 to {num_heads - 1}, but is {head} instead.")
        layers = range(depth) if layer is None else (layer % depth,)
        chosen = tuple((one, place) for one in layers for place in (range(num_heads) if head is None else (head,)))
    used = sorted({one for one, _ in chosen})
    return replace(
        stack,
        values=stack.values[[one for one, _ in chosen], [place for _, place in chosen]].mean(axis=0, dtype=np.float32),
        axes=stack.axes[2:],
        method="attention",
        sites=tuple(stack.sites[one] for one in used),
        heads=None if len(chosen) == len(used) * num_heads else tuple(sorted({place for _, place in chosen})),
    )


def named(heads: Sequence[Head]) -> str:
    """What a note says of heads: each by its layer and its place there, `0.1, 2.0`."""
    return ", ".join(f"{layer}.{place}" for layer, place in dict.fromkeys((layer, place) for layer, place in heads))
