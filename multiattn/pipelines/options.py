"""The options of the pipelines that write text, and how they become a search.

For each option, what the caller asks for goes over what the model's directory says under `decoding`, and that over the
default: `GenerationConfig.from_decoding` merges the three. Here are the checks that all such pipelines share, and the
options of captions and answers; those of speech are in `transcribe.options`.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, TypedDict, get_type_hints

from ..checks import fits, require
from ..errors import InputError, ModelError
from ..generation import GenerationConfig, stated_options
from ..inputs import Tokenizer
from ..registry import task_spec

# --- checks ---


_KINDS: Mapping[object, tuple[str, object]] = {
    int | None: ("a whole number", int),
    bool | None: ("True or False", bool),
    str | None: ("text", str),
    float | Literal["none"] | None: ('a number or "none"', float | Literal["none"]),
    Sequence[float] | None: ("a list of numbers", tuple[float, ...]),
    Sequence[tuple[float, float]] | None: ("pairs of start and end in seconds", tuple[tuple[float, float], ...]),
}
"""Of an option's type: how messages name it, and the type as `fits` knows it. `GenerationConfig` and `SpeechOptions`
check options of the other types."""


def check_options(asked: Mapping[str, object], kind: type) -> None:
    """Refuse options that do not exist, as Python does for the parameters of a signature, and values of other types.

    Args:
        asked: The options asked for.
        kind: The `TypedDict` of those that exist.

    Raises:
        TypeError: There is no such option.
        ModelError: An option is of another type, or `seed` is one that `torch.Generator` cannot take.
    """
    known = get_type_hints(kind)
    if unknown := sorted(asked.keys() - known.keys()):
        raise TypeError(f"there is no option {unknown[0]!r}; there are: {', '.join(known)}")
    seed = asked.get("seed")
    is_seed = seed is None or (type(seed) is int and 0 <= seed < 2**64)
    require(is_seed, "seed", must="a whole number from 0 to 2**64 - 1", value=seed)
    for name, value in asked.items():
        must, fitting = _KINDS.get(known[name], ("", object))
        require(value is None or fits(value, fitting), name, must=must, value=value)


# --- captions ---


class CaptionOptions(TypedDict, total=False):
    """How captions are searched for. An option that is left out, or None, is the model's own, or the default."""

    num_beams: int | None
    """Number of texts that the beam search keeps, at most 1000; 1 is greedy. By default 3, or `num_return_sequences`
    if that is larger; 1 with `sample`."""

    max_tokens: int | None
    """The longest caption in tokens, including the end token and without the prompt; by default 30."""

    length_penalty: float | None
    """Exponent of the length by which beam search divides a text's score; above 0 favors long texts. By default 1."""

    min_tokens: int | None
    """The shortest caption in tokens, without the end token; by default 0."""

    no_repeat_ngram: int | None
    """Length of token sequences that may not occur twice, prompt included; by default 0, for no such rule."""

    repetition_penalty: float | None
    """Above 1 makes tokens that are in the text already less likely, prompt included. By default 1."""

    sample: bool | None
    """Draw each token from the model's probabilities instead of searching for the likeliest text. By default False."""

    temperature: float | None
    """For sampling, above 0: below 1 favors likely tokens, above 1 spreads. By default 1."""

    top_k: int | None
    """For sampling: draw from this many of the likeliest tokens."""

    top_p: float | None
    """For sampling: draw from the likeliest tokens that have this share of the probability (above 0, at most 1)."""

    seed: int | None
    """For sampling, 0 to 2**64 - 1: the same seed gives the same captions. By default each call draws anew."""

    num_return_sequences: int | None
    """Number of captions for each image, best first; by default 1."""

    prompt: str | None
    """Text that the caption begins with and that is part of it; trailing spaces are ignored. With "", the model
    writes from the first word on. By default the model's own prompt, which is not part of the caption."""


def caption_search(asked: CaptionOptions, decoding: Mapping[str, object], *, source: str) -> GenerationConfig:
    """Merge the options of a call, the model's `decoding` and the defaults.

    Args:
        asked: The caller's options.
        decoding: From the model's directory.
        source: The model, for messages.

    Raises:
        TypeError: There is no such option.
        ModelError: An option is out of range, does not fit another, or is unknown in `decoding`.
    """
    check_options(asked, CaptionOptions)
    if not isinstance(decoding.get("prompt", ""), str):
        raise ModelError(f"{source}: `decoding` must have a text as `prompt`, but has {decoding['prompt']!r} instead")
    own = {"num_beams": 3} | stated_options(decoding, beside=task_spec("caption").not_generation, source=source)
    wanted = {name: value for name, value in asked.items() if value is not None}
    # An explicit request wins over the model's own options that it does not go with: the caller may not know these.
    if "num_beams" not in wanted:
        merged = own | wanted
        widest = max(merged["num_beams"], merged.get("num_return_sequences", 1))
        wanted["num_beams"] = 1 if merged.get("sample") else widest
    elif wanted["num_beams"] != 1:
        wanted.setdefault("sample", False)
    return GenerationConfig.from_decoding(own, asked=wanted)


