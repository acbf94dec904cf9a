"""The options of captions and answers: what the caller asks for, over the model's own, over the defaults."""

import re

import pytest

from multiattn.errors import InputError, ModelError
from multiattn.inputs import Tokenizer
from multiattn.pipelines.options import (
    answer_search,
    caption_search,
    check_answer_options,
    checked_answers,
    first_token_of,
)


def test_captions_caller_over_model_over_default() -> None:
    decoding = {"max_tokens": 11, "length_penalty": 0.5, "num_beams": 2, "prompt": "a picture of "}
    found = caption_search({"max_tokens": 5, "num_beams": None}, decoding, source="m")
    assert (found.max_tokens, found.length_penalty, found.num_beams, found.sample) == (5, 0.5, 2, False)
    found = caption_search({}, {}, source="m")
    assert (found.max_tokens, found.length_penalty, found.num_beams, found.num_return_sequences) == (30, 1.0, 3, 1)


@pytest.mark.parametrize(
    ("asked", "decoding", "num_beams"),
    [
        ({"num_return_sequences": 5}, {}, 5),
        ({"num_return_sequences": 2}, {}, 3),
        ({"num_return_sequences": 5}, {"num_beams": 7}, 7),
        ({"sample": True}, {}, 1),
        ({"sample": True, "num_return_sequences": 5}, {"num_beams": 7}, 1),
        ({"sample": False}, {"sample": True}, 3),
        ({"num_beams": 1}, {"num_beams": 7}, 1),
        ({}, {"num_beams": 1}, 1),
    ],
)
def test_captions_default_num_beams_depends_on_other_options(asked, decoding, num_beams) -> None:
    assert caption_search(asked, decoding, source="m").num_beams == num_beams


def test_captions_request_overrides_conflicting_model_options() -> None:
    assert not caption_search({"num_beams": 4}, {"sample": True}, source="m").sample
    assert caption_search({"num_beams": 1}, {"sample": True}, source="m").sample
    assert caption_search({"max_tokens": 3}, {"min_tokens": 5}, source="m").min_tokens == 3
    assert caption_search({"max_tokens": 9}, {"min_tokens": 5}, source="m").min_tokens == 5
    with pytest.raises(ModelError, match=r"`min_tokens` must be at most `max_tokens` \(3\), but is 4 instead"):
        caption_search({"max_tokens": 3, "min_tokens": 4}, {}, source="m")  # both were asked for
    with pytest.raises(ModelError, match="`num_beams` must be 1 with `sample`"):
        caption_search({"num_beams": 4, "sample": True}, {}, source="m")


def test_captions_unknown_model_option() -> None:
    with pytest.raises(ModelError, match="m: `decoding` must hold known options, but holds 'beems' instead"):
        caption_search({}, {"beems": 3}, source="m")


def test_captions_model_option_out_of_range() -> None:
    with pytest.raises(
        ModelError, match="m: `decoding` cannot be used: `num_beams` must be at least 1, but is 0 instead"
    ):
        caption_search({}, {"num_beams": 0}, source="m")


def test_captions_model_prompt_must_be_text() -> None:
    with pytest.raises(ModelError, match="m: `decoding` must have a text as `prompt`, but has 3 instead"):
        caption_search({}, {"prompt": 3}, source="m")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"num_beams": "3"}, "`num_beams` must be a whole number, but is '3' instead"),
        ({"num_return_sequences": 2.0}, "`num_return_sequences` must be a whole number, but is 2.0 instead"),
        ({"max_tokens": "9"}, "`max_tokens` must be a whole number, but is '9' instead"),
        ({"seed": 1.5}, "`seed` must be a whole number from 0 to 2**64 - 1, but is 1.5 instead"),
        ({"seed": -1}, "`seed` must be a whole number from 0 to 2**64 - 1, but is -1 instead"),
        ({"seed": 2**64}, "`seed` must be a whole number from 0 to 2**64 - 1, but is 18446744073709551616 instead"),
        ({"prompt": b"a dog"}, "`prompt` must be text, but is b'a dog' instead"),
    ],
)
def test_captions_option_of_wrong_type(asked, message) -> None:
    with pytest.raises(ModelError, match=re.escape(message)):
        caption_search(asked, {}, source="m")
    caption_search({"seed": 2**64 - 1, "prompt": "", "num_beams": None}, {}, source="m")


def search(asked: dict, decoding: dict | None = None):
    return answer_search(asked, decoding or {}, source="tiny")


