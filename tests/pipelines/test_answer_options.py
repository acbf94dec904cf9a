import pytest

from multiattn.errors import InputError, ModelError
from multiattn.inputs import Tokenizer
from multiattn.pipelines.options import answer_search, check_answer_options, checked_answers, first_token_of


def search(asked: dict, by_model: dict | None = None):
    return answer_search(asked, by_model or {}, source="tiny")


def test_what_is_asked_for_goes_over_the_model_and_that_over_the_default() -> None:
    assert (search({}).num_beams, search({}).num_return_sequences, search({}).length_penalty) == (3, 3, 0.0)
    assert (search({}, {"num_beams": 1, "max_tokens": 9}).num_beams, search({}, {"max_tokens": 9}).max_tokens) == (1, 9)
    assert search({"num_beams": 4}, {"num_beams": 1}).num_beams == 4
    assert search({"max_tokens": 2}, {"max_tokens": 9, "min_tokens": 5}).min_tokens == 2
    assert search({}, {"length_penalty": 1.0, "pointing_heads": ((0, 1),)}).length_penalty == 1.0
    assert search({"num_beams": None, "top_k": None}) == search({})


def test_there_are_beams_enough_for_the_answers_asked_for() -> None:
    assert (search({"top_k": 5}).num_beams, search({"top_k": 5}).num_return_sequences) == (5, 5)
    assert (search({"top_k": 2}).num_beams, search({"top_k": 2}).num_return_sequences) == (3, 2)
    assert (
        search({"top_k": 5, "num_beams": 2}).num_beams,
        search({"top_k": 5, "num_beams": 2}).num_return_sequences,
    ) == (2, 2)
    assert (search({"top_k": 5}, {"num_beams": 1}).num_beams, search({"num_beams": 7}).num_return_sequences) == (5, 7)


@pytest.mark.parametrize(
    ("asked", "by_model", "message"),
    [
        ({"num_beams": 0}, {}, "`num_beams` must be at least 1"),
        ({"num_beams": "3"}, {}, "`num_beams` must be a whole number, but is '3' instead"),
        ({"max_tokens": 2.5}, {}, "`max_tokens` must be a whole number, but is 2.5 instead"),
        ({}, {"beems": 3}, "tiny: `decoding` must hold known options, but holds 'beems' instead"),
        ({}, {"num_beams": 0}, "tiny: `decoding` cannot be used: `num_beams` must be at least 1"),
        ({}, {"sample": True}, "tiny: `decoding` must search for answers, but has `sample` instead: take it out"),
    ],
)
def test_what_cannot_be(asked, by_model, message) -> None:
    with pytest.raises(ModelError, match=message):
        search(asked, by_model)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"top_k": 0}, "`top_k` must be at least 1, but is 0 instead"),
        ({"top_k": "5"}, "`top_k` must be a whole number, but is '5' instead"),
        ({"first_token": 7}, "`first_token` must be a token's name, but is 7 instead"),
        (
            {"num_beams": 3},
            "`num_beams` says how an answer is written, but tiny takes it from a list: leave `num_beams` out",
        ),
        ({"max_tokens": 3}, "`max_tokens` says how an answer is written, but tiny takes it from a list"),
    ],
)
def test_what_is_asked_of_a_list(asked, message) -> None:
    with pytest.raises(ModelError, match=message):
        check_answer_options(asked, writes=False, source="tiny")


def test_what_is_asked_of_a_model_that_writes() -> None:
    check_answer_options(
        {"num_beams": 3, "max_tokens": 3, "top_k": None, "first_token": None}, writes=True, source="tiny"
    )


def test_the_first_token_by_name_and_by_number() -> None:
    tokenizer = Tokenizer.train(["a few letters"], kind="characters", vocab_size=31)
    size = tokenizer.vocab_size

    def first(name: str | None, *, vocab_size: int = size) -> int:
        return first_token_of(name, tokenizer, default=1, vocab_size=vocab_size, source="tiny")

    assert (first(None), first("[END]"), first("5")) == (1, 2, 5)
    assert first(str(size + 1), vocab_size=size + 2) == size + 1  # weights may have rows without a name
    for wrong in ("[ENC]", "[CLS]", str(size), "-1", "²", ""):
        with pytest.raises(ModelError, match=r"`first_token` must be a token of tiny by its name or its number \(0 to"):
            first(wrong)


def test_answers_to_choose_from() -> None:
    assert checked_answers(["yes", " no ", "a b"]) == ["yes", "no", "a b"]
    assert checked_answers(("yes",)) == ["yes"]


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([], "`answers` must have at least one answer, but has none: give some, or leave it out"),
        ("yes", "`answers` must be a list of texts, but is 'yes' instead"),
        (["yes", 3], r"`answers\[1\]` must be text, but is 3 instead"),
        (["yes", " "], r"`answers\[1\]` must have more than spaces, but is ' ' instead"),
        (["yes", "no", "yes "], r"`answers` must be different, but 'yes ' is there twice \(0 and 2\): leave one out"),
    ],
)
def test_answers_that_are_none(answers, message) -> None:
    with pytest.raises(InputError, match=message):
        checked_answers(answers)
