"""Maps of a classifier: which patches of its picture a class, or any class, was read from.

Notation: b batch, H and W the input's height and width, l layers, h heads, q query rows, n tokens.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..attention import Tap
from ..checks import check_one_each, require
from ..errors import ModelError
from ..inputs import Geometry
from ..models import ViT
from ..registry import task_spec
from .attention_map import AttentionMap
from .building import STACK_AXES, check_method, checked_geometries, image_size, layer_index, patch_map
from .lrp import PropagationRules, TokensTap, check_has_rules
from .memory import free_bytes, pictures_at_once
from .method_notes import METHOD_NOTES, STACK_NOTE
from .propagation import leaf, normalized_relevance, of_part, raising, relevance, rollout, sharpness

METHODS = task_spec("classify").map_methods
"""The methods of `explain`."""

BY_CLASS = ("relevance", "lrp", "gradient_x_input")
"""The methods whose maps explain one class."""

NO_CLASS = tuple(method for method in METHODS if method not in BY_CLASS)
"""The other methods, whose maps are the same for every class."""


class Target(NamedTuple):
    """What is explained of one picture."""

    label: int
    """The class whose score it is."""

    versus: int | None = None
    """The class whose score is subtracted: why this one rather than that."""


def explain(
    model: ViT,
    images: Float[Tensor, "b c H W"],
    *,
    method: str,
    target: Sequence[int] | None = None,
    versus: Sequence[int] | None = None,
    geometries: Sequence[Geometry | None] | None = None,
    labels: Sequence[str] | None = None,
    layer: int | None = None,
    head: int | Literal["sharpest"] | None = None,
) -> list[AttentionMap]:
    """Compute one map for each picture, axes (y, x) in patches.

    The score that is explained is the model's output for the class: the number before a softmax or sigmoid, whose
    gradient does not vanish where the model is sure, or the value of a regression.

    Args:
        model: A classifier in eval mode.
        images: Its input.
        method: One of `METHODS`.
        target: The class to explain for each picture; the predicted one where None.
        versus: Another class for each picture: what is explained is then the difference of the two scores.
        geometries: How each picture was cut from its source.
        labels: The names of all classes, for `AttentionMap.target`; their numbers where None.
        layer: For `attention`: which block, negative from the end. Where None, the last; or the learned query that the
            classifier reads, if it reads one.
        head: For `attention`: which head, the `sharpest` of each picture, or the mean where None.

    Raises:
        ModelError: An unknown method, class, layer or head; a layer or head for a method that uses all of them; or
            geometries that do not fit the pictures.
    """
    check_method(method, METHODS, layer=layer, head=head)
    geometries = checked_geometries(geometries, len(images))
    chosen: list[Target] = []
    if target is not None or method in BY_CLASS:  # the other methods need no class, so no pass to predict one
        chosen = _targets(model, images, target, versus)
    sites = tuple(site.name for site in model.attention_sites())
    heads: list[tuple[int, ...] | None] = [None] * len(images)
    if method == "attention":
        if layer is None and model.pool is not None:
            sites, weights = sites[-1:], _pool_attention(model, images)  # (b, h, n)
        else:
            index = layer_index(-1 if layer is None else layer, model.config.depth)
            sites, weights = sites[index : index + 1], class_attention(model, images)[:, index]  # (b, h, n)
        rows, heads = _one_layer(weights, head)  # (b, n)
    else:
        rows = _in_parts(model, images, method, chosen)
    return [
        patch_map(
            row,
            grid=model.grid(image_size(images)),
            method=method,
            sites=sites,
            heads=heads[i],
            geometry=geometries[i],
            target=_named(chosen[i], labels) if method in BY_CLASS else None,
            note=METHOD_NOTES[method],
        )
        for i, row in enumerate(rows)
    ]


def _in_parts(model: ViT, images: Tensor, method: str, targets: list[Target]) -> Float[Tensor, "b n"]:
    """Compute a method for as many pictures at once as there is memory for."""
    size = image_size(images)
    rows, cols = model.grid(size)
    at_once = pictures_at_once(
        Tap(model.attention_sites(size)).nbytes(),
        method,
        patches=rows * cols,
        instead="attention or gradient_x_input",
        free=free_bytes(images.device),
    )
    parts = [slice(start, start + at_once) for start in range(0, len(images), at_once)]
    return torch.cat([_METHODS[method](model, images[part], targets[part]) for part in parts])


def attention_stack(
    model: ViT, images: Float[Tensor, "b c H W"], geometries: Sequence[Geometry | None] | None = None
) -> list[AttentionMap]:
    """Compute what the classifier attends to in every layer and head: one map a picture, axes (layer, head, y, x)."""
    return [
        patch_map(
            rows,
            STACK_AXES,
            grid=model.grid(image_size(images)),
            method="attention",
            sites=tuple(site.name for site in model.attention_sites()[: model.config.depth]),
            geometry=geometry,
            note=STACK_NOTE,
        )
        for rows, geometry in zip(
            class_attention(model, images), checked_geometries(geometries, len(images)), strict=True
        )
    ]


@torch.no_grad()
def class_attention(model: ViT, images: Float[Tensor, "b c H W"]) -> Float[Tensor, "b l h n"]:
    """Compute the attention to every token in each block, from the tokens that the classifier reads.

    It is the mean over those tokens, where a class token counts as much as all patches together, or weighted by the
    attention of a learned query that reads them.
    """
    by_class = model.config.pool == "class"
    sites = model.attention_sites(image_size(images))
    # rows of the learned query are one, so that its site is captured with all rows as well
    tap = Tap(sites, rows=range(model.num_read) if by_class else None)
    model(images, tap=tap)
    weights = torch.stack(list(tap.weights.values())[: model.config.depth], dim=1)  # (b, l, h, q, n)
    if by_class:
        return weights.mean(dim=3)
    if model.pool is not None:
        return torch.einsum("blhqn,bq->blhn", weights, _read_tokens(model, tap.weights)[:, 0])
    from_patches = weights[:, :, :, 0 if model.config.pool_prefix else model.num_prefix_tokens :].mean(dim=3)
    return (weights[:, :, :, 0] + from_patches) / 2 if model.config.pool == "class_mean" else from_patches


def _pool_attention(model: ViT, images: Tensor) -> Float[Tensor, "b h n"]:
    """Compute the attention of the learned query to every token; 0 to those that it does not read."""
    tap = Tap(model.attention_sites(image_size(images)), select="pool.cross")
    with torch.no_grad():
        model(images, tap=tap)
    return _padded(model, tap.weights["pool.cross"])[:, :, 0]


def _padded(model: ViT, weights: Float[Tensor, "*b k"]) -> Float[Tensor, "*b n"]:
    """Add the prefix tokens to the keys of the learned query, with 0, where it does not read them."""
    return weights if model.config.pool_prefix else F.pad(weights, (model.num_prefix_tokens, 0))


def _rollout(model: ViT, images: Tensor, targets: list[Target]) -> Float[Tensor, "b n"]:
    tap = Tap(model.attention_sites(image_size(images)))
    with torch.no_grad():
        model(images, tap=tap)
    return rollout(_read_tokens(model, tap.weights), of_part(tap.weights, "self"))[:, 0]


def _relevance(model: ViT, images: Tensor, targets: list[Target]) -> Float[Tensor, "b n"]:
    tap = Tap(model.attention_sites(image_size(images)), gradients=True)
    with torch.inference_mode(False), torch.enable_grad():
        # `forward` and not a call, which may be compiled: a tap's gradients need the graph of the eager pass
        gradients = tap.gradients(_score_of(model.forward(leaf(images), tap=tap), targets))
    weights, slopes = of_part(tap.weights, "self"), of_part(gradients, "self")
    if model.pool is None:
        return relevance(_read_tokens(model, tap.weights), weights, slopes)[:, 0]
    # the learned query is another stack, of one token, that reads those of the blocks
    rows = raising(tap.weights["pool.cross"], gradients["pool.cross"])  # (b, 1, k)
    return normalized_relevance(_padded(model, rows), weights, slopes)[:, 0]


def _lrp(model: ViT, images: Tensor, targets: list[Target]) -> Float[Tensor, "b n"]:
    check_has_rules(model)
    tap = TokensTap(model.attention_sites(image_size(images)), "blocks")
    with torch.inference_mode(False), torch.enable_grad(), PropagationRules():
        return tap.contributions(_score_of(model.forward(leaf(images), tap=tap), targets))


def _gradient_x_input(model: ViT, images: Tensor, targets: list[Target]) -> Float[Tensor, "b n"]:
    with torch.inference_mode(False), torch.enable_grad():
        images = leaf(images)
        (gradient,) = torch.autograd.grad(_score_of(model(images), targets), images)
    product = (gradient * images.detach()).sum(dim=1).abs()  # (b, H, W)
    patch = model.config.patch_size
    return F.avg_pool2d(product[:, None], patch, divisor_override=1).flatten(1)  # (b, n)


_METHODS: dict[str, Callable[[ViT, Tensor, list[Target]], Tensor]] = {
    "rollout": _rollout,
    "relevance": _relevance,
    "lrp": _lrp,
    "gradient_x_input": _gradient_x_input,
}


def _read_tokens(model: ViT, weights: Mapping[str, Tensor]) -> Float[Tensor, "#b 1 n"]:
    """Return the weight of each token in what the classifier reads, given the captured weights.

    It is 1 for the class token, equal shares of the tokens that are averaged, half of both where the two are read, or
    the attention of a learned query.
    """
    if model.pool is not None:
        return _padded(model, weights["pool.cross"].mean(dim=1))
    tokens = weights["blocks.0.self"].shape[-1]
    row = weights["blocks.0.self"].new_zeros(1, 1, tokens)
    if model.config.pool != "class":
        first = 0 if model.config.pool_prefix else model.num_prefix_tokens
        row[..., first:] = 1.0 / (tokens - first)
    if model.config.pool != "mean":
        row[..., : model.num_read] = 1.0
    return row / row.sum()


def _score_of(logits: Tensor, targets: list[Target]) -> Tensor:
    """The sum of what is explained of each picture; pictures do not mix, so each has its own gradient in it."""
    found = torch.stack([scores[target.label] for scores, target in zip(logits, targets, strict=True)]).sum()
    against = [scores[one.versus] for scores, one in zip(logits, targets, strict=True) if one.versus is not None]
    return found - torch.stack(against).sum() if against else found


def _targets(model: ViT, images: Tensor, target: Sequence[int] | None, versus: Sequence[int] | None) -> list[Target]:
    """What to explain of each picture."""
    if not model.config.num_classes:
        raise ModelError(
            f"`method` must be one that explains no class for a model without a head ({', '.join(NO_CLASS)}), but "
            "explains one instead"
        )
    check_one_each(len(images), "pictures", target=target, versus=versus)
    last = model.config.num_classes - 1
    for name, indices in (("target", target), ("versus", versus)):
        for index in indices or ():
            require(0 <= index <= last, name, must=f"a class from 0 to {last}", value=index)
    if target is None:
        with torch.no_grad():
            target = [int(index) for index in model(images).argmax(dim=-1)]
    if versus is None:
        return [Target(index) for index in target]
    for index, other in zip(target, versus, strict=True):
        require(index != other, "versus", must="another class than the one to explain", value=other)
    return [Target(index, other) for index, other in zip(target, versus, strict=True)]


def _named(target: Target, labels: Sequence[str] | None) -> str:
    """What a map explains, in words."""
    names = [str(index) if labels is None else labels[index] for index in target if index is not None]
    return " rather than ".join(names)


def _one_layer(weights: Tensor, head: int | Literal["sharpest"] | None) -> tuple[Tensor, list[tuple[int, ...] | None]]:
    """One row for each picture from (b, h, n), and the heads it was computed from."""
    batch, num_heads, _ = weights.shape
    if head is None:
        return weights.mean(dim=1), [None] * batch
    if head == "sharpest":
        indices = sharpness(weights).argmax(dim=1)  # (b,)
    else:
        fits = isinstance(head, int) and 0 <= head < num_heads
        require(fits, "head", must=f"from 0 to {num_heads - 1} or 'sharpest'", value=head)
        indices = torch.full((batch,), head, device=weights.device)
    rows = weights[torch.arange(batch, device=weights.device), indices]
    return rows, [(int(index),) for index in indices]
