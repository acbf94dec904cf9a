"""Rows over picture tokens, one a word of a text, as `AttentionMap`s.

Notation: w words, m picture tokens (prefix first, then patches), l layers, h heads.
"""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from ..errors import ModelError
from ..inputs import Geometry
from .attention_map import AttentionMap, Axis
from .heads import Head, checked_heads
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
    values, sites = stack.values, stack.sites
    layers, in_layer = values.shape[:2]
    note = stack.note
    of_one_layer: tuple[int, ...] | None = None if head is None else (head,)
    if heads is not None:
        check_one_choice(layer, head)
        chosen = checked_heads(heads, depth=layers, num_heads=in_layer, found_by=FOUND_BY)
        values = values[[one for one, _ in chosen], [one for _, one in chosen]][:, None]  # (chosen, 1, w, rows, cols)
        of_layers = sorted({one for one, _ in chosen})
        sites = tuple(sites[one] for one in of_layers)
        of_one_layer = tuple(one for _, one in chosen) if len(of_layers) == 1 else None
        note += f" Of the heads that point: {', '.join(f'{one}.{place}' for one, place in chosen)}."
    if layer is not None:
        if not -layers <= layer < layers:
            raise ModelError(f"`layer` must be from {-layers} to {layers - 1}, but is {layer} instead.")
        index = layer % layers
        values, sites = values[index : index + 1], sites[index : index + 1]
    if head is not None:
        if not 0 <= head < in_layer:
            raise ModelError(f"`head` must be from 0 to {in_layer - 1}, but is {head} instead.")
        values = values[:, head : head + 1]
    grids = values.mean(axis=(0, 1))  # (w, rows, cols)
    elsewhere = 1 - float(grids.sum(axis=(1, 2)).mean())
    if elsewhere > 5e-4:  # less is rounding
        note += f" {elsewhere:.0%} of it went to tokens that stand for no patch."
    return AttentionMap(
        values=grids,
        axes=stack.axes[2:],
        method="attention",
        sites=sites,
        heads=of_one_layer,
        geometry=stack.geometry,
        target=stack.target,
        note=note,
    )


FOUND_BY = "`multiattn.maps.choose_pointing`"
"""What finds the heads that point, for messages."""


def check_one_choice(layer: int | None, head: int | None) -> None:
    """Refuse a layer or head beside `heads`.

    Raises:
        ModelError: There is one.
    """
    if layer is not None or head is not None:
        raise ModelError("a layer or head must not be chosen together with `heads`: leave one of them out")
