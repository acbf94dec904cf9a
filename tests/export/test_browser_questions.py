"""The page of a picture that was asked about as a reader has it: in Chromium, from the file system."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from multiattn.export import AskedPicture, PagePicture, PageQuestion, PageText, PageWord, write_page
from tests.export.pictures import picture_map, stored, whole, words_map
from tests.export.questions import QUESTIONS, STACKS, asked_picture, maps_of
from tests.export.test_browser import canvas, choose, readout, slide
from tests.export.test_browser_words import expected, shown_word, word
from tests.export.test_page import NASTY

pytestmark = pytest.mark.browser

FOX = Image.new("RGB", (211, 127), (90, 120, 90))
OTHER = Image.new("RGB", (101, 173), (90, 90, 120))
CAT = np.random.default_rng(43).random((5, 7))
SAID = [(*question, *answer) for question, answer, _ in QUESTIONS]
ATTENTION, RELEVANCE, STACK = range(3)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of two pictures: one with three questions, one with a class."""
    cat = PagePicture(OTHER, "cat.jpg", [("cat", 0.5)], [picture_map(CAT, whole(OTHER))])
    path = tmp_path_factory.mktemp("page") / "page.html"
    write_page(path, pictures=[asked_picture(FOX), cat], title="Where the model looked")
    return path


def values(question: int, index: int, kind: int) -> np.ndarray:
    """Of a map, for a word of a question or, after those, of its answer."""
    asked, answered, _ = QUESTIONS[question]
    of_answer = index >= len(asked)
    one = maps_of(answered if of_answer else asked, 2 * question + of_answer, FOX, STACKS[of_answer])[kind]
    return one.values[..., index - len(asked) if of_answer else index, :, :].astype(np.float64)


def ask(page, index: int) -> None:
    page.locator("#asked input").nth(index).check()


def test_the_page_opens_with_the_answer(visit, path):
    page = visit(path)
    assert shown_word(page) == 6
    assert readout(page) == expected(values(0, 6, ATTENTION))
    assert page.locator("#words h2").all_text_contents() == ["Question", "Answer"]
    lines = [" ".join(line.split()) for line in page.locator(".sentence").all_text_contents()]
    assert lines == ["what color is the fox?", "dark red"]
    assert page.locator("#note").inner_text() == "Attention 1."


def test_pointing_at_a_word_of_either_shows_its_map(visit, path):
    page = visit(path)
    seen = []
    for index in (0, 7, 4, 6, 5, 1, 2, 3):
        word(page, index).hover()
        assert shown_word(page) == index
        assert readout(page) == expected(values(0, index, ATTENTION))
        assert page.locator("#origin").inner_text().startswith(f"for “{SAID[0][index].strip()}” · ")
        assert page.locator("#note").inner_text() == f"Attention {int(index > 5)}."
        facts = page.locator("#word > *").all_inner_texts()
        likely = [f"{50 + 10 * (index - 6)}.0 % likely"] if index > 5 else []
        assert facts == [SAID[0][index].strip(), *likely]
        seen.append(canvas(page).tobytes())
    assert len(set(seen)) == len(seen)


def test_tapping_a_word_shows_its_map(visit, path):
    page = visit(path, has_touch=True, viewport={"width": 390, "height": 844})
    for index in (4, 7):
        word(page, index).tap()
        assert shown_word(page) == index
        assert readout(page) == expected(values(0, index, ATTENTION))


def test_arrow_keys_go_from_the_answer_into_the_question_and_back(visit, path):
    page = visit(path)
    while page.evaluate("document.activeElement.name") != "word":
        page.keyboard.press("Tab")
    for key, index in [("Left", 5), ("Left", 4), ("Right", 5), ("Right", 6), ("Right", 7), ("Right", 0)]:
        page.keyboard.press(f"Arrow{key}")
        assert shown_word(page) == index
        assert readout(page) == expected(values(0, index, ATTENTION))
    names = "(all) => all.map((one) => one.closest('[role=group]').getAttribute('aria-labelledby'))"
    groups = page.locator("#words input").evaluate_all(names)
    assert [page.locator(f"#{name}").text_content() for name in groups] == ["Question"] * 6 + ["Answer"] * 2


