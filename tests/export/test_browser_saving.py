"""What a reader takes from a page: numbers, pictures, a sheet of paper; and what is taken out of it, sinks."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from multiattn.export import PagePicture, PageWord, write_page
from multiattn.export.page_tokens import tokens_data
from multiattn.inputs import Geometry
from multiattn.maps.attention_map import AttentionMap, Axis
from multiattn.maps.sinks import without_sinks
from tests.benchmarks.pages import large_picture
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


def test_what_the_model_did_not_see_is_dark_in_the_saved_picture(visit, tmp_path):
    white = Image.new("RGB", (640, 320), (255, 255, 255))
    middle = Geometry(source_size=(320, 640), resized_size=(320, 640), crop=(0, 160, 320, 320))
    even = picture_map(np.ones((4, 4)), middle)  # has no color
    write_page(tmp_path / "page.html", pictures=[PagePicture(white, "white.png", [("a", 0.5)], [even])], title="white")
    png = Image.open(io.BytesIO(saved(visit(tmp_path / "page.html"), "PNG")[1])).convert("L")
    pixels = np.asarray(png, dtype=float)[:, 24 : 24 + 640]
    rows = np.flatnonzero((pixels[:, :100] < 100).all(axis=1))
    assert len(rows) == pytest.approx(320, abs=2)
    inside = pixels[rows[10] : rows[-10]]
    np.testing.assert_allclose(inside[:, 5:155], 0.3 * 255, atol=3)
    np.testing.assert_allclose(inside[:, 485:635], 0.3 * 255, atol=3)
    assert inside[:, 165:475].min() > 0.3 * 255 + 30


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


# --- attention from patch to patch ---

PREFIX = ("class token", "register 1")
TOKENS = _RANDOM.random((LAYERS, HEADS, 2 + ROWS * COLUMNS, 2 + ROWS * COLUMNS)) ** 4
TOKENS /= TOKENS.sum(axis=-1, keepdims=True)


def token_attention_map() -> AttentionMap:
    labels = PREFIX + tuple(f"row {y + 1}, column {x + 1}" for y in range(ROWS) for x in range(COLUMNS))
    axes = (
        Axis("layer", "index"),
        Axis("head", "index"),
        *(Axis(name, "token", labels=labels) for name in ("query", "key")),
    )
    return AttentionMap(
        TOKENS.astype(np.float32), axes, "self_attention", ("blocks.0.self", "blocks.1.self"), None, None, None
    )


@pytest.fixture(scope="module")
def tokens_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    fox = Image.new("RGB", (211, 127), (90, 120, 90))
    one = picture_map(WORDS[0], whole(fox))
    picture = PagePicture(fox, "fox.jpg", [("fox", 0.5)], [one], sinks=SINKS, tokens=token_attention_map())
    path = tmp_path_factory.mktemp("page") / "page.html"
    write_page(path, pictures=[picture], title="fox.jpg")
    return path


def token_values(token: int, layer: int, head: int, *, to: bool) -> np.ndarray:
    """What the page shows: rows in 255 steps from 0 to their highest value; head 0 is the mean."""
    highest = TOKENS.max(axis=-1, keepdims=True)
    known = np.round(TOKENS / highest * 255) * highest / 255
    of_layer = known[layer].mean(axis=0) if head == 0 else known[layer, head - 1]
    return (of_layer[2:, token] if to else of_layer[token, 2:]).reshape(ROWS, COLUMNS)


def highest(values: np.ndarray) -> list[str]:
    return expected(values, *(int(i) for i in np.unravel_index(values.argmax(), values.shape)))


@pytest.mark.slow
def test_a_patch_is_clicked_to_see_where_it_looks_and_who_looks_at_it(visit, tokens_path):
    page = visit(tokens_path)
    assert not page.locator("#tokens").is_visible() and not page.locator("#token").is_visible()
    choose(page, "patch to patch")
    first = int(WORDS[0].argmax())  # the patch that was read last
    assert readout(page) == highest(token_values(2 + first, 1, 0, to=False))
    box = page.locator("#map").bounding_box()
    for row, column in ((1, 2), (4, 6)):
        page.mouse.click(
            box["x"] + (column + 0.5) * box["width"] / COLUMNS, box["y"] + (row + 0.5) * box["height"] / ROWS
        )
        token = 2 + row * COLUMNS + column
        page.mouse.move(0, 0)
        assert page.locator("#token-text").inner_text() == f"Shown for: row {row + 1}, column {column + 1}."
        for way, to in (("who looks at it", True), ("where it looks", False)):
            choose(page, way)
            for layer in range(LAYERS):
                for head in range(HEADS + 1):
                    page.get_by_label("Layer", exact=True).fill(str(layer))
                    page.get_by_label("Head", exact=True).fill(str(head))
                    assert readout(page) == highest(token_values(token, layer, head, to=to))
        mark = page.locator("#token").bounding_box()
        assert mark["x"] == pytest.approx(box["x"] + column * box["width"] / COLUMNS, abs=1)
    page.get_by_role("button", name="class token").click()
    assert readout(page) == highest(token_values(0, 1, 3, to=False)) and not page.locator("#token").is_visible()
    choose(page, "relevance")
    assert not page.locator("#tokens").is_visible()
    page.mouse.click(box["x"] + 3, box["y"] + 3)  # reads a patch as ever
    assert page.locator("#methods input:checked + span").inner_text() == "relevance"


def test_a_patch_is_chosen_by_keyboard_linked_to_and_saved(visit, tokens_path):
    page = visit(tokens_path, "#map=patch%20to%20patch&layer=0&head=2&token=9&way=to")
    values = token_values(9, 0, 3, to=True)
    assert readout(page) == highest(values)
    assert page.get_by_label("who looks at it").is_checked()
    page.locator("#stage").focus()
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    token = 2 + int(values.argmax())
    assert readout(page) == highest(token_values(token, 0, 3, to=True))
    page.wait_for_function(f"() => location.hash === '#map=patch%20to%20patch&layer=0&head=2&token={token}&way=to'")
    with np.load(io.BytesIO(saved(page, "npz")[1])) as found:
        np.testing.assert_allclose(
            found["values"],
            [[token_values(token, layer, head + 1, to=True) for head in range(HEADS)] for layer in range(LAYERS)],
            atol=1e-6,
        )


def test_what_does_not_fit_is_left_out_and_said(visit, tmp_path, photo, monkeypatch):
    tokens, size = token_attention_map(), len(PREFIX) + ROWS * COLUMNS
    texts = []
    for most in (10**6, 3 * size**2, 3 * size**2 // 2, 100):
        monkeypatch.setattr("multiattn.export.page_tokens.MOST_OF_TOKENS", most)
        data, left_out = tokens_data(tokens, (ROWS, COLUMNS))
        texts.append((data and (len(data["layers"]), data["heads"], len(data["steps"]) <= most), left_out[:70]))
    assert texts == [
        ((2, 3, True), ""),
        ((2, 0, True), "From patch to patch this page has the mean of the heads, of all layers"),
        ((1, 0, True), "From patch to patch this page has the mean of the heads, of 1 of 2 lay"),
        (None, "The attention from patch to patch is not on this page: the 1,369 numbe"),
    ]
    monkeypatch.setattr("multiattn.export.page_tokens.MOST_OF_TOKENS", 3 * size**2 // 2)
    picture = PagePicture(photo, "fox.jpg", [], [picture_map(WORDS[0], whole(photo))], tokens=tokens)
    write_page(tmp_path / "page.html", pictures=[picture], title="fox.jpg")
    page = visit(tmp_path / "page.html", "#map=patch%20to%20patch&token=0")
    assert not page.get_by_label("Head", exact=True).is_visible()
    assert "the mean of the heads, of 1 of 2 layers" in page.locator("#left-out").inner_text()
    mean = TOKENS[1].mean(axis=0)
    values = np.round(mean / mean.max(axis=-1, keepdims=True) * 255) * mean.max(axis=-1, keepdims=True) / 255
    assert readout(page) == highest(values[0, 2:].reshape(ROWS, COLUMNS))


@pytest.mark.slow
def test_a_page_as_large_as_that_of_blip_base_is_small(visit, tmp_path):
    write_page(tmp_path / "page.html", pictures=[large_picture(tokens=True)], title="photo.jpg")
    assert (tmp_path / "page.html").stat().st_size < 4_000_000
    page = visit(tmp_path / "page.html")
    assert page.get_by_label("layer and head", exact=True).count() == 1  # nothing was left out but heads of patches
    assert "the mean of the heads" in page.locator("#left-out").inner_text()


def test_tokens_that_do_not_fit_the_maps_are_named(photo):
    one = picture_map(np.ones((7, 11)), whole(photo))
    with pytest.raises(
        ValueError, match="`tokens` must be self-attention among at least the 77 patches of the maps, .* 37"
    ):
        PagePicture(photo, "fox.jpg", [], [one], tokens=token_attention_map())
    with pytest.raises(ValueError, match=r"`tokens` must be self-attention, but is \('y', 'x'\) instead"):
        PagePicture(photo, "fox.jpg", [], [one], tokens=one)
