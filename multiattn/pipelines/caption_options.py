"""How captions are searched for: what the caller asks for, over what the model's directory says, over the defaults."""

from collections.abc import Mapping
from typing import Any, TypedDict

from ..errors import ModelError
from ..generation import GenerationConfig
from .options import check_whole, known_options, options_of_model

_DEFAULTS: dict[str, Any] = {"num_beams": 3}
"""Where neither the caller nor the model says otherwise, and `GenerationConfig` does."""


class CaptionOptions(TypedDict, total=False):
    """How captions are searched for. What is left out, or None, is as the model's directory has it, or the default."""

    num_beams: int | None
    """Texts that a beam search keeps at once, at most 1000; 1 is greedy. By default 3; as many as `num_return_sequences`
    where those are more; 1 with `sample`."""

    max_tokens: int | None
    """The longest caption, in tokens, its end among them and the prompt not; by default 30."""

    length_penalty: float | None
    """Exponent of the length by which beam search divides a text's score; above 0 favors long texts. By default 1."""

    sample: bool | None
    """Draw each token from the model's probabilities, and do not search for the likeliest text. By default False."""

    temperature: float | None
    """Of sampling, above 0: below 1 keeps to likely tokens, above 1 spreads. By default 1."""

    top_k: int | None
    """Sample among so many of the likeliest tokens."""

    top_p: float | None
    """Sample among the likeliest tokens that have this share of the probability (above 0, at most 1)."""

    seed: int | None
    """Of sampling, 0 to 2**64 - 1: the same seed gives the same captions. By default each call draws others."""

    num_return_sequences: int | None
    """Captions to give for each picture, best first; by default 1."""

    prompt: str | None
    """What the caption begins with, as a part of it; spaces at its end do not count. By default what the model is used
    to, which is no part of the caption."""


def decoding_options(asked: CaptionOptions, by_model: Mapping[str, Any], *, source: str) -> GenerationConfig:
    """The search that comes of it.

    Args:
        asked: What the caller wants.
        by_model: What the model's directory says.
        source: The model, for messages.

    Raises:
        ModelError: An option is out of range, does not fit another, or is one of the model's that there is not.
    """
    _check_kinds(asked)
    if not isinstance(by_model.get("prompt", ""), str):
        raise ModelError(f"{source}: `decoding` must have a text as `prompt`, but has {by_model['prompt']!r} instead")
    own = options_of_model(by_model, beside=("prompt",), source=source)
    wanted = {name: value for name, value in asked.items() if name in known_options() and value is not None}
    values = _DEFAULTS | own | wanted
    # what is asked for goes over the model's own wishes: nobody should have to know what it means for these
    if "num_beams" in wanted:
        if values["num_beams"] > 1 and "sample" not in wanted:
            values["sample"] = False
    else:
        values["num_beams"] = (
            1 if values.get("sample") else max(values["num_beams"], values.get("num_return_sequences", 1))
        )
    if "max_tokens" in wanted:
        values["min_tokens"] = min(values.get("min_tokens", 0), values["max_tokens"])
    return GenerationConfig(**values)


def _check_kinds(asked: CaptionOptions) -> None:
    """What is compared with something before `GenerationConfig` sees it, or never reaches it."""
    check_whole(asked, ("num_beams", "num_return_sequences", "max_tokens"))
    seed, prompt = asked.get("seed"), asked.get("prompt")
    if seed is not None and (type(seed) is not int or not 0 <= seed < 2**64):
        raise ModelError(f"`seed` must be a whole number from 0 to 2**64 - 1, but is {seed!r} instead")
    if prompt is not None and not isinstance(prompt, str):
        raise ModelError(f"`prompt` must be text, but is {prompt!r} instead")
