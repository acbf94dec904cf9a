import math
import re

import numpy as np
import pytest
from PIL import Image

from multiattn.export import IndexEntry, PagePicture, PageWord, blend, write_index, write_page
from tests.export.pictures import picture_map, whole, words_map
from tests.export.test_page import NASTY, Elements, view_of

TEXTS = ("a", " red", NASTY)
VALUES = np.random.default_rng(31).random((3, 5, 7))
WORDS = [PageWord("a", 0.9, 0.05), PageWord(" red", 0.4, math.log(8)), PageWord(NASTY, 0.25)]


def captioned(picture: Image.Image, **fields: object) -> PagePicture:
    facts: dict = {"name": "fox.jpg", "predictions": (), "words": WORDS}
    return PagePicture(picture, **{**facts, "maps": [words_map(VALUES, TEXTS, whole(picture))], **fields})


def test_words_say_what_they_owe_to_the_picture(tmp_path, photo):
    write_page(tmp_path / "page.html", pictures=[captioned(photo)], title="Fox")
    view = view_of(tmp_path / "page.html")
    (text,) = view["texts"]
    first, second, third = text["words"]
    assert [word["text"] for word in text["words"]] == list(TEXTS)
    assert (first["ungrounded"], second["ungrounded"]) == (True, False)
    assert second["without"] == pytest.approx(0.05) and second["likelier"] == "× 8.0"
    assert first["without"] == pytest.approx(0.9 * math.exp(-0.05))
    assert third == {"text": NASTY, "probability": 0.25, "without": None}
    assert view["predictions"] == [] and text["maps"][0]["words"] == 3


@pytest.mark.parametrize("drop", [-5000.0, -2.0, 5000.0])
def test_a_word_without_the_picture_has_a_probability(tmp_path, photo, drop):
    words = [PageWord("a", 0.9, drop), *WORDS[1:]]
    write_page(tmp_path / "page.html", pictures=[captioned(photo, words=words)], title="Fox")
    without = view_of(tmp_path / "page.html")["texts"][0]["words"][0]["without"]
    assert without == (1.0 if drop < 0 else 0.0)


def test_values_of_layers_heads_and_words_keep_their_order(tmp_path, photo):
    values = np.arange(2 * 3 * 3 * 35).reshape(2, 3, 3, 5, 7)
    maps = [words_map(values, TEXTS, whole(photo)), words_map(VALUES, TEXTS, whole(photo), method="relevance")]
    write_page(tmp_path / "page.html", pictures=[captioned(photo, maps=maps)], title="Fox")
    stack, relevance = view_of(tmp_path / "page.html")["texts"][0]["maps"]
    assert (stack["name"], stack["heads"], stack["words"], len(stack["layers"])) == ("layer and head", 3, 3, 2)
    assert stack["low"] == [35.0 * i for i in range(18)]
    assert (relevance["name"], relevance["layers"], relevance["words"]) == ("relevance", None, 3)
    assert relevance["low"] == pytest.approx(VALUES.reshape(3, 35).min(axis=1), abs=1e-6)


def test_nothing_in_a_word_can_leave_its_place(tmp_path, photo):
    write_page(tmp_path / "page.html", pictures=[captioned(photo)], title="Fox")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert len(Elements(text).scripts) == 2 and "alert(1)</script>" not in text


def test_index_takes_captions_without_a_score(tmp_path, photo, monkeypatch):
    drawn = []
    monkeypatch.setattr("multiattn.export.index.blend", lambda *seen: drawn.append(seen[1]) or blend(*seen))
    entry = IndexEntry(photo, "fox.jpg", "fox.html", "a red fox", None, words_map(VALUES, TEXTS, whole(photo)))
    write_index(tmp_path / "index.html", [entry], title="Fox")
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "<strong>a red fox</strong><span></span>" in text and "%" not in text.split("</style>")[1]
    np.testing.assert_allclose(drawn[0].values, VALUES.mean(axis=0), atol=1e-6)


def test_index_has_the_question_of_an_answer(tmp_path, photo):
    fields = ("fox.jpg", "fox.html#question=2", "red", 0.5, words_map(VALUES, TEXTS, whole(photo)))
    entries = [IndexEntry(photo, *fields, question=said) for said in ("is it <red>?", "what " * 40, "")]
    write_index(tmp_path / "index.html", entries, title="Fox")
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    questions = re.findall('<span class="question">(.*?)</span>', text)
    assert questions == ["is it &lt;red&gt;?", "what " * 23 + "…"]
    assert 'href="fox.html#question=2"' in text and ">1 picture;" in text  # three cards of one


def test_wrong_fields_are_named(photo):
    with pytest.raises(
        ValueError, match=r"`words` must be those of the maps, \('a', ' red', .*, but are \('a',\) inst"
    ):
        captioned(photo, words=WORDS[:1])
    with pytest.raises(ValueError, match=r"`words` must be those of the maps"):
        captioned(photo, words=())
    with pytest.raises(ValueError, match="`score` of 'fox' must be between 0 and 1, but is 1.5 instead"):
        PageWord("fox", 1.5)
    with pytest.raises(ValueError, match="`image_dependence` of 'fox' must be finite, but is inf instead"):
        PageWord("fox", 0.5, math.inf)
    captioned(photo, maps=[picture_map(np.eye(5), whole(photo))])  # a map that is the same for all words
