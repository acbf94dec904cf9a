import numpy as np
import pytest

from multiattn.errors import ModelError
from multiattn.maps.mean_map import mean_maps
from tests.export.pictures import picture_map


def test_each_map_counts_alike() -> None:
    random = np.random.default_rng(5)
    values = random.random((5, 3, 7)) * np.array([1, 50, 0.1, 1, 3]).reshape(-1, 1, 1)
    targets = ("fox", "cat", "fox", "cat", "fox")
    found = mean_maps(picture_map(one, None, target=target) for one, target in zip(values, targets, strict=True))
    assert [(one.map.target, one.count) for one in found] == [("fox", 3), ("cat", 2)]
    fox = sum(values[i] / values[i].sum() for i in (0, 2, 4)) / 3
    np.testing.assert_allclose(found[0].map.values, fox, rtol=1e-5)
    assert found[0].map.note.startswith("The mean of 3 maps, each divided by its sum.")
    signed = mean_maps([picture_map(values[0] - 0.5, None)])[0]
    np.testing.assert_allclose(signed.map.values, (values[0] - 0.5) / np.abs(values[0] - 0.5).sum(), rtol=1e-5)


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        ([], "`maps` must be at least one, but is 0 instead"),
        ([picture_map(np.ones((2, 3)), None, target=None)], "by a method that explains a label, but is 'relevance'"),
        (
            [picture_map(np.ones((2, 3)), None), picture_map(np.ones((2, 3)), None, method="other")],
            "`maps` must be all by relevance, but is 'other' instead",
        ),
        (
            [picture_map(np.ones((2, 3)), None), picture_map(np.ones((3, 2)), None)],
            r"`maps` must be all of the grid \(2, 3\), but is \(3, 2\) instead",
        ),
    ],
)
def test_maps_that_have_no_mean_are_named(maps, message) -> None:
    with pytest.raises(ModelError, match=message):
        mean_maps(maps)
