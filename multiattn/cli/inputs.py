"""The input files of a command: which ones its paths lead to, and which file its results may not replace."""

import glob
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from ..errors import InputError
from ..inputs.files import PICTURES, Kind
from ..registry import tasks
from .options import UsageError
from .output import say

_Item = TypeVar("_Item")


def find_inputs(
    paths: Iterable[str], kind: Kind = PICTURES, *, maps: str | None = None, out: str | None = None
) -> tuple[list[Path], int]:
    """Find the files at `paths`, in order. A path that leads to no file is named on standard error.

    Args:
        paths: Files, folders and patterns.
        kind: The kind of file.
        maps: The folder for attention maps: a search does not take the maps of an earlier run there for pictures.
        out: The file for results, as for `check_out`.

    Returns:
        The files, and the number of paths that lead to none.

    Raises:
        UsageError: The results would replace a file of the user.
    """
    files: list[Path] = []
    errors: list[InputError] = []
    for path in paths:
        try:
            files += _expand(path, kind, Path(maps).resolve() if maps else None)
        except InputError as error:
            errors.append(error)
    check_out(out, files, kind)
    for named in errors:
        say(str(named))
    return files, len(errors)


def _expand(path: str, kind: Kind, maps: Path | None) -> list[Path]:
    if path == "-" and not os.path.lexists(path):
        raise InputError(
            f"`-` must be a {kind.one}, but is standard input, which is not read: save it to a file first."
        )
    found = kind.find([path])
    if found == [Path(path)]:  # named, not searched for
        return found
    ends = tuple(f".{method}.png" for spec in tasks().values() for method in spec.map_methods)
    kept = [file for file in found if not (file.name.endswith(ends) and file.resolve().parent == maps)]
    if not kept:
        raise InputError(f"`{path}` must hold at least one {kind.one}, but holds only maps of ours instead.")
    return kept


def can_be_several(paths: Sequence[str]) -> bool:
    """Return whether paths can lead to several files: there are two or more, or one is a folder or a pattern."""
    first = paths[0]
    return len(paths) > 1 or os.path.isdir(first) or (not os.path.lexists(first) and glob.has_magic(first))


def check_out(out: str | None, files: Iterable[Path], kind: Kind = PICTURES) -> None:
    """Check that results written to `out` would replace none of the user's files.

    Raises:
        UsageError: One of `files`, or another file of this kind, is there.
    """
    if not out or not (file := Path(out)).is_file():
        return
    if any(one.exists() and one.samefile(file) for one in files):
        raise UsageError(f"--out {out} must not be one of the {kind.one}s, which it would replace; give another file")
    if file.suffix.lower() in kind.suffixes:
        raise UsageError(
            f"--out {out} must not be a {kind.one}, which it would replace; give another file, or remove it first"
        )


def evenly_spread(items: Sequence[_Item], limit: int | None) -> Sequence[_Item]:
    """Take at most `limit` items (None: all) at equal distances from the first on, because splits are often sorted."""
    if limit is None or limit >= len(items):
        return items
    return [items[i * len(items) // limit] for i in range(limit)]


def status(failures: int, total: int, things: str = "inputs") -> int:
    """Return the exit status, and say how many of all inputs could not be used where there are any."""
    if failures:
        say(f"{failures} of {total} {things} could not be used")
    return 1 if failures else 0
