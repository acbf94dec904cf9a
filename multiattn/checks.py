"""One grammar for values that are out of range, unknown or of another kind: "`x` must be ..., but is ... instead."."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from .errors import ModelError, MultiattnError


def require(holds: bool, name: str, *, must: str, value: object, error: type[MultiattnError] = ModelError) -> None:
    """Raise unless the option `name` with `value` is what it `must` be.

    Raises:
        MultiattnError: In the class `error`.
    """
    if not holds:
        raise error(f"`{name}` must be {must}, but is {value!r} instead.")


def require_fields(values: Mapping[str, Any], config: type, name: str, *, but: Sequence[str] = ()) -> None:
    """Raise unless the option `name` has only fields of the dataclass `config`, of the kinds that it says.

    A field that is one of several words is left to the dataclass, whose message names them.

    Args:
        values: Of the option.
        config: Whose fields it may have.
        name: Of the option.
        but: Fields that somebody else decides about.

    Raises:
        ModelError: A field is unknown, or of another kind.
    """
    kinds = get_type_hints(config)
    known = [field.name for field in fields(config) if field.name not in but]
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ModelError(f"`{name}` must be among {', '.join(known)}, but has {', '.join(unknown)} instead.")
    for field, value in values.items():
        if get_origin(kinds[field]) is not Literal and not fits(value, kinds[field]):
            raise ModelError(f"`{name}.{field}` must be {name_of(kinds[field])}, but is {value!r} instead.")


def fits(value: Any, kind: Any) -> bool:
    """Whether a value is of a field's kind, among those that a configuration uses."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Literal:
        return value in parts
    if origin in (Union, UnionType):
        return any(fits(value, part) for part in parts)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            return False
        if parts[-1] is not Ellipsis and len(value) != len(parts):
            return False
        return all(fits(item, parts[0]) for item in value)
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, kind)


def name_of(kind: Any) -> str:
    """What messages call a kind."""
    name = kind.__name__ if isinstance(kind, type) and not get_args(kind) else str(kind)
    return name.replace("typing.", "")