def test_another_question_about_the_same_picture(visit, path):
    page = visit(path)
    lines = [" ".join(line.split()) for line in page.locator("#asked label").all_text_contents()]
    assert lines == ["what color is the fox? dark red", "is it asleep? yes", "where is it? nothing"]
    picture = page.locator("#picture").get_attribute("src")
    choose(page, "relevance")
    ask(page, 1)
    assert readout(page) == expected(values(1, 4, RELEVANCE))  # the method stays
    assert page.locator("#picture").get_attribute("src") == picture
    word(page, 2).hover()
    assert readout(page) == expected(values(1, 2, RELEVANCE))
    assert not page.locator("#prediction").is_visible()
    ask(page, 0)
    assert readout(page) == expected(values(0, 6, RELEVANCE))
    assert page.locator("#prediction h2").text_content() == "Answers"
    scores = [" ".join(line.split()) for line in page.locator("#predictions li").all_inner_texts()]
    assert scores == ["dark red 75.0 %", "blue 20.0 %"]


def test_questions_are_reached_by_the_keyboard(visit, path):
    page = visit(path)
    while page.evaluate("document.activeElement.name") != "question":
        page.keyboard.press("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement.nextSibling).outlineStyle") == "solid"
    page.keyboard.press("ArrowDown")
    assert readout(page) == expected(values(1, 4, ATTENTION))
    assert page.evaluate("document.activeElement.name") == "question"


def test_a_question_without_an_answer_shows_its_own_words(visit, path):
    page = visit(path)
    ask(page, 2)
    assert page.locator(".sentence").nth(1).inner_text() == "nothing"
    assert shown_word(page) == 0
    assert readout(page) == expected(values(2, 0, ATTENTION))


def test_layer_and_head_are_chosen_for_words_of_both(visit, path):
    page = visit(path)
    choose(page, "layer and head")
    for index, (layers, heads) in ((6, STACKS[1]), (2, STACKS[0])):
        word(page, index).hover()
        assert page.get_by_label("Layer", exact=True).get_attribute("max") == str(layers - 1)
        stack = stored(values(0, index, STACK))
        for layer in range(layers):
            for head in range(heads + 1):
                slide(page, "Layer", layer)
                slide(page, "Head", head)
                assert readout(page) == expected(stack[layer].mean(axis=0) if head == 0 else stack[layer, head - 1])
    tiles = page.evaluate("document.getElementById('tiles').toDataURL()")
    word(page, 3).hover()
    assert readout(page) == expected(stored(values(0, 3, STACK))[1, 2])
    assert page.evaluate("document.getElementById('tiles').toDataURL()") != tiles


def test_an_address_opens_its_question(visit, path):
    page = visit(path)
    for fragment, index, shown in (("#question=2", 1, 4), ("#question=1", 0, 6), ("#question=9", 0, 6), ("#", 0, 6)):
        page.goto(path.as_uri() + fragment)
        page.wait_for_function(f"document.querySelectorAll('#asked input')[{index}].checked")
        assert readout(page) == expected(values(index, shown, ATTENTION))


def test_a_picture_with_questions_and_one_with_a_class_follow_each_other(visit, path):
    page = visit(path)
    ask(page, 1)
    page.get_by_label("Next picture").click()
    assert not page.locator("#questions").is_visible() and not page.locator("#texts").is_visible()
    assert page.locator("#prediction h2").text_content() == "Prediction"
    assert readout(page) == expected(CAT)
    page.get_by_label("Next picture").click()
    assert page.locator("#asked input").first.is_checked()
    assert shown_word(page) == 6 and readout(page) == expected(values(0, 6, RELEVANCE))  # the method stays


def test_one_question_leaves_no_choice(visit, tmp_path):
    write_page(tmp_path / "page.html", pictures=[asked_picture(FOX, count=1)], title="fox.jpg")
    page = visit(tmp_path / "page.html")
    assert not page.locator("#questions").is_visible()
    assert readout(page) == expected(values(0, 6, ATTENTION))


