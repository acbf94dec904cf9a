from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from multiattn.export import blend
from multiattn.export.heatmap import interpolate, layers, palette
from multiattn.inputs import Geometry
from tests.export.pictures import Salient, picture_map, time_map, whole


def muted(picture):
    return np.asarray(ImageEnhance.Color(picture).enhance(0.4), dtype=np.float32)


def surface_at(values, y, x):
    """The naive oracle: Catmull-Rom through the values, read at one place in cells; the outer cells go on."""

    def cubic(p0, p1, p2, p3, t):
        return p1 + 0.5 * t * (p2 - p0 + t * (2 * p0 - 5 * p1 + 4 * p2 - p3 + t * (3 * (p1 - p2) + p3 - p0)))

    def along(line, at):
        first = int(np.floor(at - 0.5))
        return cubic(*(line[min(max(first + k, 0), len(line) - 1)] for k in (-1, 0, 1, 2)), at - 0.5 - first)

    return along([along(row, x) for row in values], y)


def test_interpolation_is_the_naive_one():
    values = np.random.default_rng(5).random((5, 7))
    rows, columns = np.linspace(0, 5, 23), np.linspace(0, 7, 29)
    naive = np.array([[surface_at(values, y, x) for x in columns] for y in rows])
    np.testing.assert_allclose(
        interpolate(values, rows, columns), np.clip(naive, values.min(), values.max()), atol=1e-12
    )
    centers = interpolate(values, np.arange(5) + 0.5, np.arange(7) + 0.5)
    np.testing.assert_allclose(centers, values, atol=1e-12)


def test_palette_starts_clear_and_grows_denser_and_brighter():
    colors = palette().astype(int)
    assert colors.shape == (256, 4)
    assert colors[0, 3] == 0
    assert (np.diff(colors[:, 3]) >= 0).all() and colors[-1, 3] < 255
    luminance = colors[::5, :3] @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(luminance) > 0).all()


def test_blend_is_exact_in_every_pixel(photo):
    # the crop ends within source pixels: from x = 13.9 to 46.3, so that the centers of 14 to 45 lie inside
    geometry = Geometry(source_size=(43, 61), resized_size=(56, 79), crop=(0, 18, 56, 42))
    values = np.random.default_rng(7).random((5, 7)).astype(np.float32)
    left, top, right, bottom = geometry.source_box()
    shares = (values.astype(np.float64) - values.min()) / (float(values.max()) - float(values.min()))
    base, expected = muted(photo), np.zeros((43, 61, 3))
    for y in range(43):
        for x in range(61):
            if left <= x + 0.5 < right and top <= y + 0.5 < bottom:
                share = surface_at(shares, (y + 0.5 - top) / (bottom - top) * 5, (x + 0.5 - left) / (right - left) * 7)
                *color, alpha = palette()[round(255 * min(1, max(0, share)))] / 255
                expected[y, x] = base[y, x] * (1 - alpha) + np.array(color) * alpha * 255
            else:
                expected[y, x] = base[y, x] * 0.3
    expected[:, [13, 46]] = 255  # the frame, on the dimmed side; none along the rim of the picture
    blended = np.asarray(blend(photo, picture_map(values, geometry)))
    np.testing.assert_allclose(blended, expected, atol=0.51)


def test_map_that_is_the_same_everywhere_shows_the_picture(photo):
    blended = blend(photo, picture_map(np.full((5, 7), 0.2), whole(photo)))
    np.testing.assert_array_equal(np.asarray(blended), np.round(muted(photo)))


def test_hottest_pixel_lies_on_the_salient_patch(salient):
    blended = np.asarray(blend(salient.picture, salient.map), dtype=int)
    assert blended.shape == (salient.picture.height, salient.picture.width, 3)
    # heat is yellow: red above blue, which neither the gray picture nor the white frame has
    warm = blended[..., 0] - blended[..., 2]
    y, x = np.unravel_index(warm.argmax(), warm.shape)
    left, top, right, bottom = salient.box
    assert left <= x < right and top <= y < bottom
    # and it is the same in a scaled copy
    half = salient.picture.resize((salient.picture.width // 2, salient.picture.height // 2))
    small = np.asarray(blend(half, salient.map), dtype=int)
    y, x = np.unravel_index((small[..., 0] - small[..., 2]).argmax(), small.shape[:2])
    assert left <= 2 * x + 1 < right and top <= 2 * y + 1 < bottom


def test_nothing_is_dimmed_or_framed_where_the_input_was_padded(photo):
    padded = Geometry(source_size=(43, 61), resized_size=(43, 61), crop=(-9, -1, 61, 63))
    blended = blend(photo, picture_map(np.full((5, 7), 0.2), padded))
    np.testing.assert_array_equal(np.asarray(blended), np.round(muted(photo)))


def test_blend_takes_pictures_of_any_mode(photo):
    attention_map = picture_map(np.eye(5), whole(photo))
    assert blend(photo.convert("RGBA"), attention_map).tobytes() == blend(photo, attention_map).tobytes()
    assert blend(photo.convert("L"), attention_map).mode == "RGB"


def test_blend_names_what_does_not_fit(photo):
    values = np.ones((5, 7))
    with pytest.raises(ValueError, match="`picture` must be the map's source, 61 x 43 pixels, .* but is 43 x 61 inst"):
        blend(Image.new("RGB", (43, 61)), picture_map(values, whole(photo)))
    with pytest.raises(ValueError, match="`geometry` of the map must say where it lies in the picture, but is None"):
        blend(photo, picture_map(values, None))
    with pytest.raises(ValueError, match=r"must have the axes \('y', 'x'\), but has \('token', 'time'\) instead"):
        blend(photo, time_map())


@pytest.mark.parametrize("signed", [False, True])
def test_layers_are_what_is_blended(salient: Salient, signed: bool) -> None:
    one = replace(salient.map, values=salient.map.values - 0.1 * signed)
    below, over = layers(salient.picture, one)
    assert (below.mode, over.mode) == ("RGB", "RGBA")
    laid = Image.alpha_composite(below.convert("RGBA"), over).convert("RGB")
    found = np.abs(np.asarray(laid, dtype=int) - np.asarray(blend(salient.picture, one), dtype=int))
    assert found.max() <= 2  # rounded twice
    other, _ = layers(salient.picture, replace(one, values=one.values**2))
    assert other.tobytes() == below.tobytes()
