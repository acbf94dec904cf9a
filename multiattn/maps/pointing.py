"""Which attention heads point: every head scored on questions of which it is known what they are about, and where.

Notation: l layers, h heads, w words.

A map points at a thing where the middle of its highest patch lies in the thing's box. Heads that are chosen on some
pictures are to be measured on others.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64

from ..attention.heads import Head
from ..errors import ModelError
from .attention_map import AttentionMap

Box = tuple[float, float, float, float]
"""Left, top, right and bottom, in pixels of the source picture."""

LEAST_GAIN = 0.002
"""The share of questions that one more head must win, or it is left out."""


class PointingScore(NamedTuple):
    """How often a head points at what a question is about."""

    layer: int
    head: int
    share: float
    """Of the questions, those it is right in; where several patches are the highest, the share of them that are."""


def patches_within(over: AttentionMap, boxes: Sequence[Box]) -> Bool[np.ndarray, "y x"]:
    """The patches of a map whose middles are in one of the boxes.

    Raises:
        ModelError: The map has no geometry.
    """
    if over.geometry is None:
        raise ModelError("`over` must have a geometry, which says where its patches lie in the source, but has none.")
    rows, cols = over.values.shape[-2:]
    _, _, height, width = over.geometry.crop
    inside = np.zeros((rows, cols), dtype=bool)
    for y, x in np.ndindex(rows, cols):
        across, down = over.geometry.to_source((x + 0.5) * width / cols, (y + 0.5) * height / rows)
        inside[y, x] = any(left <= across <= right and top <= down <= bottom for left, top, right, bottom in boxes)
    return inside


def points(values: Float[np.ndarray, "*maps y x"], inside: Bool[np.ndarray, "y x"]) -> Float64[np.ndarray, "*maps"]:
    """The share of each map's highest patches that are inside: 0 or 1, unless several are equally high."""
    highest = values == values.max(axis=(-2, -1), keepdims=True)
    return np.asarray((highest & inside).sum(axis=(-2, -1)) / highest.sum(axis=(-2, -1)))


def score_pointing(stacks: Sequence[AttentionMap], boxes: Sequence[Sequence[Box]]) -> list[PointingScore]:
    """How often each head points, the best head first.

    Args:
        stacks: Of answers, as `answer_attention_stack` gives them: (layer, head, word, y, x), with geometry. All words
            of an answer count alike.
        boxes: What each answer is about; a question without any is left out.

    Raises:
        ModelError: They do not fit each other, or no question has boxes.
    """
    shares = np.mean([points(values, inside) for values, inside in _with_boxes(stacks, boxes)], axis=0)  # (l, h)
    found = [PointingScore(layer, head, float(share)) for (layer, head), share in np.ndenumerate(shares)]
    return sorted(found, key=lambda one: (-one.share, one.layer, one.head))


def choose_pointing(stacks: Sequence[AttentionMap], boxes: Sequence[Sequence[Box]], *, most: int = 4) -> list[Head]:
    """The heads whose mean points best: the best head, then one by one what helps most, in the order of layers.

    Args:
        stacks: As `score_pointing` takes them.
        boxes: As `score_pointing` takes them.
        most: Heads at most.

    Raises:
        ModelError: They do not fit each other, no question has boxes, or no head ever points.
    """
    if most < 1:
        raise ModelError(f"`most` must be at least 1, but is {most} instead.")
    asked = _with_boxes(stacks, boxes)
    together = [np.zeros(values.shape[-2:]) for values, _ in asked]
    chosen: list[Head] = []
    so_far = 0.0
    while len(chosen) < most:
        scored = np.mean(
            [points(one + values, inside) for one, (values, inside) in zip(together, asked, strict=True)], axis=0
        )  # (l, h)
        for layer, head in chosen:
            scored[layer, head] = -1.0
        layer, head = map(int, np.unravel_index(scored.argmax(), scored.shape))
        if scored[layer, head] < so_far + LEAST_GAIN:
            break
        so_far = float(scored[layer, head])
        chosen.append((layer, head))
        together = [one + values[layer, head] for one, (values, _) in zip(together, asked, strict=True)]
    if not chosen:
        raise ModelError("no head of the model points at what the questions are about: it has no heads to find")
    return sorted(chosen)


def _with_boxes(
    stacks: Sequence[AttentionMap], boxes: Sequence[Sequence[Box]]
) -> list[tuple[Float64[np.ndarray, "l h y x"], Bool[np.ndarray, "y x"]]]:
    """Of each question that has boxes: its maps, and which of the patches are right."""
    if len(stacks) != len(boxes):
        raise ModelError(f"`boxes` must be of {len(stacks)} questions, but are of {len(boxes)} instead.")
    for stack in stacks:
        if stack.names != ("layer", "head", "word", "y", "x"):
            raise ModelError(f"`stacks` must have the axes (layer, head, word, y, x), but one has {stack.names}.")
        if stack.values.shape[:2] != stacks[0].values.shape[:2]:
            raise ModelError("`stacks` must be of one model, but have different numbers of layers or heads.")
    found = [
        (stack.values.astype(np.float64).mean(axis=2), patches_within(stack, of_one))
        for stack, of_one in zip(stacks, boxes, strict=True)
        if of_one
    ]
    if not found:
        raise ModelError("`boxes` must be of at least one question, but no question has any.")
    return found
