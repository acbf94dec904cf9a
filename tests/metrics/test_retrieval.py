"""Recalls against a loop over sorted lists, and the cases that a sum gets wrong."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multiattn.metrics.retrieval import retrieval_scores


def naive(similarities: np.ndarray, owners: list[int], at: int) -> tuple[float, float]:
    texts = []
    for row, scores in enumerate(similarities):
        order = sorted(range(len(owners)), key=lambda r: -scores[r])
        texts.append(any(owners[r] == row for r in order[:at]))
    pictures = []
    for r, owner in enumerate(owners):
        order = sorted(range(len(similarities)), key=lambda p: -similarities[p, r])
        pictures.append(owner in order[:at])
    return float(np.mean(texts)), float(np.mean(pictures))


@given(st.integers(1, 23), st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_recalls_are_those_of_sorted_lists(pictures: int, most: int, seed: int) -> None:
    drawn = np.random.default_rng(seed)
    owners = [row for row in range(pictures) for _ in range(drawn.integers(1, most + 1))]
    similarities = drawn.permutation(pictures * len(owners)).reshape(pictures, len(owners)).astype(float)  # no ties
    found = retrieval_scores(similarities, owners)
    for at in (1, 5, 10):
        expected = (getattr(found, f"text_r{at}"), getattr(found, f"picture_r{at}"))
        assert expected == pytest.approx(naive(similarities, owners, at))


def test_a_model_that_says_the_same_of_all_finds_nothing() -> None:
    found = retrieval_scores(np.zeros((13, 26)), [i // 2 for i in range(26)])
    assert set(vars(found).values()) == {0.0}


def test_groups_of_consecutive_pictures() -> None:
    drawn = np.random.default_rng(3)
    owners = [i // 3 for i in range(39)]
    similarities = drawn.normal(size=(13, 39))
    found = retrieval_scores(similarities, owners, group=5)  # 0 to 4 and 5 to 9; 10 to 12 are left out
    parts = [retrieval_scores(similarities[a : a + 5, 3 * a : 3 * a + 15], [i // 3 for i in range(15)]) for a in (0, 5)]
    for name, value in vars(found).items():
        assert value == pytest.approx(np.mean([getattr(part, name) for part in parts]))
    assert retrieval_scores(similarities, owners, group=99) == retrieval_scores(similarities, owners)
