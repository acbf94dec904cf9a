"""Walking through folders and patterns lazily, in natural order, and through each folder once.

A folder is listed and sorted when the walk reaches it. Its entries are told apart by the types that the listing gives:
no entry is looked at ahead of its turn, except for links, and those when it is their turn.
"""

import fnmatch
import glob
import os
import re
from collections.abc import Callable, Iterator
from heapq import heapify, heappop
from pathlib import Path
from typing import NamedTuple

from ..errors import InputError

_DIGITS = re.compile(r"\d+")
_Folder = tuple[Path, frozenset[int]]


class Unusable(NamedTuple):
    """A path that leads to no file, or a folder that cannot be read."""

    path: str
    error: InputError


def natural(name: str) -> str:
    """Return the key by which names are sorted: `img2` before `img10`, and `B` between `a` and `c`.

    Digits in a row count as a number; names that differ only in case or in leading zeros are sorted as they are. The
    name itself follows in the key, after a NUL character.
    """
    return f"{_DIGITS.sub(_number, name.casefold())}\0{name}"


def _number(digits: re.Match[str]) -> str:
    value = digits[0].lstrip("0")
    return f"0{chr(len(value))}{value}"  # a longer number is a larger one


def walk(path: Path, is_wanted: Callable[[str], bool]) -> Iterator[Path | Unusable]:
    """Yield the files under a folder, or those that a pattern stands for, in natural order.

    Args:
        path: A folder, which is searched with its sub-folders; or a pattern with `*`, `?`, `[...]` and `**`.
        is_wanted: Tells whether a file is wanted, by its name.

    Yields:
        The files. Hidden folders are left out, unless a part of the pattern names them. A link to a folder is followed,
        but no folder is walked through twice, whatever links lead to it. A link to nothing is a file, for the reader
        to name. Where a folder cannot be read, an error that names it, and the walk goes on behind it.
    """
    parts = path.parts
    first = next((i for i, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    if first == len(parts) or path.is_dir():
        return _Walk(("**",), is_wanted).under(path)
    return _Walk(parts[first:], is_wanted).under(Path(*parts[:first]))


class _Walk:
    """A walk along the parts of a pattern. A folder is walked through by `**`.

    The state of a folder is the set of the parts that its entries may match: by `**`, several.
    """

    def __init__(self, parts: tuple[str, ...], is_wanted: Callable[[str], bool]) -> None:
        self._parts = [None if part == "**" else re.compile(fnmatch.translate(part)) for part in parts]
        self._hidden = [part.startswith(".") for part in parts]
        self._is_wanted = is_wanted
        self._walked = set[tuple[int, int, frozenset[int]]]()

    def under(self, folder: Path) -> Iterator[Path | Unusable]:
        """Yield the files in a folder, and in those below it."""
        stack = [self._entries(folder, frozenset({0}))]  # of the folders that the walk is in, the deepest last
        while stack:
            entry = next(stack[-1], None)
            if entry is None:
                stack.pop()
            elif isinstance(entry, Path | Unusable):
                yield entry
            else:
                stack.append(self._entries(*entry))

    def _entries(self, folder: Path, state: frozenset[int]) -> Iterator["Path | Unusable | _Folder"]:
        """Yield what a folder has: files, and folders with their states. It is listed when the first one is taken."""
        state = self._with_skipped(state)
        try:
            found = folder.stat()
            if (known := (found.st_dev, found.st_ino, state)) in self._walked:
                return
            self._walked.add(known)
            entries, unclear = self._listed(folder, state)
        except (FileNotFoundError, NotADirectoryError):
            return  # the pattern's beginning is not there; or the folder is no longer
        except OSError as error:
            must = f"`{folder}` must be a folder that may be read, but opening it fails instead: {error.strerror}."
            yield Unusable(str(folder), InputError(must))
            return
        while entries:
            name = heappop(entries).rpartition("\0")[2]
            path = folder / name
            if name not in unclear:
                yield path
            elif os.path.isdir(path):
                if below := self._below(name, state):
                    yield path, below
            elif (os.path.isfile(path) or not os.path.exists(path)) and self._taker(state)(name):
                yield path

    def _listed(self, folder: Path, state: frozenset[int]) -> tuple[list[str], set[str]]:
        """Return the keys of a folder's entries that may be of use, as a heap; and the names of possible folders."""
        keys, unclear, takes = [], set[str](), self._taker(state)
        with os.scandir(folder) as entries:
            for entry in entries:
                name = entry.name
                if entry.is_file(follow_symlinks=False):
                    if takes(name):
                        keys.append(natural(name))
                elif entry.is_symlink() or entry.is_dir(follow_symlinks=False):
                    if takes(name) or self._below(name, state):
                        keys.append(natural(name))
                        unclear.add(name)
        heapify(keys)  # the first of a million is found much sooner than all are sorted
        return keys, unclear

    def _with_skipped(self, state: frozenset[int]) -> frozenset[int]:
        """Return the state with the parts behind each `**`, which may stand for no folder at all."""
        state_now = set(state)
        for part in sorted(state):
            while part < len(self._parts) - 1 and self._parts[part] is None:
                part += 1
                state_now.add(part)
        return frozenset(state_now)

    def _matches(self, name: str, part: int) -> bool:
        if name.startswith(".") and not self._hidden[part]:
            return False
        pattern = self._parts[part]
        return pattern is None or pattern.match(name) is not None

    def _taker(self, state: frozenset[int]) -> Callable[[str], bool]:
        """Return the test whether a file's name is the end of the pattern, and wanted."""
        last = len(self._parts) - 1
        if last not in state:
            return lambda name: False
        if self._parts[last] is None and not self._hidden[last]:
            return self._is_wanted
        return lambda name: self._is_wanted(name) and self._matches(name, last)

    def _below(self, name: str, state: frozenset[int]) -> frozenset[int]:
        """Return the state of a folder of this name; empty where nothing in it can match."""
        last = len(self._parts) - 1
        return frozenset(
            part if self._parts[part] is None else part + 1
            for part in state
            if (part < last or self._parts[part] is None) and self._matches(name, part)
        )
