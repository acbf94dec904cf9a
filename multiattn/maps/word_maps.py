"""Rows over picture tokens, one a word of a text, as `AttentionMap`s.

Notation: w words, m picture tokens (prefix first, then patches), l layers, h heads.
"""

from collections.abc import Sequence
from dataclasses import replace

from jaxtyping import Float
from torch import Tensor

from ..attention.heads import Head
from ..inputs import Geometry
from .attention_map import AttentionMap, Axis
from .heads import mean_of_heads, named
from .readout import to_array, to_grid


def word_map(
    rows: Float[Tensor, "w m"] | Float[Tensor, "l h w m"],
    labels: tuple[str, ...],
    *,
    grid: tuple[int, int],
    method: str,
    sites: tuple[str, ...],
    geometry: Geometry | None,
    note: str,
) -> AttentionMap:
    """The map of a text's words, axes (word, y, x); or of all layers and heads, (layer, head, word, y, x).

    Args:
        rows: One for each word.
        labels: The words, each with the space before it.
        grid: Rows and columns of patches.
        method: How they were made.
        sites: The attentions they were made from.
        geometry: How the picture was cut from its source.
        note: One line on how to read the map.
    """
    stacked = (Axis("layer", "index"), Axis("head", "index")) if rows.ndim == 4 else ()
    return AttentionMap(
        values=to_array(to_grid(rows, grid)),
        axes=(*stacked, Axis("word", "word", labels=labels), Axis("y", "patch"), Axis("x", "patch")),
        method=method,
        sites=sites,
        heads=None,
        geometry=geometry,
        target="".join(labels).strip(),
        note=note,
    )


def word_attention(
    stack: AttentionMap,
    *,
    layer: int | None = None,
    head: int | None = None,
    heads: Sequence[Head] | None = None,
) -> AttentionMap:
    """The map by the method `attention`, out of a stack of what each layer and head looked at for each word.

    Args:
        stack: Axes (layer, head, word, y, x).
        layer: Negative from the end; the mean of all where None.
        head: The mean of all where None.
        heads: The mean of these alone, in place of `layer` and `head`.

    Raises:
        ModelError: There is no such layer or head, or both ways to choose are used.
    """
    found = mean_of_heads(stack, layer=layer, head=head, heads=heads, found_by=FOUND_BY)
    note = stack.note if heads is None else f"{stack.note} Of the heads that point: {named(heads)}."
    elsewhere = 1 - float(found.values.sum(axis=(1, 2)).mean())
    if elsewhere > 5e-4:  # less is rounding
        note += f" {elsewhere:.0%} of it went to tokens that stand for no patch."
    return replace(found, note=note)


FOUND_BY = "`multiattn.maps.choose_pointing`"
"""What finds the heads that point, for messages."""
