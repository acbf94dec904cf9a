"""The closed list of answers, how well an answer answers, and which of several is learnt."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multiattn.data.answer_list import AnswerList, answer_shares, frequent_answers, most_agreed, spelled
from multiattn.data.questions import Question, QuestionRecords
from multiattn.errors import InputError
from multiattn.metrics.vqa import normalize_answer


def records_of(*answers: tuple[str, ...]) -> QuestionRecords:
    return QuestionRecords(tuple((Path(f"{i}.png"), (Question("what?", given),)) for i, given in enumerate(answers)))


PEOPLE = st.lists(st.sampled_from(("red", "pink", "dark red", "blue", "2")), min_size=10, max_size=10)


@settings(max_examples=50, deadline=None)
@given(PEOPLE)
def test_targets_are_the_shares_of_the_people(people) -> None:
    answers = AnswerList(("blue", "green", "dark red", "red"))
    expected = {place: people.count(label) / 10 for place, label in enumerate(answers.labels) if label in people}
    assert answers.targets(people) == pytest.approx(expected)


def test_six_to_four_is_not_a_tie() -> None:
    """The VQA accuracy of both is 1, for three people are enough."""
    people = ["red"] * 6 + ["pink"] * 4
    assert AnswerList(("pink", "red")).targets(people) == {1: 0.6, 0: 0.4}
    assert answer_shares(people) == {"red": 0.6, "pink": 0.4}


def test_targets_compare_as_the_metric_does() -> None:
    answers = AnswerList(("two", "Red", "red"))
    assert answers.targets(["2."]) == {0: 1.0}
    assert answers.targets(["the red"]) == {1: 1.0}  # the first of those that are the same
    assert answers.targets(["three"]) == {}


def test_the_list_has_the_most_frequent_answers_as_most_people_spell_them() -> None:
    records = records_of(("No",), ("Two ",), ("2",), ("two",), ("no",), ("two",), ("a  fox",), ("red", "pink", "pink"))
    found = frequent_answers(records, max_answers=9, min_count=1)
    assert found.labels == ("two", "no", "a fox", "pink")
    assert frequent_answers(records, max_answers=3, min_count=1).labels == ("two", "no", "a fox")
    assert frequent_answers(records, max_answers=9, min_count=2).labels == ("two", "no")
    assert frequent_answers(records, max_answers=9, min_count=2).coverage(records.questions()) == 6 / 8
    assert found.coverage([]) == 0
    with pytest.raises(
        InputError, match="`min_count` must be at most 4, the count of the most frequent answer, but is 5"
    ):
        frequent_answers(records, max_answers=9, min_count=5)


@settings(max_examples=50, deadline=None)
@given(PEOPLE)
def test_shares_are_those_of_the_votes(people) -> None:
    shares = answer_shares(people)
    assert shares == pytest.approx({answer: people.count(answer) / 10 for answer in people})
    assert sum(shares.values()) == pytest.approx(1)
    counts = Counter(map(normalize_answer, people))
    assert counts[normalize_answer(most_agreed(people))] == max(counts.values())
    assert next(iter(shares)) == most_agreed(people)


@given(st.text(max_size=9), st.text(max_size=9))
def test_what_is_spelled_alike_is_one_answer(one, other) -> None:
    """So no answer is in the list twice, which no model directory may have."""
    if spelled(one) == spelled(other):
        assert normalize_answer(one) == normalize_answer(other)
    assert normalize_answer(spelled(one)) == normalize_answer(one)


def test_the_list_has_each_spelling_once() -> None:
    records = records_of(("caf\u00e9",), ("cafe\u0301",), ("Caf\u00e9",))
    found = frequent_answers(records, max_answers=9, min_count=1)
    assert found.labels == ("caf\u00e9",)
    assert found.targets(["cafe\u0301"]) == {0: 1.0}


def test_an_answer_is_spelled_as_most_people_spell_it() -> None:
    assert spelled("  Cafe\u0301 \t AU lait") == "café au lait"
    assert most_agreed(["Book, scissor"]) == "book, scissor"
    assert most_agreed(["a dog", "Dog", "a cat", "dog"]) == "dog"
    assert list(answer_shares(["", " ", "Yes"])) == ["yes"]
    assert answer_shares(["", " ", "yes"])["yes"] == 1
