"""Verdicts against the cells that are hidden one by one, and the rule against cases with a known answer."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from multiattn.maps import Checked, MaskedInput, Verdict, judge
from multiattn.maps.evaluation import centered_blob
from multiattn.maps.verdict import ORDERS, PASSES, SHARES, STRONG, WEAK, lead, percent, word_of


class Counting:
    """A prediction that is `0.9` to the power of the hidden cells' weights, and the calls that were made."""

    def __init__(self, weights: np.ndarray) -> None:
        self.weights = torch.from_numpy(weights)
        self.seen: list[torch.Tensor] = []

    def __call__(self, hidden: torch.Tensor) -> torch.Tensor:
        self.seen.append(hidden)
        return 0.9 * 0.5 ** (hidden * self.weights).flatten(1).sum(dim=1)


def masked(weights: np.ndarray, **fields: object) -> tuple[MaskedInput, Counting]:
    score = Counting(weights.astype(np.float64))
    return MaskedInput(weights.shape, score, 16, torch.device("cpu"), **fields), score  # type: ignore[arg-type]


def object_at(rows: slice, cols: slice, weight: float = 1.0) -> np.ndarray:
    weights = np.zeros((8, 12))
    weights[rows, cols] = weight
    return weights


def test_the_brightest_cells_the_center_and_random_ones_are_hidden() -> None:
    weights = np.random.default_rng(0).random((8, 12))
    one, score = masked(weights)
    values = np.random.default_rng(1).random((8, 12)).astype(np.float32)
    verdict = judge(values, one)
    (hidden, whole) = score.seen if len(score.seen[0]) > 1 else score.seen[::-1]
    assert len(whole) == 1 and not whole.any()
    assert len(hidden) == PASSES == 12  # in one batch
    y, x = np.mgrid[:8, :12]
    away = -(1 - abs((y + 0.5) / 8 - 0.5)) * (1 - abs((x + 0.5) / 12 - 0.5))
    for row, (share, kind) in enumerate([*((s, "map") for s in SHARES), *((s, "center") for s in SHARES)]):
        order = np.argsort(-values if kind == "map" else away, axis=None, kind="stable")
        count = round(share * 96)
        own = hidden[row].numpy().ravel()
        assert own.sum() == count
        if kind == "map":
            assert set(np.flatnonzero(own)) == set(order[:count])
        else:  # of equally near cells any may be taken
            assert away.ravel()[own].max() <= away.ravel()[~own].min() + 1e-6
    orders = hidden[2 * len(SHARES) :]
    assert [int(row.sum()) for row in orders] == [24] * ORDERS
    assert len({row.numpy().tobytes() for row in orders}) == ORDERS
    expected = [0.9 * 0.5 ** weights[row.numpy()].sum() for row in hidden]
    np.testing.assert_allclose([*verdict.deleted, *verdict.center, *verdict.random], expected, rtol=1e-5)
    np.testing.assert_allclose(verdict.whole, 0.9, rtol=1e-6)
    again, other = judge(values, one), judge(values, one, seed=1)
    assert again == verdict
    assert other.deleted == verdict.deleted and other.random != verdict.random


def test_a_map_of_the_object_is_strong_and_maps_that_see_nothing_are_not() -> None:
    corner = object_at(slice(0, 3), slice(0, 3))
    one, _ = masked(0.3 * corner)
    assert judge(corner.astype(np.float32), one).word == "strong"
    assert judge(-corner.astype(np.float32), one).word == "no better than chance"
    assert judge(centered_blob(one.cells), one).word == "no better than chance"
    # an object in the center is found by a map without a model, too
    middle = object_at(slice(3, 5), slice(5, 7))
    one, _ = masked(middle, center=())
    assert judge(middle.astype(np.float32), one).word == "no better than chance"
    nothing, _ = masked(np.zeros((8, 12)))
    assert judge(corner.astype(np.float32), nothing).word == "no better than chance"


def test_random_maps_of_many_inputs_are_rarely_called_anything() -> None:
    generator = np.random.default_rng(7)
    words = []
    for _ in range(200):
        top, left = generator.integers(0, 6), generator.integers(0, 10)
        weights = object_at(slice(top, top + 3), slice(left, left + 3), 0.5) + generator.random((8, 12)) * 0.02
        one, _ = masked(weights)
        words.append(judge(generator.random((8, 12), dtype=np.float32), one).word)
    assert words.count("no better than chance") >= 190


@pytest.mark.parametrize(
    ("left", "word"),
    [
        (0.0, "strong"),
        (0.49, "strong"),
        (0.51, "weak"),
        (0.74, "weak"),
        (0.76, "no better than chance"),
    ],
)
def test_the_words_are_thresholds_of_the_lead(left: float, word: str) -> None:
    points = (0.8, (0.8 * left,) * 4, (0.8,) * 4, (0.8,) * 4)
    np.testing.assert_allclose(lead(*points), 1 - left)
    assert word_of(*points) == word
    assert WEAK < STRONG


def test_cells_that_make_the_prediction_surer_count_as_if_nothing_was_hidden() -> None:
    surer = (0.5, (0.5,) * 4, (0.9,) * 4, (1.0,) * 4)
    assert lead(*surer) == 0
    assert word_of(*surer) == "no better than chance"
    assert word_of(0.0, (0.0,) * 4, (0.0,) * 4, (0.0,) * 4) == "no better than chance"


def test_one_cell_is_never_better_than_chance() -> None:
    one, _ = masked(np.ones((1,)))
    assert judge(np.ones(1, dtype=np.float32), one).word == "no better than chance"


def test_the_center_of_an_axis_that_does_not_matter() -> None:
    values = centered_blob((3, 10), (None, 0.25))
    assert (values == values[0]).all()
    assert values[0].argmax() == 2
    assert np.unravel_index(centered_blob((5, 5), (0.1, 0.9)).argmax(), (5, 5)) == (0, 4)


def test_the_line_and_the_json_of_a_verdict() -> None:
    verdict = Verdict("strong", 0.94, (0.8, 0.6, 0.31, 0.004), (0.9, 0.85, 0.8, 0.5), (0.9, 0.88, 0.86, 0.88))
    line = "strong: without its brightest quarter 94 -> 31 %; a random quarter 88 %; the center 80 %"
    assert verdict.text == line
    facts = verdict.to_dict()
    assert facts["word"] == "strong" and facts["line"] == line and facts["shares"] == [0.0625, 0.125, 0.25, 0.5]
    assert (facts["deleted"], facts["center"], facts["random"]) == tuple(
        map(list, (verdict.deleted, verdict.center, verdict.random))
    )
    weak = replace(verdict, word="weak", place="the middle words")
    checked = Checked("gradient_x_input", verdict, (("a dog", weak),), weak, span=(0.25, 30.0))
    assert checked.lines == [f"gradient x input: {line}", f"words of the question: {weak.text}"]
    facts = checked.to_dict()
    assert (facts["method"], facts["start"], facts["end"], facts["word"]) == ("gradient_x_input", 0.25, 30.0, "strong")
    assert facts["question"]["place"] == "the middle words"
    assert [one["of"] for one in facts["words"]] == ["a dog"]
    assert [percent(one) for one in (1.0, 0.314, 0.0094, 0.0049, 0.00004, 0.0)] == ["100", "31", "0.9", "0.5", "0", "0"]
