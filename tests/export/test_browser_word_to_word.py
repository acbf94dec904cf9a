"""Attention from word to word on the pages of captions and answers, in Chromium."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from multiattn.export import AskedPicture, PagePicture, PageQuestion, PageText, PageWord, write_page
from multiattn.maps.attention_map import AttentionMap, Axis
from tests.export.pictures import whole, words_map
from tests.export.questions import asked_text
from tests.export.test_browser import choose, readout
from tests.export.test_browser_saving import saved

pytestmark = pytest.mark.browser

WORDS = ("a", " red", " fox", " asleep")
LAYERS, HEADS, ROWS, COLUMNS = 2, 3, 5, 7
_RANDOM = np.random.default_rng(41)


def among(queries: tuple[str, ...], keys: tuple[str, ...]) -> AttentionMap:
    values = _RANDOM.random((LAYERS, HEADS, len(queries), len(keys))) ** 3
    values /= values.sum(axis=-1, keepdims=True)
    axes = (
        Axis("layer", "index"),
        Axis("head", "index"),
        Axis("query", "word", labels=queries),
        Axis("key", "word", labels=keys),
    )
    sites = ("decoder.blocks.0.self", "decoder.blocks.1.self")
    return AttentionMap(values.astype(np.float32), axes, "self_attention", sites, None, None, None, "Word to word.")


CAPTION = among(WORDS, ("start token", "prompt", *WORDS))
ASKED = ("where", " is", " it", "?")
QUESTION = among(("first token", *ASKED, "end token"), ("first token", *ASKED, "end token", "picture"))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    fox = Image.new("RGB", (211, 127), (90, 120, 90))
    maps = [words_map(_RANDOM.random((len(WORDS), ROWS, COLUMNS)), WORDS, whole(fox))]
    caption = PagePicture(fox, "fox.jpg", (), maps, [PageWord(word, 0.5) for word in WORDS], word_to_word=CAPTION)
    question = asked_text(ASKED, 3, fox, answered=False)
    asked = PageQuestion(replace(question, word_to_word=QUESTION), asked_text(("no",), 4, fox, answered=True))
    path = tmp_path_factory.mktemp("page") / "page.html"
    write_page(path, pictures=[caption, AskedPicture(fox, "asked.jpg", [asked])], title="Words")
    return path


def shown(one: AttentionMap, layer: int, head: int) -> np.ndarray:
    """The table; head 0 is the mean."""
    return one.values[layer].mean(axis=0) if head == 0 else one.values[layer, head - 1]


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def told(page) -> str:
    return page.locator("#token-text").inner_text()


def listed(names: tuple[str, ...], shares: np.ndarray) -> str:
    best = [i for i in np.argsort(-shares) if shares[i] >= 0.005][:4]
    return ", ".join(f"{names[i].strip()} {percent(shares[i])}" for i in best)


def pair(page, row: int, column: int):
    return page.locator("#table tr").nth(row + 1).locator("td").nth(column)


def close(told: str, expected: str) -> bool:
    """Equal but for a step of the page's numbers, which are in 255 steps."""
    one, other = told.replace(",", " ").split(), expected.replace(",", " ").split()
    if len(one) != len(other):
        return False
    for a, b in zip(one, other, strict=True):
        if a != b and abs(float(a) - float(b)) > 0.5:
            return False
    return True


@pytest.mark.slow
def test_each_share_of_each_layer_and_head_is_read(visit, path):
    page = visit(path)
    assert not page.locator("#matrix").is_visible() and page.locator("#stage").is_visible()
    choose(page, "word to word")
    assert page.locator("#matrix").is_visible() and not page.locator("#stage").is_visible()
    assert page.locator("#note").inner_text() == "Word to word."
    assert page.locator("#table th").all_inner_texts() == [
        *("start token", "prompt", "a", "red", "fox", "asleep"),
        *("a", "red", "fox", "asleep"),
    ]
    for layer in range(LAYERS):
        for head in range(HEADS + 1):
            page.get_by_label("Layer", exact=True).fill(str(layer))
            page.get_by_label("Head", exact=True).fill(str(head))
            values = shown(CAPTION, layer, head)
            for row, column in ((0, 1), (3, 4)):
                pair(page, row, column).hover()
                share, rest = readout(page)[:2]
                assert close(share, percent(values[row, column]))
                assert (
                    rest
                    == f"of the attention of “{WORDS[row].strip()}” went to “{('', 'prompt', '', '', 'fox')[column]}”"
                )
    brightest = np.unravel_index(shown(CAPTION, 1, 3)[:, 2:].argmax(), (4, 4))
    colors = page.locator("#table td").evaluate_all("(all) => all.slice(1).map((one) => one.style.background)")
    assert colors[6 * brightest[0] + 2 + brightest[1]] == "rgb(252, 255, 164)"  # the palette's last color
    page.locator("#map").wait_for(state="hidden")


