"""A map on disk: the values in an npz file, everything else in a JSON file beside it. Pickle is never used."""

import json
import os
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from ..checks import require
from ..errors import InputError
from ..maps.attention_map import AttentionMap
from ..writing import whole_file, write_json

_FORMAT, _VERSION = "multiattn-map", 1


def save_map(attention_map: AttentionMap, path: str | Path) -> None:
    """Write `path` (.npz, the array `values`) and the .json beside it; `load_map` returns the same map, bit for bit.

    Raises:
        InputError: `path` does not end in .npz.
        OSError: A file cannot be written; both are as they were.
    """
    path = _npz(path)
    beside = path.with_suffix(".json")
    facts = {"format": _FORMAT, "version": _VERSION, **attention_map.to_dict()}
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
    values, facts = _read_values(path), _read_facts(path.with_suffix(".json"))
    try:
        return AttentionMap.from_dict(facts, values)
    except KeyError as error:
        raise InputError(f"{path.with_suffix('.json')}: the field {error} is missing. Save the map again.") from error
    except (ValueError, TypeError) as error:
        raise InputError(f"{path}: the values and {path.stem}.json do not make a map: {error}") from error


def _npz(path: str | Path) -> Path:
    path = Path(path)
    require(path.suffix == ".npz", "path", must="a path that ends in .npz", value=str(path), error=InputError)
    return path


def _read_values(path: Path) -> np.ndarray:
    try:
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise InputError(f"{path}: holds one bare array; a map is an npz archive with the array `values`.")
            values: np.ndarray = archive["values"]
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file.") from error
    except KeyError as error:
        raise InputError(f"{path}: has no array named `values`; it is not a map that multiattn saved.") from error
    except InputError:
        raise
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path}: cannot be read as an npz file ({error}). Save the map again.") from error
    return values


def _read_facts(path: Path) -> dict[str, Any]:
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(
            f"{path}: there is no such file; a map is the .npz and this file, keep them together."
        ) from error
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({error}). Save the map again.") from error
    if not isinstance(facts, dict) or facts.get("format") != _FORMAT:
        raise InputError(f'{path}: does not describe a map ("format": "{_FORMAT}" is missing).')
    if facts.get("version") != _VERSION:
        raise InputError(
            f"{path}: is of version {facts.get('version')!r}, this program reads version {_VERSION}. Update multiattn."
        )
    return facts
