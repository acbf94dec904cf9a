"""Sizes, headers and equal content of files."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from os import stat
from pathlib import Path
from stat import S_ISREG
from statistics import median
from typing import Any, NamedTuple

from multiattn.data.spread import evenly_spread
from multiattn.errors import InputError
from multiattn.inputs import Recording
from multiattn.inputs.image import read_size

HEADERS = 2000
"""Files of a split whose headers are read."""

SHOWN = 20
"""Groups of equal files that are listed."""

_HEAD = 4096  # bytes that are compared before the whole of two files is
_BLOCK = 1 << 20


class File(NamedTuple):
    """A file that was looked at."""

    split: str
    path: Path
    label: str
    """The class of a picture; empty where there are no classes."""

    size: int
    """Bytes; -1 where it is missing."""


def looked_at(split: str, items: Sequence[tuple[Path, Any]], label: Callable[[Any], str], most: int) -> list[File]:
    """Look at the sizes of at most so many files of a split, at equal distances; at none in shards."""
    chosen = evenly_spread(items, most)
    return [File(split, path, label(known), _size(path)) for path, known in chosen if isinstance(path, Path)]


def summary(values: Iterable[float]) -> dict[str, float] | None:
    """The smallest, the middle and the largest of some numbers; None of none."""
    found = sorted(values)
    return {"min": found[0], "median": median(found), "max": found[-1]} if found else None


def headers(files: Sequence[File], kind: str) -> dict[str, Any]:
    """Width and height of pictures in pixels, or the length of recordings in seconds, from the headers of some.

    Returns:
        `looked_at`, `unreadable` (headers that cannot be read), and a `summary` as `width`, `height` or `seconds`; of
        recordings, only of those whose header states a length, and `total_seconds` as estimated from them.
    """
    chosen = evenly_spread([file for file in files if file.size >= 0], HEADERS)
    read = _of_recording if kind == "recordings" else _of_picture
    found: dict[str, list[float]] = defaultdict(list)
    unreadable = 0
    for file in chosen:
        try:
            for name, value in read(file.path).items():
                found[name].append(value)
        except InputError:
            unreadable += 1
    result: dict[str, Any] = {"looked_at": len(chosen), "unreadable": unreadable}
    result |= {name: summary(values) for name, values in found.items()}
    return result


def duplicates(files: Sequence[File]) -> dict[str, Any]:
    """Find files of equal content: by their sizes, then by their first bytes, then as a whole.

    Returns:
        `looked_at`; `files`: how many have an equal one, and `sets`: in how many sets of equal files; `across_splits`:
        how many sets are in several splits; `other_labels`: how many have several labels; `groups`: the first of the
        sets, those across splits first, each with its `files`, and the `splits` and `labels` of these.
    """
    groups = [[*files]]
    for key in (lambda file: file.size, lambda file: _digest(file.path, _HEAD), lambda file: _digest(file.path, None)):
        groups = [part for group in groups for part in _divided(group, key)]
    groups.sort(key=lambda group: (len({file.split for file in group}) == 1, len({file.label for file in group}) == 1))
    return {
        "looked_at": len(files),
        "files": sum(map(len, groups)),
        "sets": len(groups),
        "across_splits": sum(len({file.split for file in group}) > 1 for group in groups),
        "other_labels": sum(len({file.label for file in group}) > 1 for group in groups),
        "groups": [
            {
                "files": [str(file.path) for file in group[:SHOWN]],
                "splits": [file.split for file in group[:SHOWN]],
                "labels": [file.label for file in group[:SHOWN]],
            }
            for group in groups[:SHOWN]
        ],
    }


def _divided(group: Sequence[File], key: Callable[[File], Any]) -> list[list[File]]:
    """The parts of a group that have an equal key, with at least two files."""
    found: Mapping[Any, list[File]] = defaultdict(list)
    for file in group:
        if file.size > 0:  # neither missing nor empty
            found[key(file)].append(file)
    return [part for part in found.values() if len(part) > 1]


def _size(path: Path) -> int:
    try:
        found = stat(path)
    except (OSError, ValueError):  # ValueError: NUL in the name
        return -1
    return found.st_size if S_ISREG(found.st_mode) else -1


def _digest(path: Path, most: int | None) -> bytes | Path:
    """A digest of the first bytes of a file, or of all; its own path where it cannot be read, which nothing equals."""
    found = hashlib.blake2b(digest_size=16)
    try:
        with path.open("rb") as file:
            if most is not None:
                found.update(file.read(most))
            else:
                while block := file.read(_BLOCK):
                    found.update(block)
    except OSError:
        return path
    return found.digest()


def _of_picture(path: Path) -> dict[str, float]:
    height, width = read_size(path)
    return {"width": width, "height": height}


def _of_recording(path: Path) -> dict[str, float]:
    with Recording.open(path) as recording:
        return {} if recording.duration is None else {"seconds": round(recording.duration, 3)}
