"""The statistics of map methods, against plain float64 versions of the same definitions."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from multiattn.errors import ModelError
from multiattn.maps.evaluation import Measured, centered_blob, evaluate, interval, random_map, spearman
from multiattn.maps.masking import MaskedInput
from multiattn.maps.measuring import RANDOMIZED_ITEMS, Explained, Measurement
from multiattn.maps.randomization import blocks_of, randomized_models
from tests.fixtures import tiny_answer_bundle, tiny_bundle, tiny_caption_bundle


def naive_ranks(values):
    return [sum(other < one for other in values) + (sum(other == one for other in values) - 1) / 2 for one in values]


@pytest.mark.parametrize(("size", "levels"), [(2, 99), (13, 99), (31, 3), (7, 2)])
def test_spearman_is_the_correlation_of_ranks(size, levels):
    drawn = np.random.default_rng(size + 1)
    a, b = (drawn.integers(levels, size=size).astype(np.float32) for _ in range(2))
    x, y = naive_ranks(a.tolist()), naive_ranks(b.tolist())
    mean = (size - 1) / 2
    covariance = math.fsum((p - mean) * (q - mean) for p, q in zip(x, y, strict=True))
    spread = math.sqrt(math.fsum((p - mean) ** 2 for p in x) * math.fsum((q - mean) ** 2 for q in y))
    assert spearman(a, b) == pytest.approx(covariance / spread, abs=1e-12)
    assert spearman(a, 3 * a + 1) == pytest.approx(1) and spearman(a, -a) == pytest.approx(-1)


def test_an_even_map_is_like_no_other():
    assert spearman(np.ones((3, 5)), np.arange(15.0).reshape(3, 5)) == 0.0


def test_the_interval_holds_the_mean_and_narrows_as_the_items_do():
    drawn = np.random.default_rng(5)
    values = drawn.normal(0.3, 0.2, size=211)
    found = interval(values, seed=3)
    assert found.mean == pytest.approx(math.fsum(values.tolist()) / 211)
    # of 211 items the percentile interval is that of the normal distribution, but for the resampling's noise
    error = 1.96 * values.std() / math.sqrt(211)
    assert found.low == pytest.approx(found.mean - error, abs=0.1 * error)
    assert found.high == pytest.approx(found.mean + error, abs=0.1 * error)
    assert interval(values, seed=3) == found != interval(values, seed=4)
    assert interval(np.full(11, 0.25)) == (0.25, 0.25, 0.25)


def test_nine_items_have_no_interval():
    with pytest.raises(ModelError, match="`values` must be of at least 10 items, but is 9 instead"):
        interval(np.arange(9.0))


def test_a_blob_falls_from_its_center():
    blob = centered_blob((3, 5))
    assert np.argwhere(blob == blob.max()).tolist() == [[1, 2]]
    np.testing.assert_allclose(blob, blob[::-1, ::-1])
    assert all(a > b for a, b in pairwise(blob[1, 2:]))
    assert centered_blob((1, 7), (0.5, 0.9)).argmax() == 6
    even = centered_blob((2, 4))
    assert (even == even.max()).sum() == 4


def test_pairs_and_order():
    """Areas of 0.5, 0.2 and 0 on every item, but one item on which the last two are equal."""
    hidden = np.full(10, 0.25)
    third = hidden.copy()
    third[3] = 0.45
    measured = {
        "low": Measured(third, hidden),
        "high": Measured(hidden + 0.5, hidden),
        "random": Measured(hidden + 0.2, hidden),
    }
    found = evaluate(measured, other_label={"high": [0.5, 1.0]}, pointing={"random": [0.0, 0.5]})
    assert list(found.scores) == ["high", "random", "low"] and found.first == "high" and found.items == 10
    assert found.scores["high"].area == pytest.approx((0.5, 0.5, 0.5))
    assert (found.scores["high"].insertion, found.scores["high"].deletion) == pytest.approx((0.75, 0.25))
    assert (found.scores["high"].other_label, found.scores["high"].pointing) == (0.75, None)
    assert (found.scores["random"].other_label, found.scores["random"].pointing) == (None, 0.25)
    assert [(one.method, one.other) for one in found.pairs] == [("high", "random"), ("high", "low"), ("random", "low")]
    assert [one.wins for one in found.pairs] == pytest.approx([1, 1, 0.95])
    assert found.pairs[1].difference.mean == pytest.approx(0.48)


def test_methods_of_other_items_are_refused():
    some, more = (Measured(np.ones(count), np.zeros(count)) for count in (10, 11))
    with pytest.raises(ModelError, match="`b` must be one for each of 10 items, but are 11"):
        evaluate({"a": some, "b": more})


# --- shuffled weights ---


def test_blocks_lose_their_weights_from_the_top():
    bundle = tiny_caption_bundle()
    before = {name: value.clone() for name, value in bundle.model.state_dict().items()}
    names = [name for name, _ in blocks_of(bundle.model)]
    assert names == [*(f"encoder.blocks.{i}" for i in range(3)), *(f"decoder.blocks.{i}" for i in range(2))]
    for count, model in enumerate(randomized_models(bundle.model), start=1):
        gone = tuple(f"{name}." for name in names[-count:])
        for name, value in model.state_dict().items():
            assert torch.equal(value.flatten().sort().values, before[name].flatten().sort().values), name
            is_same = torch.equal(value, before[name])
            assert is_same != name.startswith(gone), name
    assert count == len(names)
    assert all(torch.equal(value, before[name]) for name, value in bundle.model.state_dict().items())


def test_the_blocks_of_each_kind_of_model():
    assert [name for name, _ in blocks_of(tiny_bundle().model)] == ["blocks.0", "blocks.1", "blocks.2"]
    answerer = [name for name, _ in blocks_of(tiny_answer_bundle("decoder").model)]
    assert [name.split(".")[0] for name in answerer] == ["encoder"] * 3 + ["question"] * 3 + ["decoder"] * 2


def test_the_same_seed_shuffles_alike():
    model = tiny_bundle().model
    first, again, other = (next(randomized_models(model, seed=seed)).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


# --- measuring ---


def weighed(weights):
    """An input whose probability is the share of the weights that are not hidden."""
    weights = torch.as_tensor(weights, dtype=torch.float32)

    def score(hidden):
        return ((~hidden) * weights).flatten(1).sum(dim=1) / weights.sum()

    return MaskedInput(tuple(weights.shape), score, 64, torch.device("cpu"))


def naive_area(weights, values):
    """Insertion less deletion, at 17 points, of a probability that is a share of weights; in float64."""
    order = sorted(range(weights.size), key=lambda i: -values.ravel()[i])
    total, points = float(weights.sum()), 16
    shown = [
        math.fsum(float(weights.ravel()[i]) for place, i in enumerate(order) if place < step * weights.size / points)
        for step in range(points + 1)
    ]
    return math.fsum(2 * one / total - 1 for one in shown) / len(shown)


def measured(seed=0):
    """Forty inputs, a map that is the weights themselves, one that is not, and a model of three blocks."""
    drawn = np.random.default_rng(17)
    model = tiny_bundle().model
    measurement = Measurement(model, ("right", "wrong", "second block"), seed=seed)
    learned = model.blocks[1].attention.out.weight.clone()
    weights = [drawn.random((3, 5)) ** 3 for _ in range(40)]

    def explain(one, asked, method):
        if method == "second block":
            return one if torch.equal(asked.blocks[1].attention.out.weight, learned) else -one
        return -one if method == "wrong" else one

    for i, one in enumerate(weights):
        inside = np.zeros((3, 5), bool)
        inside.ravel()[one.argmax()] = True
        measurement.add(
            Explained(
                weighed(one),
                lambda asked, method, one=one: explain(one, asked, method),
                lambda asked, method, one=one: one[:, ::-1],
                inside if i % 2 else None,
            )
        )
    return measurement, weights


def test_areas_are_those_of_a_plain_version():
    measurement, weights = measured()
    found = measurement.result()
    for name, sign in (("right", 1), ("wrong", -1)):
        expected = math.fsum(naive_area(one, sign * one.astype(np.float32)) for one in weights) / 40
        assert found.scores[name].area.mean == pytest.approx(expected, abs=1e-6)
    assert found.first in ("right", "second block") and list(found.scores)[-1] == "wrong"
    assert found.scores["right"].pointing == 1 and found.scores["wrong"].pointing == 0
    assert found.scores["random"].pointing == pytest.approx(1 / 15)
    alike = [spearman(one, one[:, ::-1]) for one in weights]
    assert found.scores["right"].other_label == pytest.approx(np.mean(alike))


def test_a_random_order_says_nothing():
    """The area of an order and that of its reverse cancel: over both, it is 0, and over random ones nearly so."""
    found = measured()[0].result()
    assert found.scores["random"].area.low < 0 < found.scores["random"].area.high
    drawn = np.random.default_rng(3)
    order = random_map((3, 5), drawn)
    assert sorted(order.ravel().tolist()) == list(range(15))
    # 16 cells, as many as steps, so that both ways stop at the same places
    even = drawn.random((4, 4))
    order = random_map((4, 4), drawn)
    assert naive_area(even, order) + naive_area(even, -order) == pytest.approx(0, abs=1e-12)


def test_a_map_turns_where_the_block_that_it_depends_on_is_shuffled():
    measurement, _ = measured()
    assert measurement.num_blocks == 3
    steps = []
    found = measurement.result(lambda: steps.append(1))
    assert len(steps) == 3
    assert found.scores["right"].randomized == pytest.approx((1, 1, 1))
    assert found.scores["second block"].randomized == pytest.approx((1, -1, -1))
    assert found.scores["random"].randomized == ()


def test_the_checks_with_shuffled_weights_use_the_first_predictions():
    measurement, _ = measured()
    calls = []
    for i in range(5):
        explain = lambda asked, method, i=i: calls.append(i) or np.zeros((3, 5))  # noqa: E731
        measurement.add(Explained(weighed(np.ones((3, 5))), explain))
    calls.clear()
    measurement.result()
    assert not calls and RANDOMIZED_ITEMS < 40


def test_too_few_predictions_are_refused_before_the_slow_part():
    measurement = Measurement(tiny_bundle().model, ("a",))
    for _ in range(3):
        measurement.add(Explained(weighed(np.ones((2, 3))), lambda asked, method: np.zeros((2, 3))))
    with pytest.raises(ModelError, match="at least 10 items, but is 3"):
        measurement.result(lambda: pytest.fail("shuffled for nothing"))
