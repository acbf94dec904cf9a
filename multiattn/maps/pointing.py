"""Which attention heads point: every head scored on questions with boxes around what they are about.

A map points at a thing if the center of its highest patch lies in the thing's box. Choose heads on some pictures and
measure them on others.

Notation: l layers, h heads, w words, y and x the patch grid.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64

from ..attention.heads import Head
from ..checks import check_one_each, require
from ..errors import ModelError
from .attention_map import AttentionMap

Box = tuple[float, float, float, float]
"""Left, top, right and bottom, in pixels of the source picture."""

LEAST_GAIN = 0.002
"""The share of questions that one more head must add to be chosen."""


class PointingScore(NamedTuple):
    """How often a head points at what the questions are about."""

    layer: int
    head: int
    share: float
    """The share of questions in which the head's highest patch is in a box; with ties, each counts in part."""


def centers_within(
    x: Float64[np.ndarray, " x"], y: Float64[np.ndarray, " y"], boxes: Float64[np.ndarray, "boxes 4"]
) -> Bool[np.ndarray, "y x"]:
    """Return which patches have their center in one of the boxes.

    Args:
        x: The centers of the columns of patches, in pixels of the picture.
        y: The centers of the rows.
        boxes: Left, top, right and bottom of each, in pixels of the picture.
    """
    left, top, right, bottom = boxes.T[..., None]  # (boxes, 1)
    rows, cols = (top <= y) & (y <= bottom), (left <= x) & (x <= right)  # (boxes, y), (boxes, x)
    return np.asarray((rows[:, :, None] & cols[:, None]).any(axis=0))


def patches_within(over: AttentionMap, boxes: Sequence[Box]) -> Bool[np.ndarray, "y x"]:
    """Return which patches of a map have their center in one of the boxes, in pixels of the source picture.

    Raises:
        ModelError: The map has no geometry.
    """
    if over.geometry is None:
        raise ModelError("`over` must have a geometry, which says where its patches lie in the source, but has none.")
    rows, cols = over.values.shape[-2:]
    _, _, height, width = over.geometry.crop
    x = np.array([over.geometry.to_source((col + 0.5) * width / cols, 0.0)[0] for col in range(cols)])
    y = np.array([over.geometry.to_source(0.0, (row + 0.5) * height / rows)[1] for row in range(rows)])
    return centers_within(x, y, np.array(boxes, dtype=np.float64).reshape(-1, 4))


def points(values: Float[np.ndarray, "*maps y x"], inside: Bool[np.ndarray, "y x"]) -> Float64[np.ndarray, "*maps"]:
    """Return the share of each map's highest patches that are inside: 0 or 1, unless several are equally high."""
    highest = values == values.max(axis=(-2, -1), keepdims=True)
    return np.asarray((highest & inside).sum(axis=(-2, -1)) / highest.sum(axis=(-2, -1)))


def score_pointing(stacks: Sequence[AttentionMap], boxes: Sequence[Sequence[Box]]) -> list[PointingScore]:
    """Score how often each head points, the best head first.

    Args:
        stacks: Of answers, as `answer_attention_stack` returns them: (layer, head, word, y, x), with geometry. The
            words of an answer count equally.
        boxes: Around what each question is about; a question without any is left out.

    Raises:
        ModelError: They do not fit each other, or no question has boxes.
    """
    shares = np.mean([points(values, inside) for values, inside in _with_boxes(stacks, boxes)], axis=0)  # (l, h)
    found = [PointingScore(layer, head, float(share)) for (layer, head), share in np.ndenumerate(shares)]
    return sorted(found, key=lambda one: (-one.share, one.layer, one.head))


def choose_pointing(stacks: Sequence[AttentionMap], boxes: Sequence[Sequence[Box]], *, most: int = 4) -> list[Head]:
    """Choose heads whose mean points best: the best head, then one at a time what adds most; in the order of layers.

    Args:
        stacks: As `score_pointing` takes them.
        boxes: As `score_pointing` takes them.
        most: Heads at most.

    Raises:
        ModelError: They do not fit each other, no question has boxes, or no head ever points.
    """
    require(most >= 1, "most", must="at least 1", value=most)
    known = _with_boxes(stacks, boxes)
    sums = [np.zeros(values.shape[-2:]) for values, _ in known]
    chosen: list[Head] = []
    so_far = 0.0
    while len(chosen) < most:
        scored = np.mean(
            [points(of_chosen + values, inside) for of_chosen, (values, inside) in zip(sums, known, strict=True)],
            axis=0,
        )  # (l, h)
        for layer, head in chosen:
            scored[layer, head] = -1.0
        layer, head = map(int, np.unravel_index(scored.argmax(), scored.shape))
        if scored[layer, head] < so_far + LEAST_GAIN:
            break
        so_far = float(scored[layer, head])
        chosen.append((layer, head))
        sums = [of_chosen + values[layer, head] for of_chosen, (values, _) in zip(sums, known, strict=True)]
    if not chosen:
        raise ModelError("no head of the model points at what the questions are about: it has no heads to find")
    return sorted(chosen)


def _with_boxes(
    stacks: Sequence[AttentionMap], boxes: Sequence[Sequence[Box]]
) -> list[tuple[Float64[np.ndarray, "l h y x"], Bool[np.ndarray, "y x"]]]:
    """Of each question that has boxes: its maps, mean of the words, and which patches are in a box."""
    check_one_each(len(stacks), "questions", boxes=boxes)
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
