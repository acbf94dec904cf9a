import pytest

from multiattn.errors import ModelError
from multiattn.generation import GenerationConfig


def checked(**values: object) -> GenerationConfig:
    """Options as they are made where no test checks the types beforehand."""
    options = GenerationConfig()
    for name, value in values.items():
        object.__setattr__(options, name, value)
    options.__post_init__()
    return options


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("max_tokens", 0, "at least 1"),
        ("max_tokens", 2.5, "a whole number"),
        ("max_tokens", True, "a whole number"),
        ("min_tokens", -1, "at least 0"),
        ("min_tokens", 31, r"at most `max_tokens` \(30\)"),
        ("num_beams", 0, "at least 1"),
        ("num_beams", 1001, "at most 1000"),
        ("num_beams", "3", "a whole number"),
        ("num_return_sequences", 0, "at least 1"),
        ("num_return_sequences", 2, r"at most `num_beams` \(1\) without `sample`"),
        ("length_penalty", float("nan"), "from -10 to 10"),
        ("length_penalty", 10.5, "from -10 to 10"),
        ("length_penalty", "1", "a number"),
        ("early_stopping", "always", 'True, False or "never"'),
        ("early_stopping", 1, 'True, False or "never"'),
        ("patience", 0.9, "at least 1 and finite"),
        ("patience", float("inf"), "at least 1 and finite"),
        ("patience", "2", "a number"),
        ("renormalize", 1, "True or False"),
        ("count_end", None, "True or False"),
        ("sample", 1, "True or False"),
        ("temperature", 0.0, "above 0 and finite"),
        ("temperature", float("inf"), "above 0 and finite"),
        ("top_k", 0, "at least 1"),
        ("top_k", 1.5, "a whole number"),
        ("top_p", 0.0, "above 0 and at most 1"),
        ("top_p", 1.1, "above 0 and at most 1"),
        ("top_p", True, "a number"),
        ("repetition_penalty", 0.0, "above 0 and finite"),
        ("no_repeat_ngram", -1, "at least 0"),
        ("suppress", (3, -1), "tokens, whole numbers from 0"),
        ("suppress_first", 3, "tokens, whole numbers from 0"),
        ("forced", 3, "pairs of a place and a token, whole numbers from 0"),
        ("forced", ((0, 3), (1,)), "pairs of a place and a token, whole numbers from 0"),
        ("forced", ((0, -3),), "pairs of a place and a token, whole numbers from 0"),
        ("forced", ((0, 3), (0, 4)), "of one token for a place"),
    ],
)
def test_what_cannot_be_is_named(name: str, value: object, rule: str) -> None:
    with pytest.raises(ModelError, match=f"`{name}` must be {rule}, but is .* instead"):
        checked(**{name: value})


def test_beams_and_samples_do_not_go_together() -> None:
    with pytest.raises(ModelError, match="`num_beams` must be 1 with `sample`.*but is 3 instead"):
        GenerationConfig(sample=True, num_beams=3)
    assert GenerationConfig(sample=True, num_return_sequences=3).num_return_sequences == 3


def test_lists_of_a_file_become_tuples() -> None:
    options = checked(suppress=[3, 1], suppress_first=[7], forced=[[0, 5]])
    assert (options.suppress, options.suppress_first, options.forced) == ((3, 1), (7,), ((0, 5),))
    assert hash(options) == hash(GenerationConfig(suppress=(3, 1), suppress_first=(7,), forced=((0, 5),)))


def test_what_is_asked_for_goes_over_the_model_and_that_over_the_defaults() -> None:
    options = GenerationConfig.from_decoding(
        {"num_beams": 2, "min_tokens": 7, "prompt": "a"},
        beside=("prompt",),
        defaults={"num_beams": 3, "length_penalty": 0.0, "max_tokens": 11},
        asked={"max_tokens": 5, "top_k": None, "seed": 3},
    )
    assert options == GenerationConfig(num_beams=2, min_tokens=5, length_penalty=0.0, max_tokens=5)


def test_the_decoding_of_a_training_configuration_is_checked_with_its_defaults() -> None:
    assert GenerationConfig.from_decoding({"min_tokens": 40}, defaults={"max_tokens": 50}).min_tokens == 40
    with pytest.raises(ModelError, match="`decoding` must be among max_tokens, .*, prompt, but has beam instead"):
        GenerationConfig.from_decoding({"beam": 3}, beside=("prompt",))
    with pytest.raises(ModelError, match="^`num_beams` must be at least 1, but is 0 instead"):
        GenerationConfig.from_decoding({"num_beams": 0})


@pytest.mark.parametrize(
    ("decoding", "message"),
    [
        ({"beems": 3}, "m: `decoding` must hold known options, but holds 'beems' instead"),
        ({"num_beams": 0}, "m: `decoding` cannot be used: `num_beams` must be at least 1, but is 0 instead"),
        ({"min_tokens": 40}, r"m: `decoding` cannot be used: `min_tokens` must be at most `max_tokens` \(30\)"),
    ],
)
def test_the_decoding_of_a_model_must_be_valid_by_itself(decoding: dict[str, object], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        GenerationConfig.from_decoding(decoding, defaults={"max_tokens": 50}, source="m")
