from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multiattn.errors import InputError
from multiattn.metrics.vqa import (
    TypeScores,
    agreement,
    answer_scores,
    is_exact,
    most_frequent,
    normalize_answer,
    normalize_question,
    question_type,
)

people = st.lists(st.sampled_from(["red", "blue", "dark red", "none"]), min_size=1, max_size=13)


def naive_agreement(answer: str, answers: list[str]) -> float:
    """The formula as it is published: min(1, matches / 3) over each set of all people but one, then the mean."""
    scores = []
    for left_out in range(len(answers)):
        others = [other for place, other in enumerate(answers) if place != left_out]
        scores.append(min(1.0, sum(other == answer for other in others) / 3))
    return sum(scores) / len(scores)


@pytest.mark.parametrize(("count", "score"), [(0, 0.0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (10, 1.0)])
def test_of_ten_people_an_answer_gets_what_is_published(count: int, score: float) -> None:
    others = [f"word {i}" for i in range(10 - count)]
    assert agreement("yes", ["yes"] * count + others) == pytest.approx(score)


@given(st.lists(st.sampled_from(["red", "blue", "green", "gray"]), min_size=4, max_size=13), st.sampled_from("ab"))
def test_from_four_people_on_the_agreement_is_the_formula_person_by_person(answers: list[str], other: str) -> None:
    for answer in {*answers, other}:
        expected = naive_agreement(answer, answers)
        assert agreement(answer, answers) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("answers", "score"),
    [
        (["red"], 1.0),
        (["blue"], 0.0),
        (["red", "red"], 1.0),
        (["red", "blue"], 0.5),  # with the person of the same answer left out, no other gave it
        (["red", "red", "blue"], (0.5 + 0.5 + 1) / 3),
        (["red", "red", "red"], 1.0),
    ],
)
def test_of_fewer_people_all_others_are_enough(answers: list[str], score: float) -> None:
    assert agreement("red", answers) == pytest.approx(score)


@given(people)
def test_exact_is_what_most_people_said(answers: list[str]) -> None:
    counts = Counter(answers)
    for answer, count in counts.items():
        assert is_exact(answer, answers) == (count == max(counts.values()))
    assert not is_exact("purple", answers)


@given(people)
def test_all_said_alike_is_right_and_unsaid_is_wrong(answers: list[str]) -> None:
    assert agreement(answers[0], [answers[0]] * len(answers)) == 1
    assert agreement("purple", answers) == 0


@pytest.mark.parametrize(
    ("text", "normalized"),
    [
        ("  A  Dog.\n", "dog"),
        ("the man's hat!", "man's hat"),
        ("Two", "2"),
        ("none", "0"),
        ("ten or eleven", "10 or eleven"),
        ("black/white", "black white"),
        ("black / white", "black white"),
        ("tape_dispenser", "tape dispenser"),
        ("book, tape_dispenser", "book tape dispenser"),
        ("1,000", "1000"),
        ("1,000 t-shirts", "1000 tshirts"),  # a quirk of the published rules: a number with a comma joins all
        ("t-shirt", "t shirt"),
        ("1.5", "1.5"),
        ("no. 5", "no 5"),
        ("i dont know", "i don't know"),
        ("Couldn'tve", "couldn't've"),
        ("it cant", "it can't"),
        ("were well", "were well"),  # words of their own: no apostrophe is missing
        ("here it is", "here it is"),
        ("cafe\u0301", "caf\u00e9"),
        ("she'd", "she'd"),
        ("oclock", "o'clock"),
        ("50%", "50%"),
        ("a", ""),
    ],
)
def test_an_answer_is_normalized_by_the_published_rules(text: str, normalized: str) -> None:
    assert normalize_answer(text) == normalized


@given(st.text(alphabet="ab T.,'-2 the", max_size=15))
def test_case_and_spaces_around_make_no_difference(text: str) -> None:
    found = normalize_answer(text)
    assert found == normalize_answer(f" {text.upper()} ") == normalize_answer(found.upper())


def test_both_sides_are_normalized() -> None:
    assert agreement("The dogs.", ["dogs", "Dogs", "the dogs", "cats"]) == pytest.approx((3 * 2 / 3 + 1) / 4)
    assert is_exact("2", ["two"])


def test_scores_are_means_over_all_questions_and_over_each_kind() -> None:
    answers = ["red", "two", "no", "yes", "cat"]
    said = [["red"] * 10, ["2"] * 3 + ["3"] * 7, ["yes"], ["yes"], ["dog"] * 9 + ["cat"]]
    found = answer_scores(answers, said, ["color", "count", "exist", "exist", "animal"])
    assert found.accuracy == pytest.approx(2 / 5)
    assert found.vqa_accuracy == pytest.approx((1 + 0.9 + 0 + 1 + 0.3) / 5)
    assert found.by_type == {
        "exist": TypeScores(0.5, 2),
        "color": TypeScores(1.0, 1),
        "count": TypeScores(0.0, 1),
        "animal": TypeScores(0.0, 1),
    }
    assert next(iter(found.by_type)) == "exist"


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("How many dogs are there?", "how many"),
        ("  What's   the color?", "what's the"),
        ("“Why”?", "“why”"),
        ('"Why?"', "why"),
        ("is it, red", "is it"),
        ("?", ""),
    ],
)
def test_a_question_without_a_type_has_its_first_two_words_for_one(question: str, kind: str) -> None:
    assert question_type(question) == kind
    assert normalize_question(question).startswith(kind)


def test_the_most_frequent_answer_is_found_for_each_kind_and_for_all() -> None:
    said = [["A cat", "cat"], ["dog"], ["Dog."], ["dog", "dog"], ["two"]]
    found = most_frequent(said, ["animal", "animal", "pet", "pet", "count"])
    assert found == {"": "dog", "animal": "cat", "pet": "dog", "count": "2"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((["red"], [["red"]], []), "`answers`, `given` and `types` must be one for each question, but are 1, 1 and 0"),
        (([], [], []), "`answers` must be answers to at least one question, but is [] instead."),
        ((["red"], [[]], ["color"]), "`given` must be the answers of at least one person, but is [] instead."),
    ],
)
def test_what_cannot_be_scored(arguments: tuple[list[str], list[list[str]], list[str]], message: str) -> None:
    with pytest.raises(InputError) as raised:
        answer_scores(*arguments)
    assert str(raised.value).startswith(message)
