"""A click, or an arrow key, on a label shows the map that explains it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from multiattn.export import AskedPicture, PagePicture, PageQuestion, PageText, PageWord, write_page
from tests.export.pictures import picture_map, whole, words_map
from tests.export.test_browser import expected, readout

pytestmark = pytest.mark.browser


def test_a_label_is_chosen(visit, tmp_path: Path) -> None:
    picture = Image.new("RGB", (70, 50), (90, 120, 90))
    drawn = np.random.default_rng(5)

    def explaining(label: str, method: str = "relevance"):
        values = drawn.random((5, 7)).astype(np.float32)
        return replace(picture_map(values, whole(picture), method=method), target=label)

    base, shared = explaining("fox"), replace(explaining("", "rollout"), target=None)
    page_picture = PagePicture(
        picture,
        "one.jpg",
        [("fox", 0.6), ("dog", 0.3), ("cat", 0.1)],
        [base, shared],
        label_maps=[[explaining("fox")], [explaining("dog")]],
    )
    write_page(tmp_path / "page.html", pictures=[page_picture], title="Labels")
    page = visit(tmp_path / "page.html")
    labels, origin = page.locator("input[name=label]"), page.locator("#origin")
    assert labels.count() == 2 and labels.nth(0).is_checked(), "cat has no map of its own"
    assert "fox" in origin.inner_text()
    labels.nth(1).check()
    assert "dog" in origin.inner_text()
    page.keyboard.press("ArrowUp")
    assert "fox" in origin.inner_text()
    labels.nth(1).check()
    page.get_by_label("rollout", exact=True).check()
    assert "dog" not in origin.inner_text(), "this map is the same for every label"
    page.get_by_label("relevance", exact=True).check()
    assert "dog" in origin.inner_text()
    page.wait_for_function("() => location.hash === '#label=2&map=relevance'")
    page = visit(tmp_path / "page.html", "#label=2&map=relevance")
    assert page.locator("input[name=label]").nth(1).is_checked() and "dog" in page.locator("#origin").inner_text()
    page = visit(tmp_path / "page.html", "#label=3&map=relevance")  # which has none
    assert page.locator("input[name=label]").nth(0).is_checked() and "fox" in page.locator("#origin").inner_text()


def test_an_answer_is_chosen_for_itself_and_for_the_words_of_its_question(visit, tmp_path: Path) -> None:
    picture = Image.new("RGB", (70, 50), (90, 120, 90))
    drawn, words = np.random.default_rng(6), ("what", " color", "?")

    def of(texts: tuple[str, ...]):
        return words_map(drawn.random((len(texts), 5, 7)), texts, whole(picture), method="relevance")

    question, answer = of(words), replace(of(("red",)), target="red")
    others = [[of(words)], [replace(of(("blue",)), target="blue")]]
    asked = PageQuestion(
        PageText([PageWord(word) for word in words], [question]),
        PageText([PageWord("red", 0.6)], [answer]),
        [("red", 0.6), ("blue", 0.3), ("no", 0.1)],
        label_maps=[([question], [answer]), (others[0], others[1])],
    )
    write_page(tmp_path / "page.html", pictures=[AskedPicture(picture, "one.jpg", [asked])], title="Labels")
    page = visit(tmp_path / "page.html")
    labels, origin = page.locator("input[name=label]"), page.locator("#origin")
    assert labels.count() == 2 and labels.nth(0).is_checked()
    assert origin.inner_text().startswith("for “red” · ") and readout(page) == highest(answer.values[0])
    labels.nth(1).check()
    assert origin.inner_text().startswith("for “blue” · ") and readout(page) == highest(others[1][0].values[0])
    page.locator("#words label").nth(1).hover()
    assert origin.inner_text().startswith("for “color” and “blue” · ")
    assert readout(page) == highest(others[0][0].values[1])
    page.wait_for_function("() => location.hash === '#label=2&text=question&word=2&map=relevance'")
    labels.nth(0).check()
    assert origin.inner_text().startswith("for “color” · ") and readout(page) == highest(question.values[1])
    with pytest.raises(ValueError, match="`label_maps` must be of at most 0 answers, but is 1 instead"):
        PageQuestion(asked.question, asked.answer, label_maps=[([question], [answer])])


def highest(values: np.ndarray) -> list[str]:
    values = values.astype(np.float64)
    return expected(values, *(int(i) for i in np.unravel_index(values.argmax(), values.shape)))
