"""The picture of which classes are taken for which."""

import io

import numpy as np
import pytest
from PIL import Image

from multiattn.export.confusion import MOST, _chosen, draw_confusion


def drawn(pairs: dict[tuple[str, str], int], labels: list[str]) -> np.ndarray:
    file = io.BytesIO()
    draw_confusion(pairs, labels, file, title="of $5_a")  # no formula
    return np.asarray(Image.open(file).convert("L"), np.int16)


def test_a_darker_cell_is_a_larger_share() -> None:
    light = drawn({("a", "a"): 9, ("a", "b"): 1, ("b", "b"): 10}, ["a", "b"])
    dark = drawn({("a", "a"): 1, ("a", "b"): 9, ("b", "b"): 10}, ["a", "b"])
    assert light.shape == dark.shape
    rows, columns = np.nonzero(np.abs(light - dark) > 60)
    across = columns.max() - columns.min()
    assert 40 < across < 80 and rows.max() - rows.min() < 40  # two cells of the first row


def test_a_label_that_is_no_class_has_a_column() -> None:
    pairs = {("a", "a"): 9, ("b", "b"): 10}
    assert drawn(pairs | {("a", "zebra"): 1}, ["a", "b"]).shape[0] > drawn(pairs, ["a", "b"]).shape[0]  # a longer name


@pytest.mark.parametrize("count", [1, MOST + 5])
def test_any_number_of_classes(count: int) -> None:
    labels = [f"class {number}" for number in range(count)]
    pairs = {(label, labels[max(0, number - number % 5)]): 3 for number, label in enumerate(labels)}
    assert max(drawn(pairs, labels).shape) < 1300
    chosen = _chosen(pairs, labels)
    assert len(chosen) == min(count, MOST) and chosen == [label for label in labels if label in set(chosen)]
    right = [number for number in range(count) if f"class {number}" not in chosen]
    assert all(number % 5 for number in right)  # those that were taken for others stay
