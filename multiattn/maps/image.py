"""Where a classifier looked in its picture: the methods by name, as `AttentionMap`s.

Notation: b batch, c channels, H and W the input's height and width, l layers, h heads, n tokens.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from ..attention import Tap
from ..errors import ModelError
from ..inputs import Geometry
from ..models import ViT
from .attention_map import AttentionMap, Axis
from .propagation import relevance, rollout, sharpness
from .readout import leaf, readout_row, to_array, to_grid

METHOD_NOTES = {
    "attention": "The share of the classifier's last look that went to each patch, mean of the attention heads. "
    "It says where the model looked, not for which class.",
    "rollout": "The share of each patch in what reached the head, were attention all that moves information. "
    "It is the same for every class.",
    "relevance": "Attention weighted by how much it raised this class's score, followed through all layers. "
    "Bright patches spoke for the class.",
    "gradient_x_input": "How strongly the score answers to a small change of each patch's pixels, times the pixels. "
    "No attention in it: the contrast to the other maps.",
}
METHODS = tuple(METHOD_NOTES)
"""The names `explain` knows."""

_BY_CLASS = ("relevance", "gradient_x_input")  # the others are the same map whichever class one asks about


def explain(
    model: ViT,
    images: Float[Tensor, "b c H W"],
    *,
    method: str,
    target: Sequence[int] | None = None,
    geometries: Sequence[Geometry | None] | None = None,
    labels: Sequence[str] | None = None,
    layer: int | None = None,
    head: int | Literal["sharpest"] | None = None,
) -> list[AttentionMap]:
    """One map a picture, axes (y, x) in patches.

    Args:
        model: A classifier in eval mode.
        images: Its input.
        method: One of `METHODS`.
        target: The class to explain for each picture; the predicted one where None.
        geometries: How each picture was cut from its source.
        labels: The names of all classes, for the `target` of maps that have one; their numbers where None.
        layer: For `attention`: which block, negative from the end; the last where None.
        head: For `attention`: which head, the `sharpest` of each picture, or the mean where None.

    Raises:
        ModelError: An unknown method, class, layer or head; or a layer or head for a method that uses all of them.
    """
    if method not in METHODS:
        raise ModelError(f"there is no map method {method!r}; there are: {', '.join(METHODS)}")
    if method != "attention" and (layer is not None or head is not None):
        raise ModelError(f"a layer or head can be chosen for the method 'attention', not for {method!r}")
    chosen: list[int] = []
    if target is not None or method in _BY_CLASS:  # the other maps need no class, and so no pass to predict one
        chosen = _targets(model, images, target)
    sites = tuple(site.name for site in model.attention_sites())
    heads: list[tuple[int, ...] | None] = [None] * len(images)
    if method == "attention":
        index = _layer_index(model, layer)
        sites = sites[index : index + 1]
        values, heads = _one_layer(class_attention(model, images)[:, index], head)  # (b, n)
    else:
        values = _METHODS[method](model, images, chosen)
    grids = values if method == "gradient_x_input" else to_grid(values, _grid(model, images))
    return [
        AttentionMap(
            values=to_array(grid),
            axes=(Axis("y", "patch"), Axis("x", "patch")),
            method=method,
            sites=sites,
            heads=heads[i],
            geometry=None if geometries is None else geometries[i],
            target=(str(chosen[i]) if labels is None else labels[chosen[i]]) if method in _BY_CLASS else None,
            note=METHOD_NOTES[method],
        )
        for i, grid in enumerate(grids)
    ]


def attention_stack(
    model: ViT, images: Float[Tensor, "b c H W"], geometries: Sequence[Geometry | None] | None = None
) -> list[AttentionMap]:
    """What the head's row attends to in every layer and head: one map a picture, axes (layer, head, y, x)."""
    grids = to_grid(class_attention(model, images), _grid(model, images))  # (b, l, h, r, c)
    return [
        AttentionMap(
            values=to_array(grid),
            axes=(Axis("layer", "index"), Axis("head", "index"), Axis("y", "patch"), Axis("x", "patch")),
            method="attention",
            sites=tuple(site.name for site in model.attention_sites()),
            heads=None,
            geometry=None if geometries is None else geometries[i],
            target=None,
            note="The share of each attention head's look, from where the classifier reads, that went to each patch.",
        )
        for i, grid in enumerate(grids)
    ]


