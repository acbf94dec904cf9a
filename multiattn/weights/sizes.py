"""Bounds of the sizes in a configuration, by the tensors that lie beside it: checked before anything is built."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor

from ..errors import ModelError
from .json_files import check_value, short

MOST_BLOCKS = 1000
"""The deepest models have some hundreds."""

MOST_TOKENS = 2**20
"""The largest vocabulary, in tokens, and the longest input: published ones have a quarter of it."""

MOST_FRESH = 2**28
"""Values of the tensors that start as in a new model, which no file bounds: 1 GiB."""

# fields that no tensor has the size of, in every model or in some
_UNBOUND = ("image_size", "max_frames", "max_length", "window", "strides", "stem_strides", "vocab_size", "max_distance")


def check_sizes(config: Any, state: Mapping[str, Tensor], *, where: str) -> None:
    """Check that a model of this configuration is no larger than the tensors that it is to be loaded with.

    Args:
        config: The configuration: a dataclass, of whole numbers and of further ones.
        state: The tensors of the file.
        where: The file that states the configuration, for messages.

    Raises:
        ModelError: It is larger; the message names the field.
    """
    values = sum(tensor.numel() for tensor in state.values())
    for part in _parts(config):
        for field in fields(part):
            name, value = field.name, getattr(part, field.name)
            most = MOST_TOKENS if name in _UNBOUND else values
            if name == "depth":
                most = min(MOST_BLOCKS, len(state))
            for number in value if isinstance(value, tuple) else (value,):
                if isinstance(number, int):
                    check_value(number <= most, name, must=f"at most {most}", value=short(number), where=where)
        if getattr(part, "positions", "") == "sinusoidal" and hasattr(part, "max_frames"):  # a table in the file
            size = part.max_frames * part.dim
            must = f"at most {values // max(1, part.dim)}, as the file has {values} values"
            check_value(size <= values, "max_frames", must=must, value=part.max_frames, where=where)


def check_numbers(values: Any, state: Mapping[str, Tensor], *, where: str) -> None:
    """Check that no whole number in an object of JSON is larger than the number of values in a file.

    For a foreign library that builds a model of these arguments, whatever each of them means.

    Raises:
        ModelError: One is larger, or a depth is above `MOST_BLOCKS`; the message names the key.
    """
    most = sum(tensor.numel() for tensor in state.values())
    for name, number in _numbers(values, ""):
        limit = min(most, MOST_BLOCKS) if "depth" in name or "layer" in name else most
        check_value(number <= limit, name, must=f"at most {limit}", value=short(number), where=where)


def _parts(config: Any) -> Iterator[Any]:
    yield config
    for field in fields(config):
        value = getattr(config, field.name)
        if is_dataclass(value):
            yield from _parts(value)


def _numbers(value: Any, name: str) -> Iterator[tuple[str, int]]:
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _numbers(part, str(key))
    elif isinstance(value, list):
        for part in value:
            yield from _numbers(part, name)
    elif isinstance(value, int):
        yield name, value


def check_count(number: Any, name: str, *, where: str) -> int:
    """Return a number of labels or tokens that a file states, once it is one.

    Raises:
        ModelError: It is no whole number from 0 to `MOST_TOKENS`.
    """
    holds = type(number) is int and 0 <= number <= MOST_TOKENS
    if not holds:
        raise ModelError(
            f"{where}: `{name}` must be a whole number from 0 to {MOST_TOKENS}, but is {short(number)} instead"
        )
    return number  # type: ignore[no-any-return]