# --- answers ---

_WRITING = ("max_tokens", "min_tokens", "no_repeat_ngram", "repetition_penalty")
"""Options of an answer that is written, which are handed to `GenerationConfig` as they are."""

TOP_K = 5
"""Number of answers from a list for each question, by default."""


class AnswerOptions(TypedDict, total=False):
    """How answers are found. An option that is left out, or None, is the model's own, or the default."""

    top_k: int | None
    """Number of answers for each question, best first, or fewer if there are no more. By default 5; for a model that
    writes, without a list of answers, `num_beams`."""

    num_beams: int | None
    """For a model that writes, without a list of answers: number of texts that the beam search keeps, at most 1000; 1
    is greedy. By default 3, or `top_k` if that is larger."""

    max_tokens: int | None
    """For a model that writes, without a list of answers: the longest answer in tokens, including the end token."""

    min_tokens: int | None
    """For a model that writes, without a list of answers: the shortest answer in tokens, without the end token."""

    no_repeat_ngram: int | None
    """For a model that writes, without a list of answers: length of token sequences that may not occur twice."""

    repetition_penalty: float | None
    """For a model that writes, without a list of answers: above 1 makes tokens that are in the answer already less
    likely."""

    first_token: str | None
    """The token that a question begins with, by its name in the vocabulary ("[CLS]", "[ENC]") or its number. By default
    the model's own. Published BLIP weights were trained with [ENC]; transformers runs them with [CLS]."""


def answer_search(asked: AnswerOptions, decoding: Mapping[str, object], *, source: str) -> GenerationConfig:
    """Merge the options of a call, the `decoding` of a model that writes, and the defaults.

    By default texts are scored by their probability (`length_penalty` 0).

    Args:
        asked: The caller's options.
        decoding: From the model's directory.
        source: The model, for messages.

    Raises:
        TypeError: There is no such option.
        ModelError: An option is out of range, or is unknown in `decoding`.
    """
    check_options(asked, AnswerOptions)
    own = stated_options(decoding, beside=task_spec("answer").not_generation, source=source)
    if own.get("sample"):
        raise ModelError(f"{source}: `decoding` must search for answers, but has `sample` instead: take it out")
    top_k, num_beams = asked.get("top_k"), asked.get("num_beams")
    if num_beams is None:
        num_beams = max(own.get("num_beams", 3), top_k or 1)
    wanted = {
        "num_beams": num_beams,
        **{name: asked.get(name) for name in _WRITING},
        "num_return_sequences": num_beams if top_k is None else min(top_k, num_beams),
    }
    return GenerationConfig.from_decoding({"length_penalty": 0.0} | own, asked=wanted)


def check_answer_options(asked: AnswerOptions, *, writes: bool, source: str) -> None:
    """Refuse options of the wrong type, and options of the search where answers are taken from a list.

    Args:
        asked: The caller's options.
        writes: Whether answers are written, and not taken from a list.
        source: The model, for messages.

    Raises:
        TypeError: There is no such option.
        ModelError: An option cannot be used.
    """
    check_options(asked, AnswerOptions)
    top_k = asked.get("top_k")
    require(top_k is None or top_k >= 1, "top_k", must="at least 1", value=top_k)
    for name in ("num_beams", *_WRITING):
        if not writes and asked.get(name) is not None:
            raise ModelError(
                f"`{name}` says how an answer is written, but {source} takes it from a list: leave `{name}` out"
            )


def first_token_of(name: str | None, tokenizer: Tokenizer, *, default: int, vocab_size: int, source: str) -> int:
    """Return the id of the token that questions begin with.

    Args:
        name: Its name, or its number; None for the default.
        tokenizer: The model's tokenizer.
        default: The model's own first token.
        vocab_size: Number of tokens that the question encoder knows; some may have no name.
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
    """Return the answers to choose from, without spaces at their ends.

    Raises:
        InputError: `answers` is no list, is empty, or holds a value that is not text, a blank or a duplicate.
    """
    if not isinstance(answers, list | tuple):
        raise InputError(f"`answers` must be a list of texts, but is {answers!r} instead")
    if not answers:
        raise InputError("`answers` must have at least one answer, but has none: give some, or leave it out")
    seen: dict[str, int] = {}
    for index, answer in enumerate(answers):
        name = f"answers[{index}]"
        require(isinstance(answer, str), name, must="text", value=answer, error=InputError)
        require(answer.strip() != "", name, must="more than spaces", value=answer, error=InputError)
        if (first := seen.setdefault(answer.strip(), index)) != index:
            raise InputError(
                f"`answers` must be different, but {answer!r} is there twice ({first} and {index}): leave one out"
            )
    return list(seen)
