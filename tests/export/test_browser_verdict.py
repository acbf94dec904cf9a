"""The verdict on a map, as a reader of the page has it: in Chromium, from the file system."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from multiattn.export import PagePicture, PageWord, write_page
from multiattn.maps import Checked, Verdict
from tests.export.pictures import whole, words_map
from tests.export.test_browser import choose

pytestmark = pytest.mark.browser

TEXTS = ("a", " fox")
VALUES = np.random.default_rng(3).random((2, 5, 7))
WHOLE = Verdict("strong", 0.94, (0.8, 0.6, 0.31, 0.1), (0.9, 0.85, 0.8, 0.5), (0.9, 0.88, 0.86, 0.88))
OF_WORD = Verdict("no better than chance", 0.5, (0.5,) * 4, (0.4,) * 4, (0.5,) * 4)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with a caption, by a method that was checked, as a whole and word by word, and by one that was not."""
    picture = Image.new("RGB", (211, 127), (90, 120, 90))
    maps = [
        words_map(VALUES, TEXTS, whole(picture)),
        words_map(VALUES[::-1], TEXTS, whole(picture), method="relevance"),
    ]
    checked = Checked("attention", WHOLE, (("a", WHOLE), ("fox", OF_WORD)))
    path = tmp_path_factory.mktemp("page") / "page.html"
    page = PagePicture(picture, "fox.jpg", (), maps, [PageWord(text) for text in TEXTS], verdicts=[checked])
    write_page(path, pictures=[page], title="Where the model looked")
    return path


def test_the_line_the_curve_and_the_points_are_of_the_chosen_word(visit, path) -> None:
    page = visit(path)
    page.locator("#words label").nth(0).click()
    assert page.locator("#verdict-line").text_content() == f"\u201ca\u201d: {WHOLE.text}"
    assert page.locator("#verdict-curve circle.own").count() == 4
    assert page.locator("#verdict-curve circle.random").count() == 4
    quarter = page.locator("#verdict-curve circle.own").nth(2).get_attribute("cx")  # a quarter is hidden
    assert {one.get_attribute("cx") for one in page.locator("#verdict-curve circle.random").all()} == {quarter}
    heights = [float(one.get_attribute("cy")) for one in page.locator("#verdict-curve circle.own").all()]
    # the probability falls from point to point, as the picture has its origin on top
    assert heights == sorted(heights)
    np.testing.assert_allclose(np.diff(heights), -np.diff(WHOLE.deleted) * (150 - 36) / 0.94, rtol=1e-6)
    page.locator("#verdict summary").click()
    rows = [row.inner_text().split("\t") for row in page.locator("#verdict-points tr").all()]
    assert rows[0] == ["hidden", "the map\u2019s brightest", "the center", "random"]
    assert rows[3] == ["25 %", "31.0 %", "80.0 %", "90.0 %, 88.0 %, 86.0 %, 88.0 %"]
    page.locator("#words label").nth(1).click()
    assert page.locator("#verdict-line").text_content() == f"\u201cfox\u201d: {OF_WORD.text}"
    assert page.locator("#verdict-curve").get_attribute("role") == "img"
    assert page.locator("#verdict-curve").get_attribute("aria-labelledby") == "verdict-title verdict-line"


def test_a_map_that_was_not_checked_has_no_verdict(visit, path) -> None:
    page = visit(path)
    assert page.locator("#verdict").is_visible()
    choose(page, "relevance")
    assert not page.locator("#verdict").is_visible()
    choose(page, "attention")
    assert page.locator("#verdict").is_visible()
