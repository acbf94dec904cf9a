"""What a reader takes from a page: numbers, pictures, a sheet of paper; and what is taken out of it, sinks."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from multiattn.export import PagePicture, PageWord, write_page
from multiattn.maps.sinks import without_sinks
from tests.export.pictures import picture_map, stored, whole, words_map
from tests.export.test_browser import canvas, choose, expected, readout
from tests.export.test_page import stack

pytestmark = pytest.mark.browser

TEXTS = ("a", " fox")
ROWS, COLUMNS, LAYERS, HEADS = 5, 7, 2, 3
_RANDOM = np.random.default_rng(37)
WORDS = _RANDOM.random((2, ROWS, COLUMNS))
STACK = _RANDOM.random((LAYERS, HEADS, 2, ROWS, COLUMNS))
SINKS = ((0, 0), (4, 6))
CORNERS = _RANDOM.random((ROWS, COLUMNS))
CORNERS[tuple(np.array(SINKS).T)] = 7.0


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of a caption, and of a class whose maps have sinks."""
    fox = Image.fromarray(np.random.default_rng(3).integers(0, 256, (127, 211, 3), dtype=np.uint8))
    maps = [words_map(WORDS - 0.5, TEXTS, whole(fox)), words_map(STACK, TEXTS, whole(fox))]
    one = picture_map(CORNERS, whole(fox))
    pictures = [
        PagePicture(fox, "red/fox.jpg", (), maps, [PageWord(text) for text in TEXTS]),
        PagePicture(fox, "cat.jpg", [("cat", 0.5)], [one, stack(fox, STACK[:, :, 0])], sinks=SINKS),
    ]
    path = tmp_path_factory.mktemp("page") / "page.html"
    write_page(path, pictures=pictures, title="Where the model looked")
    return path


def saved(page, kind: str) -> tuple[str, bytes]:
    with page.expect_download() as download:
        page.get_by_label(f"Save as {kind}", exact=True).click()
    return download.value.suggested_filename, Path(download.value.path()).read_bytes()


def test_numpy_reads_the_numbers_of_the_page(visit, path):
    page = visit(path)
    name, content = saved(page, "npz")
    assert name == "red_fox attention.npz"
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None and archive.namelist() == ["values.npy"]
    with np.load(io.BytesIO(content)) as found:
        values = found["values"]
    assert values.dtype == np.float32 and values.shape == WORDS.shape
    np.testing.assert_allclose(values, WORDS - 0.5, atol=2e-5)
    choose(page, "layer and head")
    with np.load(io.BytesIO(saved(page, "npz")[1])) as found:
        np.testing.assert_allclose(found["values"], stored(STACK), atol=1e-5)


def test_the_picture_that_is_saved_is_the_one_on_the_page(visit, path):
    page = visit(path, "#picture=2")
    choose(page, "patches")
    name, content = saved(page, "PNG")
    assert name == "cat relevance.png"
    png = Image.open(io.BytesIO(content)).convert("RGB")
    pixels = np.asarray(png, dtype=int)
    # the brightest color lies over the two highest patches, and nowhere else in the picture
    warm = (pixels[..., 0] > 200) & (pixels[..., 1] > 200) & (pixels[..., 2] < 190) & (np.ptp(pixels, axis=2) > 60)
    scale = 640 / 211
    top = next(y for y in range(len(pixels)) if (pixels[y, 24 : 24 + 640] < 250).any(axis=1).mean() > 0.9)
    width, height = 640 / COLUMNS, 127 * scale / ROWS
    for row, column in np.ndindex(ROWS, COLUMNS):
        y, x = int(top + (row + 0.5) * height), int(24 + (column + 0.5) * width)
        near = warm[y - 15 : y + 15, x - 15 : x + 15].mean()
        assert (near > 0.5) == ((row, column) in SINKS), (row, column)
    assert png.width > 640 and png.height > 127 * scale + 100  # and words around it


def test_sinks_are_named_and_taken_out_as_in_python(visit, path):
    page = visit(path)
    assert not page.locator("#sinks").is_visible()
    page.get_by_label("Next picture").click()
    said = page.locator("#sinks-text").inner_text()
    assert said.startswith("Sinks: 2 patches (row 1, column 1; row 5, column 7) that most others attend to")
    assert readout(page) == expected(CORNERS, 0, 0)[:3] + ["rank 1 of 35", "row 1, column 1"]
    before = canvas(page)
    page.get_by_label("Take out sinks").check()
    values = without_sinks(picture_map(CORNERS, None), SINKS).values.astype(np.float64)
    row, column = (int(i) for i in np.unravel_index(values.argmax(), values.shape))
    assert readout(page) == expected(values, row, column)
    assert (canvas(page) != before).any()
    page.wait_for_function("() => location.hash.endsWith('sinks=out')")
    again = visit(path, page.evaluate("location.hash"))
    assert again.get_by_label("Take out sinks").is_checked() and readout(again) == expected(values, row, column)
    again.get_by_label("Take out sinks").uncheck()
    assert (canvas(again) == before).all()


def test_the_small_maps_are_chosen_by_keyboard_and_have_one_scale_or_each_its_own(visit, path):
    page = visit(path, "#picture=2&map=layer%20and%20head&layer=0&head=mean")
    page.locator("#atlas").focus()
    for key, origin in (
        ("ArrowDown", "layer 0 · head 0"),
        ("ArrowRight", "layer 1 · head 0"),
        ("ArrowRight", "layer 1 · head 0"),
        ("ArrowUp", "layer 1 · mean of heads"),
    ):
        page.keyboard.press(key)
        assert page.locator("#origin").inner_text() == origin
    assert page.locator("#atlas-layers span").all_inner_texts() == ["0", "1"]
    assert page.locator("#atlas-heads span").all_inner_texts() == ["mean", "0", "1", "2"]
    of_tiles = "document.getElementById('tiles').toDataURL()"
    own = page.evaluate(of_tiles)
    choose(page, "one scale for all")
    assert page.evaluate(of_tiles) != own
    choose(page, "each its own scale")
    assert page.evaluate(of_tiles) == own


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_prints_on_one_sheet(visit, path, scheme):
    for fragment in ("#word=2", "#picture=2&map=relevance&sinks=out"):
        page = visit(path, fragment, color_scheme=scheme)
        sheet = page.pdf(format="A4", print_background=True)
        assert sheet.count(b"/Type /Page\n") == 1
        page.emulate_media(media="print")
        for hidden in ("#keys", "#save", "#drawn", "#overview", "#previous"):
            assert not page.locator(hidden).is_visible()
        for shown in ("#map", "#bar", "#origin", "#methods input:checked + span", "#spread"):
            assert page.locator(shown).is_visible(), shown
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
