"""Attention heads by layer and place: the check that a model has them, and the choice of those that a map is of."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..errors import ModelError
from .attention_map import AttentionMap

Head = tuple[int, int]
"""A cross-attention head: its layer and its place there."""


def checked_heads(heads: Sequence[Head], *, depth: int, num_heads: int, found_by: str) -> tuple[Head, ...]:
    """The heads, each once.

    Args:
        heads: Of a model.
        depth: Its layers.
        num_heads: Heads of each.
        found_by: What finds such heads, for the message.

    Raises:
        ModelError: There are none, or one does not exist.
    """
    if not heads:
        raise ModelError(f"`heads` must be at least one, but are none: {found_by} finds some")
    for layer, head in heads:
        if not (0 <= layer < depth and 0 <= head < num_heads):
            raise ModelError(
                f"`heads` must be of the layers 0 to {depth - 1} and the heads 0 to {num_heads - 1}, but one is "
                f"({layer}, {head}) instead: {found_by} finds those of a model"
            )
    return tuple(dict.fromkeys((layer, head) for layer, head in heads))


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
