import numpy as np
import pytest

from multiattn.export import blend
from multiattn.export.heatmap import palette, tinted
from multiattn.export.scale import Scale, times
from tests.export.pictures import picture_map, whole


def test_lowest_is_clear_and_highest_has_the_last_color():
    values = np.array([[0.0, 1.0], [2.0, 9.0]], np.float32)
    scale = Scale.of(values)
    assert (scale.low, scale.span, scale.even) == (0.0, 9.0, 3.0)
    np.testing.assert_allclose(scale.positions(values), values / 9)
    assert scale.ends == (0.0, 3.0) and not scale.flat and not scale.signed


def test_the_palette_spans_at_least_one_even_share():
    values = np.full((10, 10), 4.0, np.float32)
    values[0, 0] = 5.0  # a quarter of the even share more than the others
    scale = Scale.of(values)
    assert scale.positions(values).max() == pytest.approx(0.25, abs=0.01)
    assert scale.ends[1] - scale.ends[0] == pytest.approx(1.0)
    noise = np.full((14, 14), 1 / 196) + 1e-9 * np.random.default_rng(3).normal(size=(14, 14))
    assert np.abs(Scale.of(noise).positions(noise)).max() < 1e-5 and Scale.of(noise).flat


def test_a_map_of_nothing_is_clear():
    scale = Scale.of(np.zeros((3, 5), np.float32))
    assert scale.flat and scale.ends == (0.0, 0.0)
    np.testing.assert_array_equal(scale.positions(np.zeros((3, 5))), 0)


def test_values_below_zero_have_the_other_half():
    values = np.array([[-3.0, 0.0], [1.0, 0.0]], np.float32)
    scale = Scale.of(values)
    assert scale.signed and not scale.flat
    np.testing.assert_allclose(scale.positions(values), [[-1, 0], [1 / 3, 0]])
    assert scale.ends == (-3.0, 3.0)
    assert Scale.of(np.abs(values), signed=True).positions(values)[0, 1] == 0


def test_the_two_halves_have_other_hues_and_the_same_opacity():
    gray = np.full((1, 3), 128, np.float32)
    for position in (0.2, 0.6, 1.0):
        up, down = (tinted(gray, np.array([sign * position]), signed=True)[0] for sign in (1, -1))
        np.testing.assert_allclose(down, up[::-1], atol=1e-4)
        assert up[0] > up[2] + 10 * position  # red and yellow speak for, blue against
    assert (tinted(gray, np.zeros(1), signed=True) == gray).all()
    *color, alpha = palette(signed=True)[255].astype(float)
    np.testing.assert_allclose(
        tinted(gray, np.array([-1.0]), signed=True)[0],
        128 * (1 - alpha / 255) + np.array(color[::-1]) * alpha / 255,
        atol=1e-3,
    )


def test_a_flat_map_looks_flat(photo):
    noise = np.full((14, 14), 1 / 196) + 1e-9 * np.random.default_rng(3).normal(size=(14, 14))
    plain = blend(photo, picture_map(np.full((14, 14), 1.0), whole(photo)))
    assert np.abs(np.asarray(plain, int) - np.asarray(blend(photo, picture_map(noise, whole(photo))), int)).max() == 0


@pytest.mark.parametrize(
    ("multiple", "text"),
    [(12.4, "× 12"), (9.96, "× 10"), (1.94, "× 1.9"), (0.996, "× 1.0"), (0.206, "× 0.21"), (0.0, "× 0.00")],
)
def test_multiples_are_short(multiple, text):
    assert times(multiple) == text
    assert times(-multiple) == (text.replace("× ", "× −") if multiple else text)
