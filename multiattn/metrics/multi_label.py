"""Average precision and F1 of classifiers whose pictures have several labels, or none.

n pictures, c labels.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float


def average_precision(scores: Float[np.ndarray, " n"], truth: Bool[np.ndarray, " n"]) -> float | None:
    """The mean over the pictures with a label of the precision at each one's score; equal scores count together.

    Source: scikit-learn, `average_precision_score`.

    Args:
        scores: Of one label, for each picture.
        truth: Whether the picture has it.

    Returns:
        0 to 1; None where no picture has it.
    """
    if not truth.any():
        return None
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.diff(scores[order], append=-np.inf))  # the last picture of each score
    found = np.cumsum(truth[order])[ends]
    recall = found / truth.sum()
    return float(np.sum(np.diff(recall, prepend=0.0) * found / (ends + 1)))


@dataclass(frozen=True)
class LabelScores:
    """How well one label is told."""

    items: int
    """Pictures that have it."""

    average_precision: float | None
    """None where no picture has it."""

    f1: float | None
    """At the threshold; None where no picture has it."""

    best_threshold: float | None
    """The score from which on the label's F1 is the highest; None where no picture has it."""

    true_positives: int
    """Pictures that have it, and of which it is told; this and what follows at the threshold."""

    false_positives: int
    false_negatives: int
    true_negatives: int


@dataclass(frozen=True)
class MultiLabelScores:
    """How well labels are told. A mean is over those that some picture has; None where no picture has one."""

    map: float | None
    """The mean average precision."""

    f1_macro: float | None
    """The mean of the labels' F1."""

    f1_micro: float | None
    """The F1 of all labels of all pictures together."""

    labels: tuple[LabelScores, ...]


def multi_label_scores(
    scores: Float[np.ndarray, "n c"], truth: Bool[np.ndarray, "n c"], *, threshold: float = 0.5
) -> MultiLabelScores:
    """Measure the scores of pictures.

    Args:
        scores: 0 to 1, for each label by itself.
        truth: The labels that each picture has.
        threshold: The score from which on a label counts as told.
    """
    told = scores >= threshold
    by_label = tuple(_label(scores[:, i], truth[:, i], told[:, i]) for i in range(truth.shape[1]))
    both = 2 * int((told & truth).sum())
    total = int(told.sum() + truth.sum())
    return MultiLabelScores(
        _mean([one.average_precision for one in by_label]),
        _mean([one.f1 for one in by_label]),
        both / total if truth.any() else None,
        by_label,
    )


def _label(scores: np.ndarray, truth: np.ndarray, told: np.ndarray) -> LabelScores:
    counts = [int((told == is_told)[truth == has].sum()) for is_told, has in ((1, 1), (1, 0), (0, 1), (0, 0))]
    if not truth.any():
        return LabelScores(0, None, None, None, *counts)
    f1 = 2 * (told & truth).sum() / (told.sum() + truth.sum())
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.diff(scores[order], append=-np.inf))
    found = np.cumsum(truth[order])[ends]
    best = ends[np.argmax(2 * found / (ends + 1 + truth.sum()))]
    precision = average_precision(scores, truth)
    return LabelScores(int(truth.sum()), precision, float(f1), float(scores[order][best]), *counts)


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
