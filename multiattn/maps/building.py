"""From rows over picture tokens to an `AttentionMap`, and from a stack over layers and heads to one map.

Notation: w words, n picture tokens (prefix first, then patches), l layers, h heads.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float
from torch import Tensor

from ..attention.heads import Head, valid_heads
from ..checks import check_one_each, require
from ..errors import ModelError
from ..inputs import Geometry
from .attention_map import AttentionMap, Axis

STACK_AXES = (Axis("layer", "index"), Axis("head", "index"))
"""The first axes of a stack, which has a map for each layer and head."""

FOUND_BY = "`multiattn.maps.choose_pointing`"
"""The function that finds the heads that point, for messages."""


def check_method(
    method: str, methods: Sequence[str], *, of: str = "", layer: int | None, head: int | str | None
) -> None:
    """Check the name of a map method, and that a layer or head is chosen for `attention` alone.

    Args:
        method: The name.
        methods: All names.
        of: What the methods are for, with a space before it, for the message.
        layer: The choice, or None.
        head: The choice, or None.

    Raises:
        ModelError: The method is unknown, or uses all layers and heads.
    """
    if method not in methods:
        raise ModelError(f"there is no map method {method!r}{of}; there are: {', '.join(methods)}")
    if method != "attention" and (layer is not None or head is not None):
        raise ModelError(f"a layer or head can be chosen for the method 'attention', not for {method!r}")


def checked_geometries(geometries: Sequence[Geometry | None] | None, pictures: int) -> Sequence[Geometry | None]:
    """Return the geometry of each picture, None where it is unknown.

    Raises:
        ModelError: There are some, but not one for each picture.
    """
    check_one_each(pictures, "pictures", geometries=geometries)
    return [None] * pictures if geometries is None else geometries


def check_pictures(images: Float[Tensor, "b c H W"]) -> None:
    """Raise ModelError if the batch is empty."""
    require(len(images) > 0, "images", must="at least one picture", value=tuple(images.shape))


def image_size(images: Float[Tensor, "b c H W"]) -> tuple[int, int]:
    """Height and width in pixels."""
    return images.shape[-2], images.shape[-1]


def patch_map(
    rows: Float[Tensor, "*axes n"],
    axes: tuple[Axis, ...] = (),
    *,
    grid: tuple[int, int],
    method: str,
    sites: tuple[str, ...],
    geometry: Geometry | None,
    note: str,
    heads: tuple[int, ...] | None = None,
    target: str | None = None,
) -> AttentionMap:
    """Build the map of rows over picture tokens, with the axes (*axes, y, x). The prefix tokens are left out.

    Args:
        rows: One value for each token.
        axes: Of the dimensions before the last.
        grid: Rows and columns of patches.
        method: How the rows were computed.
        sites: The attentions they were computed from.
        geometry: How the picture was cut from its source.
        note: One line on how to read the map.
        heads: The heads they were computed from; None for all.
        target: What the map explains.
    """
    patches = rows[..., rows.shape[-1] - grid[0] * grid[1] :].reshape(*rows.shape[:-1], *grid)
    return AttentionMap(
        values=np.ascontiguousarray(patches.detach().cpu().numpy(), dtype=np.float32),
        axes=(*axes, Axis("y", "patch"), Axis("x", "patch")),
        method=method,
        sites=sites,
        heads=heads,
        geometry=geometry,
        target=target,
        note=note,
    )


def word_map(
    rows: Float[Tensor, "w n"] | Float[Tensor, "l h w n"],
    labels: tuple[str, ...],
    *,
    grid: tuple[int, int],
    method: str,
    sites: tuple[str, ...],
    geometry: Geometry | None,
    note: str,
) -> AttentionMap:
    """Build the map of a text's words, with the axes (word, y, x); or a stack, (layer, head, word, y, x).

    Takes what `patch_map` takes; `labels` are the words, each with the space before it.
    """
    axes = (*(STACK_AXES if rows.ndim == 4 else ()), Axis("word", "word", labels=labels))
    target = "".join(labels).strip()
    return patch_map(rows, axes, grid=grid, method=method, sites=sites, geometry=geometry, note=note, target=target)


def mean_of_heads(
    stack: AttentionMap,
    *,
    layer: int | None,
    head: int | None,
    heads: Sequence[Head] | None,
    found_by: str,
) -> AttentionMap:
    """Average a stack over the chosen layers and heads: the map by the method `attention`.

    Args:
        stack: Axes (layer, head, ...).
        layer: Negative from the end; all where None.
        head: All where None.
        heads: These alone, in place of `layer` and `head`.
        found_by: The command or function that finds such heads, for the message.

    Raises:
        ModelError: There is no such layer or head, or both ways to choose are used.
    """
    depth, num_heads = stack.values.shape[:2]
    if heads is not None:
        if layer is not None or head is not None:
            raise ModelError("a layer or head must not be chosen together with `heads`: leave one of them out")
        chosen = valid_heads(heads, depth=depth, num_heads=num_heads, found_by=found_by)
    else:
        require(head is None or 0 <= head < num_heads, "head", must=f"from 0 to {num_heads - 1}", value=head)
        layers = range(depth) if layer is None else (layer_index(layer, depth),)
        chosen = tuple((i, j) for i in layers for j in (range(num_heads) if head is None else (head,)))
    of_layers, of_heads = zip(*chosen, strict=True)
    used = sorted(set(of_layers))
    return replace(
        stack,
        values=stack.values[list(of_layers), list(of_heads)].mean(axis=0, dtype=np.float32),
        axes=stack.axes[2:],
        method="attention",
        sites=tuple(stack.sites[i] for i in used),
        heads=None if len(chosen) == len(used) * num_heads else tuple(sorted(set(of_heads))),
    )


def layer_index(layer: int, depth: int) -> int:
    """Return the index from 0 of a layer that may be counted from the end.

    Raises:
        ModelError: There is no such layer.
    """
    require(-depth <= layer < depth, "layer", must=f"from {-depth} to {depth - 1}", value=layer)
    return layer % depth


def word_attention(
    stack: AttentionMap,
    *,
    layer: int | None = None,
    head: int | None = None,
    heads: Sequence[Head] | None = None,
) -> AttentionMap:
    """Average a stack of words, axes (layer, head, word, y, x): the map by the method `attention`.

    Args:
        stack: As `word_attention_stack` and `answer_attention_stack` return it.
        layer: Negative from the end; all where None.
        head: All where None.
        heads: These alone, in place of `layer` and `head`.

    Raises:
        ModelError: There is no such layer or head, or both ways to choose are used.
    """
    found = mean_of_heads(stack, layer=layer, head=head, heads=heads, found_by=FOUND_BY)
    note = stack.note if heads is None else f"{stack.note} Only the heads that point: {named(heads)}."
    elsewhere = 1 - float(found.values.sum(axis=(1, 2)).mean())
    if elsewhere > 5e-4:  # less is rounding
        note += f" {elsewhere:.0%} of it went to tokens that stand for no patch."
    return replace(found, note=note)


def named(heads: Sequence[Head]) -> str:
    """Name heads in a note, each once: `0.1, 2.0` for head 1 of layer 0 and head 0 of layer 2."""
    return ", ".join(f"{layer}.{head}" for layer, head in dict.fromkeys((layer, head) for layer, head in heads))


def heads_of_layer(heads: Sequence[Head], layer: int) -> list[int]:
    """The indices of those heads that are in one layer."""
    return [head for of_layer, head in heads if of_layer == layer]
