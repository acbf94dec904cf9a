"""The JSON files of a model directory: read, and checked against a configuration's fields.

Whatever is wrong with a file is reported with its name and the key.
"""

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from ..checks import fits, name_of
from ..errors import ModelError
from ..text_files import read_json_file

_LONGEST = 200  # characters of a value in a message

_Config = TypeVar("_Config")


def read_json(path: Path) -> dict[str, Any]:
    """Read the object in a JSON file.

    Raises:
        ModelError: The file is missing, or holds something else.
    """
    try:
        data = read_json_file(path, strict=True, error=ModelError)
    except FileNotFoundError as error:
        raise ModelError(f"{path.parent} has no {path.name}: it is no model directory, or not all of one") from error
    if not isinstance(data, dict):
        raise ModelError(f"{path} must hold a JSON object, but holds a {type(data).__name__} instead")
    return data


def check_value(holds: bool, name: str, *, must: str, value: object, where: str) -> None:
    """Raise ModelError unless a value that a file states `holds`.

    Args:
        holds: The condition.
        name: The key.
        must: The rule, as the message words it after "must be".
        value: The value, as the message shows it.
        where: The file.
    """
    if not holds:
        shown = str(value)  # a published file may have a text of any length
        shown = shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 3]}..."
        raise ModelError(f"{where}: `{name}` must be {must}, but is {shown} instead")


def read_part(config: Mapping[str, Any], name: str, *, where: str) -> Mapping[str, Any]:
    """Return the object under a key; empty where the key is missing.

    Args:
        config: The object that was read.
        name: The key.
        where: The file, for messages.

    Raises:
        ModelError: The value is no object.
    """
    part = config.get(name, {})
    if not isinstance(part, Mapping):
        raise ModelError(f"{where}: `{name}` must be an object, but is {short(part)} instead")
    return part


def read_architecture(data: Any, kind: type[_Config], *, where: str, name: str = "architecture") -> _Config:
    """Make a configuration from JSON. A missing field has its default; an unknown one is refused.

    Args:
        data: The object that was read.
        kind: The dataclass to make.
        where: The file, for messages.
        name: The key of the object there.

    Raises:
        ModelError: A field is unknown, of another type, or missing without a default.
    """
    if not isinstance(data, dict):
        raise ModelError(f"{where}: `{name}` must be an object, but is {short(data)} instead")
    assert is_dataclass(kind)
    types, known = get_type_hints(kind), {field.name: field for field in fields(kind)}
    if unknown := sorted(data.keys() - known.keys()):
        raise ModelError(f"{where}: `{name}` has no field {unknown[0]}; the fields are {', '.join(known)}")
    values: dict[str, Any] = {}
    for field_name, value in data.items():
        wanted = types[field_name]
        if (part := _dataclass_in(wanted)) is not None and (value is not None or part is wanted):
            values[field_name] = read_architecture(value, part, where=where, name=field_name)
        else:
            check_value(fits(value, wanted), field_name, must=name_of(wanted), value=short(value), where=where)
            values[field_name] = tuples(value)
    for field_name, field in known.items():
        if field_name not in values and field.default is MISSING:
            raise ModelError(f"{where}: `{name}` must have `{field_name}`, but lacks it instead")
    try:
        return kind(**values)
    except ValueError as error:
        raise ModelError(f"{where}: {error}") from error


def _dataclass_in(kind: Any) -> type[Any] | None:
    """Return the dataclass that a field of this type holds, always or optionally."""
    return next((part for part in (kind, *get_args(kind)) if isinstance(part, type) and is_dataclass(part)), None)


def tuples(value: Any) -> Any:
    """Turn lists, which JSON has in place of tuples, back into tuples."""
    return tuple(tuples(item) for item in value) if isinstance(value, list | tuple) else value


def short(value: Any) -> str:
    """Return a value as messages show it."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