def test_answers_caller_over_model_over_default() -> None:
    assert (search({}).num_beams, search({}).num_return_sequences, search({}).length_penalty) == (3, 3, 0.0)
    assert (search({}, {"num_beams": 1, "max_tokens": 9}).num_beams, search({}, {"max_tokens": 9}).max_tokens) == (1, 9)
    assert search({"num_beams": 4}, {"num_beams": 1}).num_beams == 4
    assert search({"max_tokens": 2}, {"max_tokens": 9, "min_tokens": 5}).min_tokens == 2
    assert search({}, {"length_penalty": 1.0, "pointing_heads": ((0, 1),)}).length_penalty == 1.0
    assert search({"num_beams": None, "top_k": None}) == search({})


def test_answers_num_beams_covers_top_k() -> None:
    assert (search({"top_k": 5}).num_beams, search({"top_k": 5}).num_return_sequences) == (5, 5)
    assert (search({"top_k": 2}).num_beams, search({"top_k": 2}).num_return_sequences) == (3, 2)
    assert (
        search({"top_k": 5, "num_beams": 2}).num_beams,
        search({"top_k": 5, "num_beams": 2}).num_return_sequences,
    ) == (2, 2)
    assert (search({"top_k": 5}, {"num_beams": 1}).num_beams, search({"num_beams": 7}).num_return_sequences) == (5, 7)


@pytest.mark.parametrize(
    ("asked", "decoding", "message"),
    [
        ({"num_beams": 0}, {}, "`num_beams` must be at least 1"),
        ({"num_beams": "3"}, {}, "`num_beams` must be a whole number, but is '3' instead"),
        ({"max_tokens": 2.5}, {}, "`max_tokens` must be a whole number, but is 2.5 instead"),
        ({}, {"beems": 3}, "tiny: `decoding` must hold known options, but holds 'beems' instead"),
        ({}, {"num_beams": 0}, "tiny: `decoding` cannot be used: `num_beams` must be at least 1"),
        ({}, {"sample": True}, "tiny: `decoding` must search for answers, but has `sample` instead: take it out"),
    ],
)
def test_answers_unusable_options(asked, decoding, message) -> None:
    with pytest.raises(ModelError, match=message):
        search(asked, decoding)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"top_k": 0}, "`top_k` must be at least 1, but is 0 instead"),
        ({"top_k": "5"}, "`top_k` must be a whole number, but is '5' instead"),
        ({"first_token": 7}, "`first_token` must be text, but is 7 instead"),
        (
            {"num_beams": 3},
            "`num_beams` says how an answer is written, but tiny takes it from a list: leave `num_beams` out",
        ),
        ({"max_tokens": 3}, "`max_tokens` says how an answer is written, but tiny takes it from a list"),
    ],
)
def test_answers_from_a_list_refuse_search_options(asked, message) -> None:
    with pytest.raises(ModelError, match=message):
        check_answer_options(asked, writes=False, source="tiny")


def test_answers_written_accept_search_options() -> None:
    check_answer_options(
        {"num_beams": 3, "max_tokens": 3, "top_k": None, "first_token": None}, writes=True, source="tiny"
    )


def test_first_token_by_name_and_by_number() -> None:
    tokenizer = Tokenizer.train(["a few letters"], kind="characters", vocab_size=31)
    size = tokenizer.vocab_size

    def first(name: str | None, *, vocab_size: int = size) -> int:
        return first_token_of(name, tokenizer, default=1, vocab_size=vocab_size, source="tiny")

    assert (first(None), first("[END]"), first("5")) == (1, 2, 5)
    assert first(str(size + 1), vocab_size=size + 2) == size + 1  # weights may have rows without a name
    for wrong in ("[ENC]", "[CLS]", str(size), "-1", "²", ""):
        with pytest.raises(ModelError, match=r"`first_token` must be a token of tiny by its name or its number \(0 to"):
            first(wrong)


def test_checked_answers() -> None:
    assert checked_answers(["yes", " no ", "a b"]) == ["yes", "no", "a b"]
    assert checked_answers(("yes",)) == ["yes"]


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([], "`answers` must have at least one answer, but has none: give some, or leave it out"),
        ("yes", "`answers` must be a list of texts, but is 'yes' instead"),
        (["yes", 3], r"`answers\[1\]` must be text, but is 3 instead"),
        (["yes", " "], r"`answers\[1\]` must be more than spaces, but is ' ' instead"),
        (["yes", "no", "yes "], r"`answers` must be different, but 'yes ' is there twice \(0 and 2\): leave one out"),
    ],
)
def test_unusable_answers(answers, message) -> None:
    with pytest.raises(InputError, match=message):
        checked_answers(answers)
