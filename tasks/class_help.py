"""The help for a task or a data module: its options and those inside of them, as they are typed, and what they mean."""

import inspect
from collections.abc import Iterator
from dataclasses import MISSING, fields
from textwrap import fill
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from docstring_parser import parse, parse_from_object

from .usage import dataclasses_of

_WIDTH = 100


def help_of(kind: type, part: str) -> str:
    """The help for a class.

    Args:
        kind: A task or a data module.
        part: What its options begin with: `model` or `data`.
    """
    summary = parse(inspect.getdoc(kind) or "")
    text = [f"multiattn.tasks.{kind.__qualname__}", "", *_wrapped(summary.short_description or "", "")]
    make: Any = kind.__init__  # type: ignore[misc]
    described = {one.arg_name: one.description or "" for one in parse(inspect.getdoc(make) or "").params}
    types = get_type_hints(make)
    for name, parameter in inspect.signature(kind).parameters.items():
        nothing = parameter.default is parameter.empty
        text += _option(
            f"{part}.{name}", types.get(name), "" if nothing else parameter.default, described.get(name, "")
        )
    text += ["", f"In a file they stand under `{part}: init_args:`. An option of several parts can be set by each."]
    return "\n".join(text)


def _option(name: str, hint: Any, default: Any, description: str) -> Iterator[str]:
    """The lines about an option, and about those inside of it."""
    inside = list(dataclasses_of(hint))
    yield ""
    typed = "" if inside else f" {_typed(hint)}"
    given = "" if default == "" or inside else f" (default: {'none' if default is None else default})"
    yield f"--{name}{typed}{given}"
    yield from _wrapped(description, "    ")
    for kind in inside:
        types = get_type_hints(kind)
        meant = {one.arg_name: one.description or "" for one in parse_from_object(kind).params}
        for base in reversed(kind.__mro__[1:-1]):
            meant = {one.arg_name: one.description or "" for one in parse_from_object(base).params} | meant
        for field in fields(kind):
            value = "" if field.default is MISSING else field.default
            yield from _option(f"{name}.{field.name}", types[field.name], value, meant.get(field.name, ""))


def _typed(hint: Any) -> str:
    if isinstance(hint, type) and not get_args(hint):
        return hint.__name__
    if get_origin(hint) in (Union, UnionType):
        return " | ".join("none" if one is type(None) else _typed(one) for one in get_args(hint))
    return str(hint).replace("typing.", "")


def _wrapped(text: str, indent: str) -> list[str]:
    return [fill(" ".join(text.split()), _WIDTH, initial_indent=indent, subsequent_indent=indent)] if text else []
