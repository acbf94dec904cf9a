"""The page as a reader has it: in Chromium, from the file system."""

import base64
import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from multiattn.export import IndexEntry, PagePicture, write_index, write_page
from multiattn.export import page as page_module
from multiattn.export.heatmap import palette, tinted
from multiattn.export.scale import Scale, times
from tests.export.pictures import CASES, make_salient, picture_map, stored, whole
from tests.export.test_page import NASTY, stack

pytestmark = pytest.mark.browser

ROWS, COLUMNS, LAYERS, HEADS = 5, 7, 2, 3
RELEVANCE = np.random.default_rng(19).permutation(ROWS * COLUMNS).reshape(ROWS, COLUMNS) / 1000
STACK = np.random.default_rng(23).random((LAYERS, HEADS, ROWS, COLUMNS))
LONG = "Reptiliomorpha" * 12


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of two pictures: a landscape with three maps, and a portrait with one and with long and nasty names."""
    landscape, portrait = Image.new("RGB", (211, 127), (90, 120, 90)), Image.new("RGB", (101, 173), (90, 90, 120))
    relevance = picture_map(RELEVANCE, whole(landscape), note="Bright patches spoke for the class.")
    rollout = picture_map(1 - RELEVANCE, whole(landscape), method="rollout", note="The same for every class.")
    pictures = [
        PagePicture(
            landscape,
            "landscape.jpg",
            [("fox", 0.625), ("dog", 0.25), ("cat", 0.0004), ("cow", 0.0)],
            [relevance, rollout, stack(landscape, STACK)],
        ),
        PagePicture(portrait, LONG, [(NASTY, 0.5), (LONG, 0.25)], [picture_map(RELEVANCE, whole(portrait))]),
    ]
    path = tmp_path_factory.mktemp("page") / "page.html"
    write_page(path, pictures=pictures, title="Where the model looked")
    return path


def canvas(page) -> np.ndarray:
    """RGBA of the map's canvas."""
    png = page.evaluate("document.getElementById('map').toDataURL()").split(",")[1]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(png))).convert("RGBA"))


def choose(page, name: str) -> None:
    page.get_by_label(name, exact=True).check()


def slide(page, name: str, value: int) -> None:
    page.get_by_label(name, exact=True).fill(str(value))


def point(page, row: int, column: int) -> None:
    box = page.locator("#map").bounding_box()
    x, y = box["x"] + (column + 0.5) * box["width"] / COLUMNS, box["y"] + (row + 0.5) * box["height"] / ROWS
    page.mouse.move(x, y)


def readout(page) -> list[str]:
    return page.locator("#readout > *").all_inner_texts()


def expected(values: np.ndarray, row: int, column: int) -> list[str]:
    value = values[row, column]
    rank = 1 + int((values > value).sum())
    share = f"{100 * value / values.sum():.1f} % of the map"
    number, place = f"{float(f'{value:.2e}'):g}", f"row {row + 1}, column {column + 1}"
    return [f"{times(value / values.mean())} even", number, share, f"rank {rank} of {values.size}", place]