@torch.no_grad()
def class_attention(model: ViT, images: Float[Tensor, "b c H W"]) -> Float[Tensor, "b l h n"]:
    """The attention from where the head reads, to every token: the class token's row, or the mean of the patches'."""
    by_class = model.config.pool == "class"
    tap = Tap(model.attention_sites(_size(images)), rows=[0] if by_class else None)
    model(images, tap=tap)
    weights = torch.stack(list(tap.weights.values()), dim=1)  # (b, l, h, q, n)
    if by_class:
        return weights[:, :, :, 0]
    return weights[:, :, :, model.num_prefix_tokens :].mean(dim=3)


def _rollout(model: ViT, images: Tensor, targets: list[int]) -> Tensor:
    tap = Tap(model.attention_sites(_size(images)))
    with torch.no_grad():
        model(images, tap=tap)
    weights = list(tap.weights.values())
    return rollout(_start(model, weights), weights)[:, 0]


def _relevance(model: ViT, images: Tensor, targets: list[int]) -> Tensor:
    tap = Tap(model.attention_sites(_size(images)), gradients=True)
    with torch.inference_mode(False), torch.enable_grad():
        # weights may all be frozen; the pictures then carry the graph
        # `forward` and not a call, which may be compiled: a tap's gradients need the graph of the eager pass
        gradients = tap.gradients(_score_of(model.forward(leaf(images), tap=tap), targets))
    weights = list(tap.weights.values())
    return relevance(_start(model, weights), weights, list(gradients.values()))[:, 0]


def _gradient_x_input(model: ViT, images: Tensor, targets: list[int]) -> Tensor:
    with torch.inference_mode(False), torch.enable_grad():
        images = leaf(images)
        (gradient,) = torch.autograd.grad(_score_of(model(images), targets), images)
    product = (gradient * images.detach()).sum(dim=1).abs()  # (b, H, W)
    patch = model.config.patch_size
    return torch.nn.functional.avg_pool2d(product[:, None], patch, divisor_override=1)[:, 0]  # (b, r, c)


_METHODS: dict[str, Callable[[ViT, Tensor, list[int]], Tensor]] = {
    "rollout": _rollout,
    "relevance": _relevance,
    "gradient_x_input": _gradient_x_input,
}


def _start(model: ViT, weights: list[Tensor]) -> Tensor:
    return readout_row(model, weights[0].shape[-1], weights[0])


def _score_of(logits: Tensor, targets: list[int]) -> Tensor:
    """The sum over the batch of each picture's target score: items do not mix, so each keeps its own gradient."""
    return logits[torch.arange(len(targets), device=logits.device), targets].sum()


def _targets(model: ViT, images: Tensor, target: Sequence[int] | None) -> list[int]:
    if target is None:
        with torch.no_grad():
            return [int(index) for index in model(images).argmax(dim=-1)]
    if len(target) != len(images):
        raise ModelError(
            f"`target` must name a class for each of {len(images)} pictures, but names {len(target)} instead."
        )
    for index in target:
        if not 0 <= index < model.config.num_classes:
            raise ModelError(
                f"`target` must be a class from 0 to {model.config.num_classes - 1}, but is {index} instead."
            )
    return list(target)


def _layer_index(model: ViT, layer: int | None) -> int:
    depth = model.config.depth
    index = depth - 1 if layer is None else layer + depth * (layer < 0)
    if not 0 <= index < depth:
        raise ModelError(f"`layer` must be from {-depth} to {depth - 1}, but is {layer} instead.")
    return index


def _one_layer(weights: Tensor, head: int | Literal["sharpest"] | None) -> tuple[Tensor, list[tuple[int, ...] | None]]:
    """One row a picture out of (b, h, n), and the heads it came from."""
    batch, num_heads, _ = weights.shape
    if head is None:
        return weights.mean(dim=1), [None] * batch
    if head == "sharpest":
        indices = sharpness(weights).argmax(dim=1)  # (b,)
    elif isinstance(head, int) and 0 <= head < num_heads:
        indices = torch.full((batch,), head, device=weights.device)
    else:
        raise ModelError(f"`head` must be from 0 to {num_heads - 1} or 'sharpest', but is {head!r} instead.")
    rows = weights[torch.arange(batch, device=weights.device), indices]
    return rows, [(int(index),) for index in indices]


def _size(images: Tensor) -> tuple[int, int]:
    return images.shape[-2], images.shape[-1]


def _grid(model: ViT, images: Tensor) -> tuple[int, int]:
    return model.grid(_size(images))
