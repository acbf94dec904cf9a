"""Which items of a split a model writes about, and the scores of what it writes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multiattn.metrics import caption_scores
from multiattn.metrics.vqa import answer_scores
from multiattn.tasks.metrics import Predictions, score_answers, score_captions

REFERENCES = [["a red disc on a gray wall"], ["a blue disc in the rain"], ["two green discs side by side"]]


@given(size=st.integers(1, 211), limit=st.integers(0, 307))
def test_the_pictures_to_caption_are_as_many_as_asked_for_and_evenly_spread(size: int, limit: int) -> None:
    written = Predictions(size, limit=limit, score=score_captions)
    chosen = [place for place in range(size) if written.wants(place)]
    assert len(chosen) == min(size, limit)
    gaps = [b - a for a, b in zip(chosen, chosen[1:], strict=False)]
    assert max(gaps, default=0) - min(gaps, default=0) <= 1


def test_all_are_captioned_without_a_limit() -> None:
    assert all(Predictions(13, score=score_captions).wants(place) for place in range(13))


def test_the_scores_are_those_of_all_captions_whatever_order_they_came_in() -> None:
    texts = ["a red disc on a wall", "a blue disc in the rain", "one green disc side by side"]
    expected = caption_scores(texts, REFERENCES)
    written = Predictions(3, score=score_captions)
    for place in (2, 0, 1):
        written.add(place, texts[place], REFERENCES[place])
    scores = written.scores()
    assert scores.keys() == {"bleu4", "meteor", "rouge_l", "cider"}
    assert scores == {name: pytest.approx(getattr(expected, name)) for name in scores}
    assert scores["cider"] > 0
    assert written.scores() == {}  # what is scored is gone


def test_answers_are_scored_over_all_questions_whatever_order_they_came_in() -> None:
    answers = ["red", "2", "no", "cat", "dog"]
    given = [("red",) * 10, ("two",) * 3 + ("3",) * 7, ("yes",), ("Cat.",), ("dog", "dog", "cat")]
    predictions = Predictions(3, score=score_answers)
    for question in (4, 0, 2, 1, 3):  # about three pictures: 0 and 1, 2 and 3, 4
        predictions.add(question // 2, answers[question], given[question], number=question % 2)
    expected = answer_scores(answers, given, ["all"] * 5)
    assert expected.accuracy != expected.vqa_accuracy
    assert predictions.scores() == {
        "accuracy": pytest.approx(expected.accuracy),
        "vqa_accuracy": pytest.approx(expected.vqa_accuracy),
    }
