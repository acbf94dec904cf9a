"""The JSON files of a model directory, read and written so that what is wrong with one is named."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import ModelError


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        ModelError: It is missing, or holds something else.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(f"{path.parent} has no {path.name}: it is no model directory, or not all of one") from error
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read ({error})") from error
    if not isinstance(data, dict):
        raise ModelError(f"{path} must hold a JSON object, but holds a {type(data).__name__} instead")
    return data


def read_part(config: Mapping[str, Any], name: str, *, where: str) -> Mapping[str, Any]:
    """The object that stands in another one; empty where it is not stated.

    Args:
        config: The object that was read.
        name: The key of the part.
        where: The file it stands in, for messages.

    Raises:
        ModelError: There is something else.
    """
    part = config.get(name, {})
    if not isinstance(part, Mapping):
        raise ModelError(f"{where}: `{name}` must be an object, but is {short(part)} instead")
    return part


def short(value: Any) -> str:
    """A value as messages show it."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write an object so that a person can read it and a diff shows one change a line."""
    path.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
