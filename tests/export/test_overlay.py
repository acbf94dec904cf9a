import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from multiattn.export import blend, overlay_png
from multiattn.export.canvas import Canvas, for_display, wrap
from tests.export.pictures import picture_map, whole


def read(path) -> np.ndarray:
    with Image.open(path) as png:
        assert png.format == "PNG"
        return np.asarray(png.convert("RGB"))


def find(part: np.ndarray, whole_picture: np.ndarray) -> tuple[int, int] | None:
    """Top and left of a picture within another, pixel for pixel."""
    height, width, _ = part.shape
    for top in range(whole_picture.shape[0] - height + 1):
        for left in range(min(60, whole_picture.shape[1] - width + 1)):
            if (whole_picture[top, left : left + 5] == part[0, :5]).all():
                if (whole_picture[top : top + height, left : left + width] == part).all():
                    return top, left
    return None


@pytest.mark.parametrize("size", [(701, 503), (401, 907)])
def test_png_holds_the_overlay_pixel_for_pixel(tmp_path, size):
    pixels = np.random.default_rng(11).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    attention_map = picture_map(np.random.default_rng(13).random((5, 7)), whole(picture))
    overlay_png(attention_map, picture, tmp_path / "new" / "map.png")
    png, blended = read(tmp_path / "new" / "map.png"), np.asarray(blend(picture, attention_map))
    assert find(blended, png) is not None
    # and room around it for heading, color bar and caption
    assert png.shape[0] > size[1] + 60 and png.shape[1] > size[0] + 90


def test_hottest_of_the_png_lies_on_the_salient_patch(tmp_path, salient):
    overlay_png(salient.map, salient.picture, tmp_path / "map.png")
    png = read(tmp_path / "map.png").astype(int)
    scale = 640 / max(salient.picture.size)
    resized = salient.picture.resize([round(side * scale) for side in salient.picture.size], Image.Resampling.LANCZOS)
    place = find(np.asarray(blend(resized, salient.map)), png.astype(np.uint8))
    assert place is not None
    top, left = place
    within = png[top : top + resized.height, left : left + resized.width]
    warm = within[..., 0] - within[..., 2]
    y, x = np.unravel_index(warm.argmax(), warm.shape)
    box = salient.box
    assert box[0] <= (x + 0.5) / scale < box[2] and box[1] <= (y + 0.5) / scale < box[3]


def test_large_sources_are_scaled_down_and_small_ones_up(tmp_path):
    for source, shown in [((4001, 3001), (1200, 900)), ((23, 31), (475, 640))]:
        picture = Image.new("RGB", source, (90, 90, 90))
        overlay_png(picture_map(np.eye(5, 7), whole(picture)), picture, tmp_path / "map.png")
        height, width, _ = read(tmp_path / "map.png").shape
        assert shown[0] < width < shown[0] + 300 and shown[1] < height < shown[1] + 200
    assert for_display(Image.new("L", (3001, 4001))).size == (900, 1200)
    assert for_display(Image.new("L", (23, 31))).size == (23, 31)
    assert for_display(Image.new("RGB", (20011, 2))).size == (1200, 1)


@pytest.mark.parametrize("values", [np.full((5, 7), 0.2), np.eye(7) * 1e-9, np.eye(5) * 1e9, np.ones((1, 1))])
def test_any_range_of_values_can_be_drawn(tmp_path, photo, values):
    overlay_png(picture_map(values, whole(photo)), photo, tmp_path / "map.png")
    assert read(tmp_path / "map.png").std() > 10


def test_a_flat_map_is_called_flat(tmp_path, photo, monkeypatch):
    written: list[str] = []
    monkeypatch.setattr(Canvas, "write", lambda self, text, *place, **style: written.append(text))
    for values, flat in ((np.full((14, 14), 1 / 196) + 1e-9 * np.eye(14), True), (np.eye(14), False)):
        written.clear()
        overlay_png(picture_map(values, whole(photo)), photo, tmp_path / "map.png")
        assert ("This map is flat: every patch" in " ".join(written)) is flat


def test_caption_is_drawn_as_it_stands(tmp_path, photo):
    attention_map = picture_map(np.eye(7), whole(photo))
    pictures = {}
    for caption in (None, "relevance for “tabby cat”", r"costs $5, not \frac{$9 %", "", "word " * 60):
        overlay_png(attention_map, photo, tmp_path / "map.png", caption=caption)
        pictures[caption] = read(tmp_path / "map.png")
    np.testing.assert_array_equal(pictures[None], pictures["relevance for “tabby cat”"])
    assert (pictures[r"costs $5, not \frac{$9 %"] != pictures[None]).any()
    assert len(pictures[""]) < len(pictures[None]) < len(pictures["word " * 60])


def test_wrap_keeps_every_word_within_the_room():
    assert wrap("", 100, size=10.0) == []
    assert wrap("one\ntwo  three", 1000, size=10.0) == ["one two three"]
    assert wrap("one two three", 1, size=10.0) == ["one", "two", "three"]
    narrow, wide = (wrap("the quick brown fox " * 5, room, size=10.0) for room in (100, 200))
    assert len(narrow) > len(wide) > 1
    assert " ".join(narrow) == ("the quick brown fox " * 5).strip()


def test_overlay_names_what_does_not_fit(tmp_path, photo):
    with pytest.raises(ValueError, match="`picture` must be the map's source"):
        overlay_png(picture_map(np.eye(7), whole(photo)), photo.rotate(90, expand=True), tmp_path / "map.png")
    assert not (tmp_path / "map.png").exists()


def test_drawing_leaves_pyplot_alone_and_importing_leaves_matplotlib_alone():
    code = (
        "import sys, multiattn.export.heatmap as h; assert 'matplotlib' not in sys.modules;"
        "h.palette(); assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
