"""The fields of a dataclass as JSON has them, and what may be wrong with those that were read."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any


def as_json(data: dict[str, Any]) -> dict[str, Any]:
    """The fields as JSON has them: lists for tuples."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in data.items()}


def names_problem(cls: type, data: Mapping[str, Any], *, required: tuple[str, ...]) -> str:
    """What is wrong with the names of `data`, as the end of a sentence; empty when nothing is."""
    known = [field.name for field in fields(cls)]
    unknown = sorted(set(data) - set(known))
    missing = [name for name in required if name not in data]
    if missing:
        return f"must have `{'`, `'.join(missing)}`, but lacks it instead."
    if unknown:
        return f"must have only {', '.join(known)}, but has `{'`, `'.join(unknown)}` instead."
    return ""


def ints_problem(data: Mapping[str, Any], lengths: Mapping[str, int]) -> str:
    """The same for fields that must be lists of so many integers."""
    for name, length in lengths.items():
        value = data[name]
        if not (is_list(value, length) and all(type(number) is int for number in value)):
            return f"must have {length} integers in `{name}`, but has {value!r} instead."
    return ""


def is_list(value: Any, length: int) -> bool:
    """Whether it is a list or tuple of that length."""
    return isinstance(value, list | tuple) and len(value) == length
