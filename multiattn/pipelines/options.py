"""What the pipelines that write share about their options: which there are, and what the model's directory says."""

from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any

from ..errors import ModelError
from ..generation import GenerationConfig


def check_names(options: Mapping[str, Any], kind: type) -> None:
    """Makes sure that there are such options, which Python does for parameters of a signature.

    Args:
        options: What was asked for.
        kind: The `TypedDict` of those there are.

    Raises:
        TypeError: There is no such option.
    """
    known = kind.__annotations__
    if unknown := sorted(options.keys() - known.keys()):
        raise TypeError(f"there is no option {unknown[0]!r}; there are: {', '.join(known)}")


def known_options() -> frozenset[str]:
    """The names of what `GenerationConfig` knows."""
    return frozenset(field.name for field in fields(GenerationConfig))


def options_of_model(by_model: Mapping[str, Any], *, beside: Collection[str], source: str) -> dict[str, Any]:
    """How a model's directory wants texts to be searched for, checked.

    Args:
        by_model: What it says.
        beside: What it may say that is not about the search.
        source: The model, for messages.

    Raises:
        ModelError: There is no such option, or these cannot be.
    """
    own = {name: value for name, value in by_model.items() if name not in beside}
    if unknown := sorted(own.keys() - known_options()):
        raise ModelError(f"{source}: `decoding` must hold known options, but holds {unknown[0]!r} instead")
    try:
        GenerationConfig(**own)
    except ModelError as error:
        raise ModelError(f"{source}: `decoding` cannot be used: {error}") from error
    return own


def check_whole(asked: Mapping[str, Any], names: Collection[str]) -> None:
    """Makes sure that options are whole numbers, where they are compared before `GenerationConfig` sees them.

    Raises:
        ModelError: One is not.
    """
    for name in names:
        value = asked.get(name)
        if value is not None and type(value) is not int:
            raise ModelError(f"`{name}` must be a whole number, but is {value!r} instead")
