import math

import numpy as np
import pytest

from multiattn.maps import AttentionMap, Axis
from multiattn.maps.concentration import FLAT_WITHIN, concentration, even_shares
from tests.export.pictures import picture_map, words_map


def naive(grid: list[float]) -> tuple[float, float, float]:
    """Entropy, share of the highest tenth and highest multiple of one grid, in plain Python."""
    whole = sum(abs(value) for value in grid)
    shares = sorted((abs(value) / whole for value in grid), reverse=True)
    entropy = -sum(share * math.log(share) for share in shares if share) / math.log(len(grid))
    tenth = shares[: math.ceil(len(grid) / 10)]
    return entropy, sum(tenth), max(grid) / (whole / len(grid))


def test_each_grid_is_measured_by_itself():
    values = np.random.default_rng(3).random((2, 3, 23)).astype(np.float32) ** 3
    values[1, 2, 5] = -2.0
    found = concentration(values)
    for i in range(2):
        for j in range(3):
            numbers = (found.entropy[i, j], found.top_tenth[i, j], found.highest[i, j])
            assert numbers == pytest.approx(naive(values[i, j].tolist()), abs=1e-6)
    assert not found.flat.any()


def test_the_ends_of_the_range():
    one, even, nothing = np.zeros(20, np.float32), np.full(20, 7e-9, np.float32), np.zeros(20, np.float32)
    one[3] = 5.0
    found = concentration(np.stack([one, even, nothing]))
    np.testing.assert_allclose(found.entropy, [0, 1, 1], atol=1e-12)
    np.testing.assert_allclose(found.top_tenth, [1, 0.1, 0.1], atol=1e-12)
    np.testing.assert_allclose(found.highest, [20, 1, 1], atol=1e-12)
    assert found.flat.tolist() == [False, True, True]
    np.testing.assert_array_equal(even_shares(nothing), 0)
    assert concentration(np.ones((1,), np.float32)).to_dict() == {
        "entropy": 1.0,
        "top_tenth": 1.0,
        "highest": 1.0,
        "flat": True,
    }


@pytest.mark.parametrize("values", [np.full((14, 14), 1 / 196), np.full((14, 14), 1 / 196) + 1e-9])
def test_an_even_map_with_noise_is_flat(values):
    noise = np.random.default_rng(5).normal(size=(14, 14)) * 1e-9
    assert picture_map(values + noise, None).is_flat


def test_a_map_is_flat_up_to_its_bound():
    for share, flat in ((0.9 * FLAT_WITHIN, True), (1.1 * FLAT_WITHIN, False)):
        for sign in (1, -1):
            values = np.full((10, 10), 1.0)
            values[4, 4] += sign * share
            assert picture_map(values, None).is_flat is flat
    assert not picture_map(np.array([[1.0, -1.0]]), None).is_flat


def test_cells_are_patches_or_moments():
    values = np.random.default_rng(7).random((3, 5, 7))
    words = words_map(values, ("a", "b", "c"), None)
    assert words.concentration.entropy.shape == (3,)
    np.testing.assert_allclose(words.even_shares, values / values.mean(axis=(1, 2), keepdims=True), rtol=1e-5)
    axes = (Axis("word", "word"), Axis("time", "second", step=0.02))
    speech = AttentionMap(values[0].astype(np.float32), axes, "attention", ("x",), None, None, None)
    np.testing.assert_allclose(speech.even_shares, values[0] / values[0].mean(axis=1, keepdims=True), rtol=1e-5)
    assert not speech.is_signed and words_map(values - 0.5, ("a", "b", "c"), None).is_signed
