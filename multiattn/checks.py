"""Checks of arguments, options and configurations, and the one grammar of their messages.

Every message reads "`x` must be ..., but is ... instead.". Nothing here waits for torch.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence, Sized
from dataclasses import MISSING, fields
from functools import partial
from operator import attrgetter
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from .errors import ModelError, MultiattnError


def require(holds: bool, name: str, *, must: str, value: object, error: type[ValueError] = ModelError) -> None:
    """Raise an error of the class `error` unless the condition `holds`.

    Args:
        holds: The condition.
        name: The argument or option that it is about.
        must: The rule, as the message words it after "must be".
        value: The value that was given.
        error: The class of the error.
    """
    if not holds:
        raise error(f"`{name}` must be {must}, but is {value!r} instead.")


def require_each(
    values: Mapping[str, float | None], *, least: int = 0, finite: bool = False, error: type[ValueError] = ModelError
) -> None:
    """Raise an error of the class `error` unless each of these options is None or at least `least`.

    Args:
        values: The options, by name.
        least: The smallest value.
        finite: Whether they must be finite, too.
        error: The class of the error.
    """
    for name, value in values.items():
        holds = value is None or (value >= least and (value < math.inf or not finite))
        require(holds, name, must=f"at least {least}{' and finite' if finite else ''}", value=value, error=error)


check_argument = partial(require, error=ValueError)
"""`require` for constructors, whose errors a loader catches to name the file that the value was read from."""


def check_rules(config: object, *rules: tuple[str, bool, str], error: type[ValueError] = ValueError) -> None:
    """Raise an error unless every rule of a configuration holds.

    Args:
        config: The configuration.
        rules: For each rule the name of its field, with dots to a field of a field; whether it holds; and the rule, as
            the message words it after "must be".
        error: The class of the error.
    """
    for name, holds, must in rules:
        require(holds, name, must=must, value=attrgetter(name)(config), error=error)


def check_choices(config: Any, *, error: type[ValueError] = ValueError) -> None:
    """Raise an error unless each field of a dataclass that is a `Literal` has one of its values."""
    for name, kind in get_type_hints(type(config)).items():
        if get_origin(kind) is Literal:
            choices = get_args(kind)
            check_rules(config, (name, getattr(config, name) in choices, f"one of {', '.join(choices)}"), error=error)


def check_at_least(config: object, least: int, names: Iterable[str]) -> None:
    """Raise ValueError unless each of these fields is at least `least`."""
    check_rules(config, *((name, getattr(config, name) >= least, f"at least {least}") for name in names))


def check_shares(config: object, names: Iterable[str]) -> None:
    """Raise ValueError unless each of these fields is at least 0 and below 1."""
    check_rules(config, *((name, 0 <= getattr(config, name) < 1, "at least 0 and below 1") for name in names))


def check_one_each(count: int, what: str, **given: Sized | None) -> None:
    """Refuse an argument that does not have one item for each of `count` things; None is left out.

    Args:
        count: Number of things.
        what: What they are, for the message.
        given: The arguments by name.

    Raises:
        ModelError: An argument has another number of items.
    """
    for name, items in given.items():
        if items is not None and len(items) != count:
            raise ModelError(f"`{name}` must be one for each of {count} {what}, but are {len(items)}.")


def require_fields(
    values: Mapping[str, Any],
    config: type,
    name: str,
    *,
    but: Sequence[str] = (),
    complete: bool = False,
    error: type[MultiattnError] = ModelError,
) -> None:
    """Raise unless the option `name` has only fields of the dataclass `config`, with values of their types.

    A `Literal` field is left to the dataclass, whose message names the choices.

    Args:
        values: The option's fields and their values.
        config: The dataclass.
        name: The option, for messages.
        but: Fields of the dataclass that the option may not have, because something else sets them.
        complete: Whether every field without a default must be there.
        error: The class of the error.

    Raises:
        MultiattnError: A field is unknown, missing, or of another type.
    """
    kinds = get_type_hints(config)
    known = {field.name: field.default for field in fields(config) if field.name not in but}
    if unknown := sorted(set(values) - set(known)):
        raise error(f"`{name}` must be among {', '.join(known)}, but has {', '.join(unknown)} instead.")
    for field, default in known.items() if complete else ():
        if default is MISSING and field not in values:
            raise error(f"`{name}` must have `{field}`, but lacks it instead.")
    for field, value in values.items():
        holds = get_origin(kinds[field]) is Literal or fits(value, kinds[field])
        require(holds, f"{name}.{field}", must=name_of(kinds[field]), value=value, error=error)


def fits(value: Any, kind: Any) -> bool:
    """Whether a value read from JSON or YAML is of a field's type, one of those that configurations use."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Literal:
        return value in parts
    if origin in (Union, UnionType):
        return any(fits(value, part) for part in parts)
    if origin is tuple:
        if not isinstance(value, list | tuple) or parts[-1] is not Ellipsis and len(value) != len(parts):
            return False
        return all(fits(item, parts[0]) for item in value)
    if kind in (float, int):
        return isinstance(value, (int, float) if kind is float else int) and not isinstance(value, bool)
    return isinstance(value, kind)


def name_of(kind: Any) -> str:
    """The name of a type in messages."""
    name = kind.__name__ if isinstance(kind, type) and not get_args(kind) else str(kind)
    return re.sub(r"\b(?:\w+\.)+(?=\w)", "", name)  # without the modules
