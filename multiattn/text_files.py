"""Bytes, texts and JSON out of files that anyone may have written: any encoding, no key twice, no pipe that blocks."""

import codecs
import errno
import json
import math
import os
import re
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .errors import InputError, MultiattnError, reading

HALVES = re.compile("[\ud800-\udfff]")
"""Halves of characters, which are no text."""

_LARGEST = 2**31  # bytes; the largest published annotations have a tenth of it


def require_regular(path: Path) -> None:
    """Check that a path is that of a file: opening a named pipe would wait forever, and a device may have no end.

    Raises:
        OSError: It is missing, a folder, a pipe or a device, or its folder may not be read.
    """
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.ENOTSUP, "it is a pipe or a device", str(path))


def read_bytes(path: Path) -> bytes:
    """Return the content of a file.

    Raises:
        OSError: As `require_regular`, or the file may not be read, or is too large to be text.
    """
    require_regular(path)
    if path.stat().st_size > _LARGEST:
        raise OSError(errno.EFBIG, f"it has more than {_LARGEST} bytes", str(path))
    return path.read_bytes()


def decode_text(data: bytes) -> str:
    """Return the text that bytes are: UTF-8, or UTF-16 where a byte-order mark says so, without the mark.

    Raises:
        UnicodeDecodeError: They are neither.
    """
    is_wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return data.decode("utf-16" if is_wide else "utf-8-sig")


def read_json_file(
    path: Path,
    *,
    strict: bool = False,
    mend: str = "Fetch or export it again.",
    error: type[MultiattnError] = InputError,
) -> Any:
    """Read a JSON file.

    Args:
        path: The file, in UTF-8, UTF-16 or UTF-32, with or without a byte-order mark.
        strict: As for `parse_json`.
        mend: What the user can do about a damaged file.
        error: The class of the error.

    Raises:
        FileNotFoundError: There is no such file.
        MultiattnError: Of the class `error`; the file cannot be read, or is not JSON.
    """
    missing = None
    with reading(str(path), "JSON", mend=mend, error=error):
        try:
            data = read_bytes(path)
        except FileNotFoundError as raised:
            missing = raised
        else:
            return parse_json(data, strict=strict)
    assert missing is not None
    raise missing


def parse_json(data: bytes | str, *, strict: bool = False) -> Any:
    """Return the value that a JSON text states.

    Args:
        data: The text.
        strict: Refuse NaN, Infinity and halves of characters (lone surrogates), which JSON proper does not have.

    Raises:
        ValueError: It is not JSON, an object has a key twice, or an integer has more than 4,300 digits.
        RecursionError: It is nested too deeply.
    """
    if isinstance(data, str):
        text = data.removeprefix("\ufeff")
    else:
        text = data.decode(json.detect_encoding(data), "surrogatepass")
    found = (_STRICT if strict else _LENIENT).decode(text)
    # half of a character can only come from an escape or from broken bytes
    if strict and ("\\u" in text or not text.isascii()):
        _check_characters(found)
    return found


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"an object has the key {twice[:60]!r} twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number in JSON")


def _check_characters(value: Any) -> None:
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += [*value, *value.values()]
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value):
            raise ValueError(f"{value[:60]!r} has half of a character")


_LENIENT = json.JSONDecoder(object_pairs_hook=_object)
_STRICT = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_no_constant)


def plain_value(value: object) -> object:
    """Return a JSON value that every reader of JSON takes: without halves of characters, infinities and NaN."""
    if isinstance(value, str):
        return HALVES.sub("\ufffd", value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(plain_value(str(name))): plain_value(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain_value(one) for one in value]
    return value
