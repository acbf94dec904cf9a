"""The `decoding` of a task or of a model directory as options of a decode."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from multiattn.errors import ModelError
from multiattn.generation import GenerationConfig


def options_of(
    decoding: Mapping[str, Any], *, besides: Sequence[str] = (), max_tokens: int | None = None
) -> GenerationConfig:
    """One text an item, found as the values of `decoding` say.

    Args:
        decoding: As a model directory has it.
        besides: What it may hold that is no option of a decode.
        max_tokens: Of a text, where nothing is said; as `GenerationConfig` has it where None.

    Raises:
        ModelError: There is no such option, or no such decode.
    """
    known = [*(f.name for f in fields(GenerationConfig)), *besides]
    unknown = sorted(set(decoding) - set(known))
    if unknown:
        raise ModelError(f"`decoding` must be among {', '.join(known)}, but has {', '.join(unknown)} instead.")
    values = {} if max_tokens is None else {"max_tokens": max_tokens}
    values |= {name: value for name, value in decoding.items() if name not in besides}
    return replace(GenerationConfig(**values), num_return_sequences=1)
