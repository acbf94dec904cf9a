import math
import re

import numpy as np
import pytest

from multiattn.export import AskedPicture, PageQuestion, PageText, PageWord, write_page
from tests.export.pictures import picture_map, whole, words_map
from tests.export.questions import QUESTIONS, asked_picture, asked_text, maps_of
from tests.export.test_page import NASTY, Elements, picture_of


def test_each_question_is_a_view_with_two_texts(tmp_path, photo):
    write_page(tmp_path / "page.html", pictures=[asked_picture(photo)], title="Fox")
    views = picture_of(tmp_path / "page.html")["views"]
    assert len(views) == len(QUESTIONS)
    for view, (question, answer, candidates) in zip(views, QUESTIONS, strict=True):
        assert [text["title"] for text in view["texts"]] == ["Question", "Answer"]
        assert [tuple(word["text"] for word in text["words"]) for text in view["texts"]] == [question, answer]
        assert view["heading"] == "Answers" and view["predictions"] == [list(one) for one in candidates]
    first, second = views[0]["texts"]
    assert {word["probability"] for word in first["words"]} == {None}
    assert [word["probability"] for word in second["words"]] == [0.5, 0.6]
    names = ["attention", "relevance", "layer and head"]
    assert [one["name"] for one in first["maps"]] == [one["name"] for one in second["maps"]] == names
    assert [(len(text["maps"][2]["layers"]), text["maps"][2]["heads"]) for text in (first, second)] == [(2, 3), (3, 1)]
    assert views[2]["texts"][1] == {"title": "Answer", "words": [], "gaps": [""], "maps": []}  # nothing was said


def test_the_values_of_question_and_answer_are_kept_apart(tmp_path, photo):
    texts = ("red", "?"), ("red",)  # the same word in both
    question, answer = (asked_text(words, seed, photo, answered=bool(seed)) for seed, words in enumerate(texts))
    picture = AskedPicture(photo, "fox.jpg", [PageQuestion(question, answer)])
    write_page(tmp_path / "page.html", pictures=[picture], title="Fox")
    (view,) = picture_of(tmp_path / "page.html")["views"]
    for seed, (shown, heads) in enumerate(zip(view["texts"], ((2, 3), (3, 1)), strict=True)):
        for stored, one in zip(shown["maps"], maps_of(texts[seed], seed, photo, heads), strict=True):
            lows = one.values.reshape(-1, one.values.shape[-1] * one.values.shape[-2]).min(axis=1)
            assert stored["low"] == pytest.approx(lows, abs=1e-7)
            assert stored["note"] == one.note


def test_what_stands_between_the_words_is_kept(tmp_path, photo):
    picture = asked_picture(photo, count=2)
    first = picture.questions[0]
    whole_text = "¡what, color is the fox … ?!"
    asked = PageText(first.question.words, first.question.maps, whole_text)
    unanswered = PageQuestion(PageText((), (), "is it, well, asleep?"), PageText((), ()), [("", 0.25)])
    questions = [PageQuestion(asked, first.answer), unanswered]
    write_page(tmp_path / "page.html", pictures=[AskedPicture(photo, "fox.jpg", questions)], title="Fox")
    views = picture_of(tmp_path / "page.html")["views"]
    assert views[0]["texts"][0]["gaps"] == ["¡", ", ", " ", " ", " ", " … ", "!"]
    assert views[0]["texts"][1]["gaps"] == ["", " ", ""]  # without the whole: the words and their spaces
    assert [text["gaps"] for text in views[1]["texts"]] == [["is it, well, asleep?"], [""]]
    assert [text["maps"] for text in views[1]["texts"]] == [[], []]
    message = "`whole` must hold 'color' after the word before it, but is 'color what is the fox?' instead."
    with pytest.raises(ValueError, match=re.escape(message)):
        PageText(first.question.words, first.question.maps, "color what is the fox?")


