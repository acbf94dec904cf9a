"""Retrieval: how often what belongs together is among the best matches, from pictures to texts and back.

Notation: p pictures, r texts.
Source: Karpathy and Fei-Fei 2015, "Deep Visual-Semantic Alignments", section 4.1.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

AT = (1, 5, 10)
"""The places that recalls are given for."""


@dataclass(frozen=True)
class RetrievalScores:
    """Recalls at 1, 5 and 10, each a share from 0 to 1."""

    text_r1: float
    """How often the text that a picture fits best is one of its own."""

    text_r5: float
    """How often one of a picture's own texts is among the 5 that it fits best."""

    text_r10: float
    picture_r1: float
    """How often the picture that a text fits best is its own."""

    picture_r5: float
    """How often a text's own picture is among the 5 that it fits best."""

    picture_r10: float


def retrieval_scores(
    similarities: Float[np.ndarray, "p r"], owners: Sequence[int], *, group: int | None = None
) -> RetrievalScores:
    """Compute the recalls of both directions.

    What is as similar as the right one counts as better: a model that says the same of everything finds nothing.

    Args:
        similarities: How well each picture fits each text; any scale, larger is better.
        owners: The row of the picture that each text belongs to; a picture has one text or several.
        group: Compare only within groups of so many consecutive pictures; a smaller rest at the end is left out, unless
            there is nothing else. None compares with all.

    Returns:
        The means over all pictures that are compared, and over all their texts.
    """
    owner = np.asarray(owners)
    count = len(similarities)
    size = count if group is None else min(group, count)
    of_pictures, of_texts = [], []
    for start in range(0, count - size + 1, size):
        columns = np.flatnonzero((owner >= start) & (owner < start + size))
        found = _ranks(similarities[start : start + size, columns], owner[columns] - start)
        of_pictures.append(found[0])
        of_texts.append(found[1])
    pictures, texts = np.concatenate(of_pictures), np.concatenate(of_texts)
    return RetrievalScores(*(float((ranks < at).mean()) for ranks in (pictures, texts) for at in AT))


def _ranks(similarities: np.ndarray, owner: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rank, from 0, of each picture's best own text, and of each text's own picture."""
    is_own = owner[None] == np.arange(len(similarities))[:, None]  # (p, r)
    right = similarities[owner, np.arange(len(owner))]  # (r,)
    texts = ((similarities >= right[None]) & ~is_own).sum(axis=0)
    best = np.where(is_own, similarities, -np.inf).max(axis=1)  # (p,)
    pictures = ((similarities >= best[:, None]) & ~is_own).sum(axis=1)
    return pictures, texts
