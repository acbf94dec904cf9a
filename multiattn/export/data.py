"""A map on disk: the values in an npz file, everything else in a JSON file beside it. Pickle is never used."""

import math
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from ..checks import require
from ..errors import InputError, brief, reading
from ..maps.attention_map import AttentionMap
from ..text_files import read_json_file, require_regular
from ..writing import whole_file, write_json

_FORMAT, _VERSION = "multiattn-map", 1
_ENTRY = "values.npy"
_AGAIN = "Save the map again."
_FREE = 2**26  # bytes that an archive may unpack to, however small it is
_MOST_RATIO = 50  # times that a larger one may unpack to: attention does not compress so far


def save_map(attention_map: AttentionMap, path: str | Path) -> None:
    """Write `path` (.npz, the array `values`) and the .json beside it; `load_map` returns the same map, bit for bit.

    The JSON says besides how concentrated the map is, in `concentration`: see `AttentionMap.concentration`.

    Raises:
        InputError: `path` does not end in .npz.
        OSError: A file cannot be written; both are as they were.
    """
    path = _npz(path)
    beside = path.with_suffix(".json")
    measured = {"concentration": attention_map.concentration.to_dict()}
    facts = {"format": _FORMAT, "version": _VERSION, **attention_map.to_dict(), **measured}
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(beside) as text, whole_file(path) as numbers:
        write_json(text, facts, allow_nan=False)
        with numbers.open("wb") as file:
            np.savez_compressed(file, values=attention_map.values)
        # the numbers take their place first: a process that is killed in between leaves no pair of two maps
        if beside.is_file():
            Path(os.path.realpath(beside)).unlink()


def load_map(path: str | Path) -> AttentionMap:
    """Read the map that `save_map` wrote to `path`.

    Raises:
        InputError: One of the two files is missing or damaged, or they do not match.
    """
    path = _npz(path)
    with reading(str(path), "an npz file", mend=_AGAIN):
        if not path.exists():
            raise InputError(f"{path}: there is no such file.")
    facts = _read_facts(path.with_suffix(".json"))
    values = _read_values(path, facts.get("shape"))
    with reading(f"{path} with {path.stem}.json", "a map", mend=_AGAIN):
        try:
            return AttentionMap.from_dict(facts, values)
        except KeyError as error:
            raise InputError(f"{path.with_suffix('.json')}: the field {error} is missing. {_AGAIN}") from error
        except (ValueError, TypeError) as error:
            raise InputError(
                f"{path}: the values and {path.stem}.json do not make a map: {brief(str(error))}"
            ) from error


def _npz(path: str | Path) -> Path:
    path = Path(path)
    require(path.suffix == ".npz", "path", must="a path that ends in .npz", value=str(path), error=InputError)
    return path


def _read_values(path: Path, shape: Any) -> np.ndarray:
    """Read the array, once its header has the shape that the facts state, and no more than the archive can hold."""
    with reading(str(path), "an npz file", mend=_AGAIN):
        require_regular(path)
        with path.open("rb") as file:
            if file.read(6) == b"\x93NUMPY":
                raise InputError(f"{path}: holds one bare array; a map is an npz archive with the array `values`.")
            with zipfile.ZipFile(file) as archive:
                return _values_in(archive, path, shape)


def _values_in(archive: zipfile.ZipFile, path: Path, shape: Any) -> np.ndarray:
    entry = next((entry for entry in archive.infolist() if entry.filename == _ENTRY), None)
    if entry is None:
        raise InputError(f"{path}: has no array named `values`; it is not a map that multiattn saved.")
    if entry.flag_bits & 1 or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError("it is encrypted, or compressed by a method other than deflate")
    if entry.file_size > _FREE and entry.file_size > _MOST_RATIO * max(1, entry.compress_size):
        raise ValueError(f"it unpacks to {entry.file_size} bytes, more than {_MOST_RATIO} times its own length")
    with archive.open(entry) as stream:
        version = np.lib.format.read_magic(stream)
        read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        if version not in read_header:
            raise ValueError(f"its array is of version {version[0]}.{version[1]}")
        stated, columns_first, kind = read_header[version](stream)
        if kind.hasobject:
            raise ValueError("it holds Python objects, which are never unpickled because that can run any code")
        if list(stated) != shape:
            raise InputError(
                f"{path}: the values and {path.stem}.json do not make a map: `values` must be of shape "
                f"{brief(str(shape))[:200]}, but is {list(stated)} instead."
            )
        size = math.prod(stated) * kind.itemsize
        if size > entry.file_size:
            raise ValueError("its array is larger than the archive says")
        data = stream.read(size)
        if len(data) < size or stream.read(1):
            raise ValueError("its array has another length than its header says")
    return np.frombuffer(data, kind).reshape(stated, order="F" if columns_first else "C")


def _read_facts(path: Path) -> dict[str, Any]:
    try:
        facts = read_json_file(path, strict=True, mend=_AGAIN)
    except FileNotFoundError as error:
        raise InputError(
            f"{path}: there is no such file; a map is the .npz and this file, keep them together."
        ) from error
    if not isinstance(facts, dict) or facts.get("format") != _FORMAT:
        raise InputError(f'{path}: does not describe a map ("format": "{_FORMAT}" is missing).')
    if facts.get("version") != _VERSION:
        raise InputError(
            f"{path}: is of version {str(facts.get('version'))[:60]}, this program reads version {_VERSION}. "
            "Update multiattn."
        )
    return facts
