import re

import pytest

from multiattn.errors import ModelError
from multiattn.pipelines.options import caption_search


def test_the_caller_goes_over_the_model_and_the_model_over_the_default() -> None:
    by_model = {"max_tokens": 11, "length_penalty": 0.5, "num_beams": 2, "prompt": "a picture of "}
    found = caption_search({"max_tokens": 5, "num_beams": None}, by_model, source="m")
    assert (found.max_tokens, found.length_penalty, found.num_beams, found.sample) == (5, 0.5, 2, False)
    found = caption_search({}, {}, source="m")
    assert (found.max_tokens, found.length_penalty, found.num_beams, found.num_return_sequences) == (30, 1.0, 3, 1)


@pytest.mark.parametrize(
    ("asked", "by_model", "num_beams"),
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
def test_the_width_of_the_search_follows_from_what_is_wanted(asked, by_model, num_beams) -> None:
    assert caption_search(asked, by_model, source="m").num_beams == num_beams


def test_what_is_asked_for_goes_over_the_models_own_wishes() -> None:
    assert not caption_search({"num_beams": 4}, {"sample": True}, source="m").sample
    assert caption_search({"num_beams": 1}, {"sample": True}, source="m").sample
    assert caption_search({"max_tokens": 3}, {"min_tokens": 5}, source="m").min_tokens == 3
    assert caption_search({"max_tokens": 9}, {"min_tokens": 5}, source="m").min_tokens == 5
    with pytest.raises(ModelError, match="`num_beams` must be 1 with `sample`"):
        caption_search({"num_beams": 4, "sample": True}, {}, source="m")


def test_an_option_of_the_models_that_there_is_not() -> None:
    with pytest.raises(ModelError, match="m: `decoding` must hold known options, but holds 'beems' instead"):
        caption_search({}, {"beems": 3}, source="m")


def test_an_option_of_the_models_that_is_out_of_range() -> None:
    with pytest.raises(
        ModelError, match="m: `decoding` cannot be used: `num_beams` must be at least 1, but is 0 instead"
    ):
        caption_search({}, {"num_beams": 0}, source="m")


def test_a_prompt_of_the_models_that_is_no_text() -> None:
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
def test_an_option_of_another_kind(asked, message) -> None:
    with pytest.raises(ModelError, match=re.escape(message)):
        caption_search(asked, {}, source="m")
    caption_search({"seed": 2**64 - 1, "prompt": "", "num_beams": None}, {}, source="m")
