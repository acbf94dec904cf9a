"""The page of a caption as a reader has it: in Chromium, from the file system."""

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from multiattn.export import PagePicture, PageWord, write_page
from tests.export.pictures import picture_map, stored, whole, words_map
from tests.export.test_browser import canvas, choose, readout, slide
from tests.export.test_browser import expected as facts_of
from tests.export.test_page import NASTY

pytestmark = pytest.mark.browser

TEXTS = ("a", " red", " fox", ",", " asleep")
ROWS, COLUMNS, LAYERS, HEADS = 5, 7, 2, 3
_RANDOM = np.random.default_rng(37)
ATTENTION = _RANDOM.random((len(TEXTS), ROWS, COLUMNS))
RELEVANCE = _RANDOM.random((len(TEXTS), ROWS, COLUMNS))
STACK = _RANDOM.random((LAYERS, HEADS, len(TEXTS), ROWS, COLUMNS))
WORDS = [
    PageWord("a", 0.9, 0.05),
    PageWord(" red", 0.4, math.log(8)),
    PageWord(" fox", 0.8, 9.0),
    PageWord(",", 0.5, -0.5),
    PageWord(" asleep", 0.7),
]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of two pictures: one with a caption, one with a class."""
    fox, other = Image.new("RGB", (211, 127), (90, 120, 90)), Image.new("RGB", (101, 173), (90, 90, 120))
    maps = [
        words_map(ATTENTION, TEXTS, whole(fox)),
        words_map(RELEVANCE, TEXTS, whole(fox), method="relevance"),
        words_map(STACK, TEXTS, whole(fox)),
    ]
    pictures = [
        PagePicture(fox, "fox.jpg", (), maps, WORDS),
        PagePicture(other, "cat.jpg", [("cat", 0.5)], [picture_map(ATTENTION[0], whole(other))]),
    ]
    path = tmp_path_factory.mktemp("page") / "page.html"
    write_page(path, pictures=pictures, title="Where the model looked")
    return path


def word(page, index: int):
    return page.locator("#words label").nth(index)


def shown_word(page) -> int:
    checked = page.locator("#words input").evaluate_all("(all) => all.flatMap((one, i) => (one.checked ? [i] : []))")
    assert len(checked) == 1
    return checked[0]


def expected(values: np.ndarray) -> list[str]:
    """What the readout says of the highest patch."""
    return facts_of(values, *(int(i) for i in np.unravel_index(values.argmax(), values.shape)))


def test_pointing_at_a_word_shows_its_map(visit, path):
    page = visit(path)
    assert page.locator("#words h2").text_content() == "Caption"
    assert page.locator(".sentence").inner_text().startswith("a")
    seen = []
    for index in (2, 0, 1, 4, 3):
        word(page, index).hover()
        assert shown_word(page) == index
        assert readout(page) == expected(ATTENTION[index])
        assert page.locator("#origin").inner_text().startswith(f"for “{TEXTS[index].strip()}” · decoder.blocks.0.cross")
        seen.append(canvas(page).tobytes())
    assert len(set(seen)) == len(TEXTS)
    page.locator("h1").hover()  # what was chosen stays
    assert shown_word(page) == 3


def test_the_page_opens_on_the_word_that_depends_most_on_the_picture(visit, path):
    page = visit(path)
    drops = [word.image_dependence or -math.inf for word in WORDS]
    assert shown_word(page) == drops.index(max(drops)) == 2
    assert readout(page) == expected(ATTENTION[2])


def test_an_address_leads_back_to_word_method_layer_and_head(visit, path):
    page = visit(path)
    word(page, 3).hover()
    choose(page, "layer and head")
    slide(page, "Layer", 0)
    slide(page, "Head", 2)
    page.wait_for_function("() => location.hash.endsWith('head=1')")
    fragment = page.evaluate("location.hash")
    assert fragment == "#picture=1&word=4&map=layer%20and%20head&layer=0&head=1"
    again = visit(path, fragment)
    assert shown_word(again) == 3 and readout(again) == expected(stored(STACK[0, 1, 3]))
    assert again.get_by_label("layer and head", exact=True).is_checked()
    again.evaluate("location.hash = '#picture=2&map=relevance'")
    again.wait_for_function("() => document.getElementById('name').textContent === 'cat.jpg'")
    assert readout(again) == expected(ATTENTION[0])


@pytest.mark.parametrize(
    "fragment",
    ["#word=99&map=%E0%A4%A&layer=x&head=-1&picture=0", "#=&&==", "#layer=77&head=99&map=layer%20and%20head"],
)
def test_an_address_that_makes_no_sense_is_passed_over(visit, path, fragment):
    page = visit(path, fragment)
    assert shown_word(page) == 2
    assert readout(page) == expected(stored(STACK[1, 2, 2]) if "77" in fragment else ATTENTION[2])


def test_tapping_a_word_shows_its_map(visit, path):
    page = visit(path, has_touch=True, viewport={"width": 390, "height": 844})
    word(page, 2).tap()
    assert shown_word(page) == 2
    assert readout(page) == expected(ATTENTION[2])


def test_arrow_keys_go_from_word_to_word(visit, path):
    page = visit(path)
    while page.evaluate("document.activeElement.name") != "word":
        page.keyboard.press("Tab")
    style = "getComputedStyle(document.activeElement.nextSibling).outlineStyle"
    assert page.evaluate(style) == "solid"
    assert shown_word(page) == 2
    for key, index in (("Right", 3), ("Right", 4), ("Left", 3), ("Left", 2), ("Left", 1)):
        page.keyboard.press(f"Arrow{key}")
        assert shown_word(page) == index
        assert readout(page) == expected(ATTENTION[index])
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "stage"


def test_method_layer_and_head_are_chosen_for_the_word(visit, path):
    page = visit(path)
    word(page, 2).hover()
    choose(page, "relevance")
    assert readout(page) == expected(RELEVANCE[2])
    choose(page, "layer and head")
    for layer in range(LAYERS):
        for head in range(HEADS + 1):
            slide(page, "Layer", layer)
            slide(page, "Head", head)
            values = stored(STACK[layer]).mean(axis=0) if head == 0 else stored(STACK[layer, head - 1])
            assert readout(page) == expected(values[2])
            name = "mean of heads" if head == 0 else f"head {head - 1}"
            assert page.locator("#origin").inner_text() == f"for “fox” · layer {layer} · {name}"
    tiles = page.evaluate("document.getElementById('tiles').toDataURL()")
    word(page, 4).hover()
    assert readout(page) == expected(stored(STACK[LAYERS - 1, HEADS - 1, 4]))
    assert page.evaluate("document.getElementById('tiles').toDataURL()") != tiles
    box = page.locator("#atlas").bounding_box()
    page.locator("#atlas").click(position={"x": 0.5 * box["width"] / LAYERS, "y": 1.5 * box["height"] / (HEADS + 1)})
    assert readout(page) == expected(stored(STACK[0, 0, 4]))


def test_the_number_of_each_word_is_said(visit, path):
    page = visit(path)
    said = []
    for index in range(len(TEXTS)):
        word(page, index).hover()
        said.append(page.locator("#word > *").all_inner_texts())
    assert said == [
        ["a", "90.0 % likely", "85.6 % without the picture", "× 1.1", "the picture did not matter"],
        ["red", "40.0 % likely", "5.0 % without the picture", "× 8.0"],
        ["fox", "80.0 % likely", "< 0.1 % without the picture", "× more than 1000"],
        [",", "50.0 % likely", "82.4 % without the picture", "× 0.61", "the picture did not matter"],
        ["asleep", "70.0 % likely"],
    ]
    assert page.locator("#word").get_attribute("aria-live") == "polite"


def test_made_up_words_are_marked_without_relying_on_color(visit, path):
    page = visit(path)
    style = "(one) => [getComputedStyle(one).textDecorationStyle, getComputedStyle(one).fontStyle].join()"
    marks = [word(page, index).locator("span").evaluate(style) for index in range(len(TEXTS))]
    assert marks == ["dashed,italic", "solid,normal", "solid,normal", "dashed,italic", "solid,normal"]
    names = page.evaluate("Array.from(document.querySelectorAll('#words label')).map((one) => one.textContent)")
    assert names == ["a (the picture did not matter)", "red", "fox", ", (the picture did not matter)", "asleep"]
    assert page.locator("#made-up").is_visible()


def test_the_picture_does_not_move_from_word_to_word(visit, path):
    page = visit(path)
    for width in (360, 700, 900, 1100):
        page.set_viewport_size({"width": width, "height": 844})
        tops = set()
        for index in range(len(TEXTS)):
            word(page, index).hover()
            tops.add(page.locator("#stage").bounding_box()["y"])
        assert len(tops) == 1


def test_pictures_with_a_caption_and_with_a_class_follow_each_other(visit, path):
    page = visit(path)
    assert page.locator("#texts").is_visible() and not page.locator("#prediction").is_visible()
    word(page, 3).hover()
    page.get_by_label("Next picture").click()
    assert not page.locator("#texts").is_visible() and page.locator("#prediction").is_visible()
    assert readout(page) == expected(ATTENTION[0])
    page.get_by_label("Next picture").click()
    assert shown_word(page) == 2 and readout(page) == expected(RELEVANCE[2])  # the method stays


def test_a_map_that_is_the_same_for_all_words_stays(visit, tmp_path, photo):
    flat = picture_map(RELEVANCE[0], whole(photo), target=None)
    picture = PagePicture(
        photo, "fox.jpg", (), [flat, words_map(ATTENTION, TEXTS, whole(photo))], WORDS[:4] + WORDS[4:]
    )
    write_page(tmp_path / "page.html", pictures=[picture], title="fox.jpg")
    page = visit(tmp_path / "page.html")
    word(page, 2).hover()
    assert readout(page) == expected(RELEVANCE[0])
    assert page.locator("#word b").inner_text() == "fox"
    choose(page, "attention")
    assert readout(page) == expected(ATTENTION[2])


def test_long_and_nasty_words_are_no_wider_than_the_window(visit, tmp_path, photo):
    texts = (NASTY, " Donaudampfschifffahrt" * 6, " $<b>", *(f" w{i}" for i in range(40)))
    values = np.random.default_rng(41).random((len(texts), ROWS, COLUMNS))
    words = [PageWord(text, 0.5, 0.1 * i) for i, text in enumerate(texts)]
    picture = PagePicture(photo, "fox.jpg", (), [words_map(values, texts, whole(photo))], words)
    write_page(tmp_path / "page.html", pictures=[picture], title="fox.jpg")
    page = visit(tmp_path / "page.html")
    for width in (320, 768, 1100):
        page.set_viewport_size({"width": width, "height": 640})
        for index in range(3):
            word(page, index).click()
            assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("#word b").text_content() == "$<b>"