@pytest.mark.parametrize("spare", [0, -1])
def test_stacks_are_left_out_of_a_page_that_they_would_make_too_big(tmp_path, photo, monkeypatch, spare):
    picture = asked_picture(photo)
    maps = [one for question in picture.questions for text in (question.question, question.answer) for one in text.maps]
    size = sum(math.prod(one.values.shape) * 4 // 3 for one in maps if "layer" in one.names)
    monkeypatch.setattr("multiattn.export.page._MOST_OF_STACKS", size + spare)
    write_page(tmp_path / "page.html", pictures=[picture], title="Fox")
    shown = picture_of(tmp_path / "page.html")
    names = [[one["name"] for one in text["maps"]] for view in shown["views"] for text in view["texts"] if text["maps"]]
    kept = spare == 0
    assert names == [["attention", "relevance", *(["layer and head"] if kept else [])]] * len(names) and names
    stored = [
        one["steps"] for view in shown["views"] for text in view["texts"] for one in text["maps"] if one["layers"]
    ]
    if kept:
        assert shown["left_out"] == ""
        assert sum(map(len, stored)) < size + 20 * len(stored)  # where nothing can be deflated; and base64 rounds up
    else:
        assert shown["left_out"].startswith("The maps of every layer and head are not on this page: they would take")


def test_stacks_without_other_maps_are_never_left_out(tmp_path, photo, monkeypatch):
    monkeypatch.setattr("multiattn.export.page._MOST_OF_STACKS", 0)
    (question,) = asked_picture(photo, count=1).questions
    only = [PageText(text.words, text.maps[2:]) for text in (question.question, question.answer)]
    write_page(tmp_path / "page.html", pictures=[AskedPicture(photo, "fox.jpg", [PageQuestion(*only)])], title="Fox")
    shown = picture_of(tmp_path / "page.html")
    assert shown["left_out"] == ""
    assert [one["name"] for text in shown["views"][0]["texts"] for one in text["maps"]] == ["layer and head"] * 2


def test_nothing_in_a_question_can_leave_its_place(tmp_path, photo):
    texts = (NASTY,)
    maps = [words_map(np.ones((1, 3, 5)), texts, whole(photo), note=NASTY, target=NASTY)]
    text = PageText([PageWord(NASTY)], maps)
    picture = AskedPicture(photo, NASTY, [PageQuestion(text, text, [(NASTY, 0.5)])])
    write_page(tmp_path / "page.html", pictures=[picture], title=NASTY)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert len(Elements(page).scripts) == 2 and "alert(1)</script>" not in page
    (view,) = picture_of(tmp_path / "page.html")["views"]
    assert view["predictions"][0][0] == view["texts"][1]["words"][0]["text"] == NASTY


def test_wrong_fields_are_named(photo):
    question = asked_text(("is", " it", "?"), 0, photo, answered=False)
    answer = asked_text(("yes",), 1, photo, answered=True)
    with pytest.raises(ValueError, match=r"`questions` must be at least one question, but is \[\] instead."):
        AskedPicture(photo, "fox.jpg", [])
    with pytest.raises(ValueError, match="`question` must be at least one word, but is '' instead."):
        PageQuestion(PageText([], []), answer)
    message = "`answer` must have maps by the methods of the question, attention, relevance, layer and head, "
    with pytest.raises(ValueError, match=f"{message}but has attention, relevance instead."):
        PageQuestion(question, PageText(answer.words, answer.maps[:2]))
    with pytest.raises(ValueError, match=f"{message}but has relevance, attention, layer and head instead."):
        PageQuestion(question, PageText(answer.words, [answer.maps[i] for i in (1, 0, 2)]))
    with pytest.raises(ValueError, match="`score` of 'no' must be between 0 and 1, but is 1.5 instead."):
        PageQuestion(question, answer, [("yes", 0.5), ("no", 1.5)])
    with pytest.raises(ValueError, match="one for each method, but are by attention, relevance, attention instead."):
        PageText(answer.words, [*answer.maps[:2], answer.maps[0]])
    with pytest.raises(ValueError, match=r"`words` must be those of the maps, \('yes',\), but are \('no',\) instead."):
        PageText([PageWord("no")], answer.maps)
    with pytest.raises(ValueError, match=r"`words` must be those of the maps, \('yes',\), but are \(\) instead."):
        PageText([], answer.maps)
    with pytest.raises(ValueError, match=r"`maps` must be at least one map, but is \[\] instead."):
        PageText(answer.words, [])
    with pytest.raises(ValueError, match="`geometry` of the map must say where it lies"):
        PageText(answer.words, [words_map(np.ones((1, 3, 5)), ("yes",), None)])
    with pytest.raises(
        ValueError, match="`image_dependence` of 'it' must come with a `probability`, but that is None inst"
    ):
        PageWord("it", image_dependence=0.5)
    PageText(answer.words, [picture_map(np.eye(5), whole(photo))])  # a map that is the same for all words
