"""Attention heads by layer and index, and the check that a model has them."""

from collections.abc import Sequence

from ..errors import ModelError

Head = tuple[int, int]
"""A head: the index of its layer, and its own in the layer."""


def valid_heads(heads: Sequence[Head], *, depth: int, num_heads: int, found_by: str) -> tuple[Head, ...]:
    """Check heads against the sizes of a model, and drop repeated ones.

    Args:
        heads: Of a model.
        depth: Its layers.
        num_heads: Heads of each.
        found_by: The command or function that finds such heads, for the message.

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
