"""Two maps of one input: their difference, and the page that shows them side by side."""

import base64
import io
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from multiattn.errors import ModelError
from multiattn.export import ComparedPicture, write_comparison
from multiattn.export.heatmap import blend
from multiattn.maps.difference import agreement, difference
from multiattn.pipelines import save_comparison
from tests.export.pictures import picture_map, whole, words_map
from tests.export.test_page import NASTY
from tests.fixtures import draw

FOX = Image.new("RGB", (211, 127), (90, 120, 90))


def two(shape: tuple[int, ...] = (5, 7), seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    first, second = np.random.default_rng(seed).random((2, *shape))
    return first, 40 * second


def test_a_difference_is_in_even_shares_and_its_agreement_in_ranks() -> None:
    first, second = two()
    found = difference(picture_map(first, whole(FOX)), picture_map(second, whole(FOX), method="attention"))
    np.testing.assert_allclose(found.values, first / first.mean() - second / second.mean(), rtol=1e-4, atol=1e-6)
    assert found.method == "relevance less attention"
    ranks = [one.ravel().argsort().argsort() for one in (first, second)]
    expected = np.corrcoef(*ranks)[0, 1]
    np.testing.assert_allclose(agreement(picture_map(first, None), picture_map(second, None)), expected)
    words = [words_map(one, ("a", " fox"), whole(FOX)) for one in two((2, 5, 7))]
    each = [np.corrcoef(*(one.values[i].ravel().argsort().argsort() for one in words))[0, 1] for i in range(2)]
    np.testing.assert_allclose(agreement(*words), np.mean(each))
    np.testing.assert_allclose(
        difference(*words).values[1], words[0].even_shares[1] - words[1].even_shares[1], rtol=1e-5, atol=1e-6
    )
    with pytest.raises(ModelError, match=r"`second` must be of the axes \('y', 'x'\), as the first, but is \('word',"):
        difference(picture_map(first, None), words[0])
    with pytest.raises(ModelError, match="as the first"):
        agreement(picture_map(first, None), words[0])


class Page(HTMLParser):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self.images, self.texts, self.tags = [], [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append(tag)
        if tag == "img" and dict(attrs)["alt"]:
            data = base64.b64decode(dict(attrs)["src"].partition(",")[2])
            self.images.append(np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), dtype=float))

    def handle_data(self, data) -> None:
        self.texts.append(data)


def test_a_page_has_both_maps_and_their_difference(tmp_path: Path) -> None:
    first, second = two()
    maps = picture_map(first, whole(FOX)), picture_map(second, whole(FOX), method="attention")
    write_comparison(tmp_path / "deep" / "a.html", [ComparedPicture(FOX, NASTY, NASTY, *maps)], title=NASTY)
    page = Page(tmp_path / "deep" / "a.html")
    expected = [blend(FOX, one) for one in (*maps, difference(*maps))]
    for image, drawn in zip(page.images, expected, strict=True):
        assert np.abs(image - np.asarray(drawn, dtype=float)).mean() < 4  # JPEG
    assert NASTY in page.texts and page.tags.count("script") == 1  # its own
    assert f"{NASTY}: relevance and attention order the patches alike by {agreement(*maps):.2f}" in " ".join(page.texts)
    ends = [text for text in page.texts if text.endswith(" even")]
    top = float(np.abs(difference(*maps).values).max())
    assert len(ends) == 6
    assert ends[5] == f"× {top:.1f} even" and ends[4] == f"× −{top:.1f} even"


def test_words_have_a_row_each(tmp_path: Path) -> None:
    maps = [words_map(one, ("a", " fox"), whole(FOX)) for one in two((2, 5, 7))]
    write_comparison(tmp_path / "a.html", [ComparedPicture(FOX, "fox.jpg", "a fox", *maps)], title="fox.jpg")
    page = Page(tmp_path / "a.html")
    assert len(page.images) == 6
    assert [text for text in page.texts if text in ("“a”", "“fox”")] == ["“a”", "“fox”"]


def test_results_are_compared(classifier, tmp_path: Path) -> None:
    results = [classifier(draw(seed), maps=("attention", "rollout", "relevance")) for seed in (3, 5)]
    save_comparison(tmp_path / "a.html", results, methods=("relevance", "rollout"), title="both")
    page = Page(tmp_path / "a.html")
    assert len(page.images) == 6
    assert all(
        any(text.startswith(f"{result.label}: relevance and rollout") for text in page.texts) for result in results
    )
    save_comparison(tmp_path / "b.html", results[:1])
    assert any("attention and rollout order" in text for text in Page(tmp_path / "b.html").texts)
    with pytest.raises(ModelError, match="`methods` must be two of attention, rollout, relevance, but is 'x' instead"):
        save_comparison(tmp_path / "a.html", results, methods=("x", "rollout"))
    with pytest.raises(ModelError, match="`results` must be at least one, but is 0 instead"):
        save_comparison(tmp_path / "a.html", [])
    with pytest.raises(ModelError, match="`maps` must be by two methods at least, but is 'attention' instead"):
        save_comparison(tmp_path / "a.html", [classifier(draw(3), maps="attention")])


@pytest.fixture(scope="module")
def classifier():
    from multiattn.pipelines import ClassifyPipeline
    from tests.fixtures import tiny_bundle

    return ClassifyPipeline(tiny_bundle(), device="cpu")


@pytest.mark.browser
def test_values_are_read_by_pointer_and_by_keyboard(visit, tmp_path: Path) -> None:
    grids = [np.round(one, 3) for one in two((2, 5, 7))]
    maps = [
        words_map(one, ("a", NASTY), whole(FOX), method=m) for one, m in zip(grids, ("relevance", "lrp"), strict=True)
    ]
    write_comparison(tmp_path / "a.html", [ComparedPicture(FOX, "fox.jpg", "a fox", *maps)], title="fox.jpg")
    page = visit(tmp_path / "a.html")
    shares = [one / one.mean(axis=(1, 2), keepdims=True) for one in grids]
    shares.append(shares[0] - shares[1])

    def told(word: int, row: int, column: int) -> str:
        values = [float(f"{one[word, row, column]:.4g}") for one in shares]
        signs = ["\u2212" if value < 0 else "" for value in values]
        sizes = [f"{abs(value):.{1 if abs(value) >= 0.995 else 2}f}" for value in values]
        parts = [
            f"{name} × {sign}{size} even"
            for name, sign, size in zip(("relevance", "LRP", "difference"), signs, sizes, strict=True)
        ]
        return f"row {row + 1}, column {column + 1}: {' · '.join(parts)}"

    readouts = page.locator("output.readout")
    for word, figure, row, column in ((1, 2, 3, 5), (0, 0, 0, 0), (0, 1, 4, 6)):
        over = page.locator(".compared").nth(word).locator(".over").nth(figure)
        over.scroll_into_view_if_needed()
        box = over.bounding_box()
        x, y = box["x"] + box["width"] * (column + 0.5) / 7, box["y"] + box["height"] * (row + 0.5) / 5
        page.mouse.move(x, y)
        assert readouts.nth(word).inner_text() == told(word, row, column)
        # the frame glides to its place
        still = "e => Promise.all(e.getAnimations().map(a => a.finished)).then(() => e.getBoundingClientRect().x)"
        assert over.locator(".cell").evaluate(still) == pytest.approx(box["x"] + box["width"] * column / 7, abs=1.5)
    page.locator(".compared").first.focus()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")  # the last column
    assert readouts.first.inner_text() == told(0, 4, 6)