def test_a_word_shows_where_it_looks_and_who_looks_at_it(visit, path):
    page = visit(path, "#map=word%20to%20word&layer=0&head=1&word=3")
    values = shown(CAPTION, 0, 2)
    names = ("start token", "prompt", *WORDS)
    assert close(told(page), f"“fox” looks at: {listed(names, values[2])}.")
    page.locator("#words label").nth(1).hover()
    assert close(told(page), f"“red” looks at: {listed(names, values[1])}.")
    shares = page.locator("#words label").evaluate_all(
        "(all) => all.map((one) => one.style.getPropertyValue('--share'))"
    )
    assert [float(share.rstrip("%")) for share in shares] == pytest.approx(
        60 * values[1, 2:] / values[1, 2:].max(), abs=1
    )
    choose(page, "who looks at it")
    assert close(told(page), f"“red” is looked at by: {listed(WORDS, values[:, 3])}.")
    page.get_by_role("button", name="start token").click()
    assert close(told(page), f"“start token” is looked at by: {listed(WORDS, values[:, 0])}.")
    page.wait_for_function("() => location.hash.includes('token=start%20token&way=to')")
    pair(page, 0, 5).click()  # the column of the last word
    assert close(told(page), f"“asleep” is looked at by: {listed(WORDS, values[:, 5])}.")
    assert page.locator("#word b").inner_text() == "asleep"
    page.locator("#matrix").focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    assert told(page).startswith("“fox” is looked at by")
    choose(page, "attention")  # back to the picture
    assert page.locator("#stage").is_visible() and not page.locator("#tokens").is_visible()
    assert page.locator("#words label").first.evaluate("(one) => one.style.getPropertyValue('--share')") == ""


def test_a_question_has_its_first_and_end_token_and_the_answer_has_no_table(visit, path):
    page = visit(path, "#picture=2&map=word%20to%20word")
    assert page.locator("#matrix").is_visible()  # the question, though the page opens with its answer
    values = shown(QUESTION, 1, 0)
    names = ("first token", *ASKED, "end token", "picture")
    assert close(told(page), f"“where” looks at: {listed(names, values[1])}.")
    page.get_by_role("button", name="first token").click()
    assert close(told(page), f"“first token” looks at: {listed(names, values[0])}.")
    assert page.get_by_role("button", name="picture", exact=True).count() == 0  # it does not look
    page.locator("#words label").last.hover()
    assert page.locator("#stage").is_visible() and not page.locator("#matrix").is_visible()
    assert page.locator("#methods input:checked + span").inner_text() == "attention"
    choose(page, "word to word")
    assert page.locator("#matrix").is_visible() and page.locator("#word b").inner_text() == "where"


def test_a_table_is_saved(visit, path):
    page = visit(path, "#map=word%20to%20word")
    with np.load(io.BytesIO(saved(page, "npz")[1])) as found:
        np.testing.assert_allclose(found["values"], CAPTION.values, atol=1 / 255)
    picture = Image.open(io.BytesIO(saved(page, "PNG")[1])).convert("RGB")
    assert (252, 255, 164) in {color for _, color in picture.getcolors(1 << 24) or ()}


def test_attention_among_other_words_is_named(photo):
    maps = [words_map(np.ones((2, 5, 7)), ("a", " dog"), whole(photo))]
    words = [PageWord("a"), PageWord(" dog")]
    message = "`word_to_word` must be self-attention among the words of the text, 'a dog', but has the axes"
    for other in (CAPTION, maps[0]):
        with pytest.raises(ValueError, match=message):
            PagePicture(photo, "fox.jpg", (), maps, words, word_to_word=other)
        with pytest.raises(ValueError, match=message):
            PageText(words, maps, word_to_word=other)