def test_every_control_has_a_name(visit, path):
    page = visit(path)
    choose(page, "layer and head")
    nameless = page.evaluate(
        """() => Array.from(document.querySelectorAll("input, button, [tabindex]"))
            .filter((one) => !(one.labels?.[0]?.textContent || one.getAttribute("aria-label")))
            .map((one) => one.outerHTML)"""
    )
    assert nameless == []


def test_the_picture_does_not_move_from_word_to_word(visit, path):
    page = visit(path)
    for width in (360, 900, 1100):
        page.set_viewport_size({"width": width, "height": 844})
        tops = set()
        for index in range(len(SAID[0])):
            word(page, index).hover()
            tops.add(page.locator("#stage").bounding_box()["y"])
        assert len(tops) == 1


def test_many_long_and_nasty_questions_fit_the_window(visit, tmp_path, photo):
    texts = (NASTY, " Donaudampfschifffahrt" * 6, " $<b>", *(f" w{i}" for i in range(40)), "?")
    random = np.random.default_rng(41)

    def text(labels: tuple[str, ...]) -> PageText:
        maps = [words_map(random.random((len(labels), 5, 7)), labels, whole(photo))]
        return PageText([PageWord(label) for label in labels], maps)

    questions = [PageQuestion(text(texts), text(texts[i : i + 3]), [(NASTY, 0.5)]) for i in range(23)]
    write_page(tmp_path / "page.html", pictures=[AskedPicture(photo, "fox.jpg", questions)], title="fox.jpg")
    page = visit(tmp_path / "page.html")
    for width, index in ((320, 22), (768, 11), (1100, 0)):
        page.set_viewport_size({"width": width, "height": 640})
        ask(page, index)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert in_sight(page, index)
    assert readout(page)[4].startswith("row ")
    page.goto((tmp_path / "page.html").as_uri() + "#question=20")
    page.wait_for_function("document.querySelectorAll('#asked input')[19].checked")
    assert in_sight(page, 19)


def in_sight(page, index: int) -> bool:
    """Whether a question is to be seen in the list, which is no higher than the window."""
    box, line = page.locator("#asked").bounding_box(), page.locator("#asked label").nth(index).bounding_box()
    assert box["height"] < 440 and line["height"] < 240  # a long question is cut
    return line["y"] < box["y"] + box["height"] and line["y"] + line["height"] > box["y"]


def test_a_question_without_a_map_is_shown_with_its_picture(visit, tmp_path):
    mapped = asked_picture(FOX, count=1).questions[0]
    bare = PageQuestion(PageText((), (), "why, then?"), PageText((), (), ""), [("", 0.25)])
    write_page(tmp_path / "page.html", pictures=[AskedPicture(FOX, "fox.jpg", [bare, mapped])], title="Fox")
    page = visit(tmp_path / "page.html")
    assert page.locator(".sentence").all_text_contents() == ["why, then?", "nothing"]
    assert page.locator("#no-map").is_visible() and page.locator("#picture").is_visible()
    for hidden in ("#crop", "#legend", "#readout", "#methods", "#opacity", "#drawn", "#word", "#pointing"):
        assert not page.locator(hidden).is_visible(), hidden
    page.locator("#stage").hover()
    page.locator("#stage").press("Home")
    ask(page, 1)
    assert not page.locator("#no-map").is_visible() and page.locator("#methods").is_visible()
    assert readout(page) == expected(values(0, 6, ATTENTION))
    ask(page, 0)
    page.locator("#stage").hover()
    page.locator("#stage").press("Home")
    assert page.locator("#no-map").is_visible() and not page.locator("#crop").is_visible()


def test_the_page_says_that_stacks_are_left_out(visit, path, tmp_path, monkeypatch):
    assert not visit(path).locator("#left-out").is_visible()
    monkeypatch.setattr("multiattn.export.page._MOST_OF_STACKS", 0)
    write_page(tmp_path / "page.html", pictures=[asked_picture(FOX)], title="Fox")
    page = visit(tmp_path / "page.html")
    note = "The maps of every layer and head are not on this page: they would take 0 MB of it, and 0 MB is the most."
    assert page.locator("#left-out").inner_text() == f"{note} Ask fewer questions at once to have them."
    assert page.locator("#methods label").all_inner_texts() == ["attention", "relevance"]
