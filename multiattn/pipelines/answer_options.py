"""How answers are found: what the caller asks for, over what the model's directory says, over the defaults."""

from collections.abc import Mapping
from typing import Any, TypedDict

from ..errors import InputError, ModelError
from ..generation import GenerationConfig
from ..inputs import Tokenizer
from .options import check_whole, known_options, options_of_model

TOP_K = 5
"""Answers given for a question where nobody says otherwise and there is a list to take them from."""

_DEFAULTS: dict[str, Any] = {"num_beams": 3, "length_penalty": 0.0}
"""Where neither the caller nor the model says otherwise, and `GenerationConfig` does: answers by their probability."""

_NOT_OF_DECODING = ("pointing_heads",)
"""What a model's directory says under `decoding` that is no field of `GenerationConfig`."""


class AnswerOptions(TypedDict, total=False):
    """How answers are found. What is left out, or None, is as the model's directory has it, or the default."""

    top_k: int | None
    """Answers to give for each question, best first, or fewer where there are no more. By default 5; for a model that
    writes, without a list of answers, as many as `num_beams`."""

    num_beams: int | None
    """For a model that writes, without a list of answers: texts that a beam search keeps at once, at most 1000; 1 is
    greedy. By default 3, or as many as `top_k` where those are more."""

    max_tokens: int | None
    """For a model that writes, without a list of answers: the longest answer, in tokens, its end among them."""

    first_token: str | None
    """Which token a question begins with, by its name in the vocabulary ("[CLS]", "[ENC]") or its number. By default
    the model's own; published BLIP weights were trained with [ENC], and transformers runs them with [CLS]."""


def written_options(asked: AnswerOptions, by_model: Mapping[str, Any], *, source: str) -> GenerationConfig:
    """How a model that writes is to search for answers.

    Args:
        asked: What the caller wants.
        by_model: What the model's directory says.
        source: The model, for messages.

    Raises:
        ModelError: An option is out of range, or is one of the model's that there is not.
    """
    check_whole(asked, ("num_beams", "max_tokens"))
    own = options_of_model(by_model, beside=_NOT_OF_DECODING, source=source)
    wanted = {name: value for name, value in asked.items() if name in known_options() - {"top_k"} and value is not None}
    values = _DEFAULTS | own | wanted
    top_k = asked.get("top_k")
    if values.get("sample"):
        raise ModelError(f"{source}: `decoding` must search for answers, but has `sample` instead: take it out")
    if top_k is not None and "num_beams" not in wanted:
        values["num_beams"] = max(values["num_beams"], top_k)
    values["num_return_sequences"] = values["num_beams"] if top_k is None else min(top_k, values["num_beams"])
    if "max_tokens" in wanted:
        values["min_tokens"] = min(values.get("min_tokens", 0), values["max_tokens"])
    return GenerationConfig(**values)


def check_asked(asked: AnswerOptions, *, writes: bool, source: str) -> None:
    """Makes sure that the options are some, and that what says how to write is asked of a model that does.

    Args:
        asked: What the caller wants.
        writes: Whether answers are written, and not taken from a list.
        source: The model, for messages.

    Raises:
        ModelError: They are not.
    """
    check_whole(asked, ("top_k",))
    top_k, first = asked.get("top_k"), asked.get("first_token")
    if top_k is not None and top_k < 1:
        raise ModelError(f"`top_k` must be at least 1, but is {top_k} instead")
    if first is not None and not isinstance(first, str):
        raise ModelError(f"`first_token` must be a token's name, but is {first!r} instead")
    for name in ("num_beams", "max_tokens"):
        if not writes and asked.get(name) is not None:
            raise ModelError(
                f"`{name}` says how an answer is written, but {source} takes it from a list: leave `{name}` out"
            )


def first_token_of(name: str | None, tokenizer: Tokenizer, *, default: int, vocab_size: int, source: str) -> int:
    """The token that questions begin with.

    Args:
        name: Its name, or its number; None for the default.
        tokenizer: The model's.
        default: The model's own.
        vocab_size: Tokens that the question encoder knows, some of which may have no name.
        source: The model, for messages.

    Raises:
        ModelError: There is no such token.
    """
    if name is None:
        return default
    token = tokenizer.id_of(name)
    if token is None and name.isdecimal() and name.isascii():
        token = int(name)
    if token is None or token >= vocab_size:
        raise ModelError(
            f"`first_token` must be a token of {source} by its name or its number (0 to {vocab_size - 1}), but is "
            f"{name!r} instead: leave it out for the model's own"
        )
    return token


def checked_answers(answers: object) -> list[str]:
    """A list of answers to choose from.

    Raises:
        InputError: It is none, or has no answer, one that is no text or has nothing in it, or the same one twice.
    """
    if not isinstance(answers, list | tuple):
        raise InputError(f"`answers` must be a list of texts, but is {answers!r} instead")
    if not answers:
        raise InputError("`answers` must have at least one answer, but has none: give some, or leave it out")
    seen: dict[str, int] = {}
    for place, answer in enumerate(answers):
        if not isinstance(answer, str):
            raise InputError(f"`answers[{place}]` must be text, but is {answer!r} instead")
        if not answer.strip():
            raise InputError(f"`answers[{place}]` must have more than spaces, but is {answer!r} instead")
        if (first := seen.setdefault(answer.strip(), place)) != place:
            raise InputError(
                f"`answers` must be different, but {answer!r} is there twice ({first} and {place}): leave one out"
            )
    return list(seen)