def test_patches_have_the_colors_of_their_values(visit, path):
    page = visit(path)
    choose(page, "patches")
    pixels = canvas(page)
    size = pixels.shape[1] // COLUMNS
    shown = pixels[size // 2 :: size, size // 2 :: size].astype(int)  # the center of each patch
    steps = np.round(255 * (RELEVANCE - RELEVANCE.min()) / (RELEVANCE.max() - RELEVANCE.min())).astype(int)
    np.testing.assert_allclose(shown[..., 3], palette()[steps][..., 3], atol=1)  # a step is rounded twice
    # a canvas stores colors multiplied by their opacity: what is nearly clear comes back coarser
    dense = steps > 60
    np.testing.assert_allclose(shown[dense], palette()[steps][dense], atol=4)
    assert (pixels[:size, :size] == pixels[0, 0]).all()
    choose(page, "smooth")
    smooth = canvas(page)
    assert smooth.shape == pixels.shape and not (smooth[:size, :size] == smooth[0, 0]).all()
    np.testing.assert_allclose(smooth[size // 2 :: size, size // 2 :: size, 3].astype(int), shown[..., 3], atol=6)


def test_methods_layers_and_heads_change_the_map(visit, path):
    page = visit(path)
    assert not page.get_by_label("Layer", exact=True).is_visible()
    seen = [canvas(page)]
    assert page.locator("#note").inner_text() == "Bright patches spoke for the class."
    choose(page, "rollout")
    seen.append(canvas(page))
    assert page.locator("#note").inner_text() == "The same for every class."
    choose(page, "layer and head")
    for layer in range(LAYERS):
        for head in range(HEADS + 1):
            slide(page, "Layer", layer)
            slide(page, "Head", head)
            seen.append(canvas(page))
            values = stored(STACK[layer]).mean(axis=0) if head == 0 else stored(STACK[layer, head - 1])
            row, column = np.unravel_index(values.argmax(), values.shape)
            assert readout(page) == expected(values, row, column)
            name = "mean of heads" if head == 0 else f"head {head - 1}"
            assert page.locator("#origin").inner_text() == f"layer {layer} · {name}"
    assert len({pixels.tobytes() for pixels in seen}) == len(seen) == 2 + LAYERS * (HEADS + 1)


def test_the_overview_chooses_layer_and_head(visit, path):
    page = visit(path)
    assert not page.locator("#overview").is_visible()
    choose(page, "layer and head")
    box = page.locator("#atlas").bounding_box()
    page.locator("#atlas").click(position={"x": 0.5 * box["width"] / LAYERS, "y": 2.5 * box["height"] / (HEADS + 1)})
    assert page.locator("#origin").inner_text() == "layer 0 · head 1"
    assert page.get_by_label("Layer", exact=True).input_value() == "0"
    assert page.get_by_label("Head", exact=True).input_value() == "2"
    row, column = np.unravel_index(STACK[0, 1].argmax(), (ROWS, COLUMNS))
    assert readout(page) == expected(stored(STACK[0, 1]), row, column)
    tile, atlas = page.locator("#tile").bounding_box(), page.locator("#atlas").bounding_box()
    assert tile["x"] == pytest.approx(atlas["x"], abs=1)
    assert tile["y"] + tile["height"] / 2 == pytest.approx(atlas["y"] + 2.5 / (HEADS + 1) * atlas["height"], abs=3)


def test_pointing_reads_the_patch(visit, path):
    page = visit(path)
    for row, column in [(0, 0), (3, 5), (ROWS - 1, COLUMNS - 1)]:
        point(page, row, column)
        assert readout(page) == expected(RELEVANCE, row, column)
        page.wait_for_timeout(150)  # the cell glides
        cell, box = page.locator("#cell").bounding_box(), page.locator("#map").bounding_box()
        assert cell["x"] + cell["width"] / 2 == pytest.approx(box["x"] + (column + 0.5) * box["width"] / COLUMNS, abs=1)
        assert cell["y"] + cell["height"] / 2 == pytest.approx(box["y"] + (row + 0.5) * box["height"] / ROWS, abs=1)
    assert page.locator("#readout").get_attribute("aria-live") == "polite"


def test_tapping_reads_the_patch(visit, path):
    page = visit(path, has_touch=True, viewport={"width": 390, "height": 844})
    box = page.locator("#map").bounding_box()
    page.touchscreen.tap(box["x"] + 2.5 * box["width"] / COLUMNS, box["y"] + 1.5 * box["height"] / ROWS)
    assert readout(page) == expected(RELEVANCE, 1, 2)


def test_arrow_keys_move_from_patch_to_patch(visit, path):
    page = visit(path)
    top = tuple(int(i) for i in np.unravel_index(RELEVANCE.argmax(), RELEVANCE.shape))
    assert readout(page) == expected(RELEVANCE, *top)
    point(page, 1, 1)
    page.locator("#stage").focus()
    row, column = 1, 1
    for key, down, right in [("Right", 0, 1), ("Down", 1, 0), ("Left", 0, -1), ("Left", 0, -1), ("Up", -1, 0)]:
        page.keyboard.press(f"Arrow{key}")
        row, column = row + down, column + right
        assert readout(page) == expected(RELEVANCE, row, column)
    for _ in range(ROWS + COLUMNS):  # the rim stops
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("ArrowUp")
    assert readout(page) == expected(RELEVANCE, 0, 0)
    page.keyboard.press("Home")
    assert readout(page) == expected(RELEVANCE, *top)


def test_everything_is_reached_by_the_keyboard(visit, path):
    page = visit(path)
    reached = []
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.name"))
        outline = "getComputedStyle(document.activeElement.type === 'radio' ? document.activeElement.nextSibling"
        outline += " : document.activeElement).outlineStyle"
        if reached[-1] and reached[-1] != "drawing":
            assert page.evaluate(outline) == "solid", reached[-1]
    assert [name for name in reached if name][:6] == ["previous", "next", "stage", "method", "opacity", "drawing"]
    page.get_by_label("relevance", exact=True).focus()
    page.keyboard.press("ArrowRight")
    assert page.get_by_label("rollout", exact=True).is_checked()
    assert page.locator("#note").inner_text() == "The same for every class."


def test_every_control_has_a_name(visit, path):
    page = visit(path)
    choose(page, "layer and head")
    nameless = page.evaluate(
        """() => Array.from(document.querySelectorAll("input, button, [tabindex]"))
            .filter((one) => !(one.labels?.[0]?.textContent || one.getAttribute("aria-label")))
            .map((one) => one.outerHTML)"""
    )
    assert nameless == []


def test_opacity_shows_the_picture(visit, path):
    page = visit(path)
    slide(page, "Opacity", 0)
    assert page.evaluate("getComputedStyle(document.getElementById('map')).opacity") == "0"
    assert page.evaluate("getComputedStyle(document.getElementById('picture')).filter") == "saturate(1)"
    slide(page, "Opacity", 50)
    assert page.evaluate("getComputedStyle(document.getElementById('map')).opacity") == "0.5"
    assert page.locator("#opacity-value").inner_text() == "50 %"


def test_the_picture_is_muted_as_in_the_png(visit, tmp_path, monkeypatch):
    monkeypatch.setattr(page_module, "SATURATION", 0.25)
    photo = Image.new("RGB", (211, 127), (90, 120, 90))
    picture = PagePicture(photo, "photo.png", [], [picture_map(RELEVANCE, whole(photo))])
    write_page(tmp_path / "page.html", pictures=[picture], title="photo.png")
    page = visit(tmp_path / "page.html")
    assert page.evaluate("getComputedStyle(document.getElementById('picture')).filter") == "saturate(0.25)"
    slide(page, "Opacity", 50)
    assert page.evaluate("getComputedStyle(document.getElementById('picture')).filter") == "saturate(0.625)"


def test_pictures_follow_each_other(visit, path):
    page = visit(path)
    lines = [" ".join(line.split()) for line in page.locator("#predictions li").all_inner_texts()]
    assert lines == ["fox 62.5 %", "dog 25.0 %", "cat < 0.1 %", "cow 0.0 %"]
    page.get_by_label("Next picture").click()
    assert page.locator("#name").inner_text() == LONG
    assert page.locator("#position").inner_text() == "2 of 2"
    assert page.locator("#predictions .label").first.text_content() == NASTY
    page.get_by_label("Next picture").click()
    assert page.locator("#name").inner_text() == "landscape.jpg"
    page.get_by_label("Previous picture").click()
    assert page.locator("#position").inner_text() == "2 of 2"


@pytest.mark.parametrize("width", [320, 768, 1100])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_the_window(visit, path, width, scheme):
    page = visit(path, viewport={"width": width, "height": 640}, color_scheme=scheme)
    for picture in range(2):
        if picture == 0:
            choose(page, "layer and head")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        stage = page.locator("#stage").bounding_box()
        assert stage["x"] >= 0 and stage["x"] + stage["width"] <= width
        page.get_by_label("Next picture").click()


def test_the_picture_stays_in_sight_of_the_controls_on_a_phone(visit, path):
    page = visit(path, viewport={"width": 390, "height": 700})
    page.get_by_label("patches", exact=True).scroll_into_view_if_needed()
    stage, control = (page.locator(name).bounding_box() for name in ("#stage", "#opacity"))
    assert stage["y"] >= 0 and stage["y"] + stage["height"] < control["y"] < 700
    assert page.evaluate("window.scrollY") > 100


def test_text_stands_out_in_both_schemes(visit, path):
    """WCAG 2.2, 1.4.3: a contrast of 4.5 for text."""

    def luminance(color: str) -> float:
        channels = np.array([float(part) for part in color[4:-1].split(",")]) / 255
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    of = "([text, ground]) => [getComputedStyle(document.querySelector(text)).color,"
    of += " getComputedStyle(document.querySelector(ground)).backgroundColor]"
    for scheme in ("light", "dark"):
        page = visit(path, color_scheme=scheme)
        checked = "#methods input:checked + span"
        for text, ground in [
            ("h1", "body"),
            ("#keys", "body"),
            ("#note", ".panel"),
            ("h2", ".panel"),
            (checked, checked),
        ]:
            light, dark = sorted(map(luminance, page.evaluate(of, [text, ground])), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (scheme, text)


def test_motion_can_be_turned_off(visit, path):
    duration = "getComputedStyle(document.getElementById('cell')).transitionDuration"
    assert "0.08s" in visit(path).evaluate(duration)
    assert visit(path, reduced_motion="reduce").evaluate(duration) in ("0s", "0s, 0s")


@pytest.mark.parametrize("case", CASES)
def test_hottest_pixel_lies_on_the_salient_patch(visit, tmp_path, case):
    salient = make_salient(case)
    picture = PagePicture(salient.picture, "salient.png", [("dark", 1.0)], [salient.map])
    write_page(tmp_path / "page.html", pictures=[picture], title="Salient")
    page = visit(tmp_path / "page.html")
    alpha = canvas(page)[..., 3]
    y, x = np.argwhere(alpha == alpha.max()).mean(axis=0) + 0.5  # of the hottest pixels, the middle
    over, below = page.locator("#map").bounding_box(), page.locator("#picture").bounding_box()
    scale = salient.picture.width / below["width"]
    x = (over["x"] + x / alpha.shape[1] * over["width"] - below["x"]) * scale
    y = (over["y"] + y / alpha.shape[0] * over["height"] - below["y"]) * scale
    left, top, right, bottom = salient.box
    assert left <= x < right and top <= y < bottom


def test_map_without_note_or_contrast_is_shown(visit, tmp_path, photo):
    flat = dataclasses.replace(picture_map(np.full((5, 7), 0.2), whole(photo)), note="", target=None)
    write_page(tmp_path / "page.html", pictures=[PagePicture(photo, "flat.png", [], [flat])], title="flat.png")
    page = visit(tmp_path / "page.html")
    assert canvas(page)[..., 3].max() == 0
    assert not page.locator("#note").is_visible()
    assert not page.locator("#name").is_visible()  # it is the title
    assert not page.locator("#pages").is_visible()
    assert page.locator("#flat").is_visible()
    assert readout(page)[:3] == ["× 1.0 even", "0.2", "2.9 % of the map"]


def test_index_leads_to_the_pages(visit, path):
    picture = Image.new("RGB", (101, 61))
    attention_map = picture_map(RELEVANCE, whole(picture))
    entries = [IndexEntry(picture, LONG, path.name, LONG, 0.5, attention_map) for _ in range(3)]
    index = path.with_name("index.html")
    write_index(index, entries, title="Demo")
    page = visit(index, viewport={"width": 320, "height": 640})
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    assert page.evaluate("Array.from(document.images).every((image) => image.naturalWidth === 101)")
    page.get_by_role("link").first.click()
    assert page.title() == "Where the model looked"


def test_a_difference_has_the_colors_of_the_png(visit, tmp_path):
    values = (RELEVANCE - 0.02).astype(np.float32)
    photo = Image.new("RGB", (211, 127), (90, 120, 90))
    picture = PagePicture(photo, "photo.png", [], [picture_map(values, whole(photo))])
    write_page(tmp_path / "page.html", pictures=[picture], title="photo.png")
    page = visit(tmp_path / "page.html")
    choose(page, "patches")
    pixels = canvas(page)
    size = pixels.shape[1] // COLUMNS
    shown = pixels[size // 2 :: size, size // 2 :: size].astype(int)
    gray = np.full(3, 128, np.float32)
    expected_colors = tinted(gray, Scale.of(values).positions(values), signed=True)
    alpha = shown[..., 3:] / 255
    np.testing.assert_allclose(gray * (1 - alpha) + shown[..., :3] * alpha, expected_colors, atol=4)
    even = float(np.abs(values).mean())
    ends = [page.locator(name).inner_text() for name in ("#low", "#high")]
    assert ends == [f"{times(sign * float(np.abs(values).max()) / even)} even" for sign in (-1, 1)]
    assert not page.locator("#flat").is_visible()


def test_the_spread_of_a_map_is_said(visit, path):
    found = picture_map(RELEVANCE, None).concentration
    page = visit(path)
    assert page.locator("#spread").inner_text() == (
        f"The brightest tenth of the patches has {100 * found.top_tenth:.1f} % of the map (11.4 % if spread evenly); "
        f"entropy {found.entropy:.2f} of 1."
    )


def test_a_nearly_flat_map_looks_nearly_flat(visit, tmp_path, photo):
    values = np.full((5, 7), 0.2, np.float32)
    values[2, 3] = 0.25
    write_page(
        tmp_path / "page.html",
        pictures=[PagePicture(photo, "photo.png", [], [picture_map(values, whole(photo))])],
        title="photo.png",
    )
    page = visit(tmp_path / "page.html")
    position = Scale.of(values).positions(values).max()
    assert position < 0.3
    for drawing in ("smooth", "patches"):
        choose(page, drawing)
        assert canvas(page)[..., 3].max() == palette()[round(255 * position), 3]
    assert page.locator("#high").inner_text() == f"{times(Scale.of(values).ends[1])} even"


def test_the_index_is_searched_and_sorted(visit, tmp_path):
    picture = Image.new("RGB", (101, 61))
    one = picture_map(RELEVANCE, whole(picture))
    facts = [("b.jpg", "fox", 0.5, "weak"), ("a.jpg", "Dog", 0.9, ""), ("c.jpg", "cat", None, "strong")]
    facts.append(("d.jpg", "red fox", 0.1, "no better than chance"))
    entries = [IndexEntry(picture, name, name, label, score, one, "", word) for name, label, score, word in facts]
    write_index(tmp_path / "index.html", entries, title="Demo")
    page = visit(tmp_path / "index.html", viewport={"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390

    def names() -> str:
        shown = page.locator(".card:visible").evaluate_all("(all) => all.map((one) => one.getAttribute('href')[0])")
        return "".join(shown)

    orders = {"": "bacd", "confidence": "abdc", "doubt": "dbac", "verdict": "cbda"}
    for order, expected_names in orders.items():
        page.get_by_label("Sort by").select_option(order)
        assert names() == expected_names
    page.get_by_label("Search").fill("FOX")
    assert names() == "bd" and page.locator("#found").inner_text() == "2 of 4 found"
    page.get_by_label("Search").fill("fox chance")
    assert names() == "d"
    page.get_by_label("Search").fill("")
    page.get_by_label("Search").press("Enter")  # leads nowhere
    assert names() == "cbda"
    entries = [IndexEntry(picture, "a.jpg", "a.jpg", "fox", 0.5, one)] * 2
    write_index(tmp_path / "index.html", entries, title="Demo")
    assert visit(tmp_path / "index.html").locator("#sort option").count() == 3  # none has a verdict
