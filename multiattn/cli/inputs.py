"""What the commands over files share: which files, how they are called, and what may not be written over."""

import argparse
import glob
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from ..errors import InputError
from ..inputs.files import PICTURES, RECORDINGS, Kind
from .options import ANSWER_METHODS, MAP_METHODS, SPEECH_METHODS, WORD_METHODS, not_empty
from .output import say

_PATTERNS = {PICTURES: "photos/*.jpg", RECORDINGS: "talks/*.mp3"}

# the parts of the help that all of them say

MAP_FILES = """\
  NAME.METHOD.npz   the map's numbers; NAME.METHOD.json says what they are and
                    where they lie on the {0}
A second {0} of the same name becomes NAME-2; what means something to a
browser or a shell (#, %, ?, a leading -, ...) becomes _. Files that an earlier
run left there are replaced."""

BAD_FILES = """\
A {0} that cannot be used is named on standard error, the others are still
done, and the exit status is 1."""


def add_paths(parser: argparse.ArgumentParser, kind: Kind = PICTURES, *, nargs: Literal["+", "*"] = "+") -> None:
    """PATH; with "*", there may be none."""
    parser.add_argument(
        "paths",
        metavar="PATH",
        type=not_empty,
        nargs=nargs,
        help=f"a {kind.one}, a folder (searched through), or a pattern such as '{_PATTERNS[kind]}'",
    )


def add_out(parser: argparse.ArgumentParser, *, more: str = "") -> None:
    """`--out`; `more` says what else its file may be."""
    parser.add_argument(
        "--out", metavar="FILE", type=not_empty, help=f"write the results to FILE instead of standard output{more}"
    )


def add_maps(parser: argparse.ArgumentParser) -> None:
    """`--maps`."""
    parser.add_argument(
        "--maps",
        metavar="DIR",
        type=not_empty,
        help="write attention maps to DIR, which is made where it is missing",
    )


def find_inputs(
    paths: Iterable[str], kind: Kind = PICTURES, *, leave_out: str | None = None
) -> tuple[list[Path], list[InputError]]:
    """The files at `paths`, in order, and what is wrong with those paths that lead to none.

    Args:
        paths: Files, folders and patterns.
        kind: Of files.
        leave_out: A folder in which a search does not count the maps of an earlier run as pictures.
    """
    files: list[Path] = []
    errors: list[InputError] = []
    own = Path(leave_out).resolve() if leave_out else None
    ours = tuple(f".{method}.png" for method in {*MAP_METHODS, *WORD_METHODS, *SPEECH_METHODS, *ANSWER_METHODS})
    for path in paths:
        if path == "-" and not os.path.lexists(path):
            errors.append(
                InputError(
                    f"`-` must be a {kind.one}, but is standard input, which is not read: save it to a file first."
                )
            )
            continue
        try:
            found = kind.find([path])
        except InputError as error:
            errors.append(error)
            continue
        named = found == [Path(path)]
        kept = [file for file in found if named or not (file.name.endswith(ours) and file.resolve().parent == own)]
        if not kept:
            errors.append(
                InputError(f"`{path}` must hold at least one {kind.one}, but holds only maps of ours instead.")
            )
        files += kept
    return files, errors


def can_be_several(paths: Sequence[str]) -> bool:
    """Whether paths can lead to several files: more than one of them, a folder, or a pattern, whatever is there now."""
    first = paths[0]
    return len(paths) > 1 or os.path.isdir(first) or (not os.path.lexists(first) and glob.has_magic(first))


def why_not_replace(out: str, files: Iterable[Path], kind: Kind = PICTURES) -> str | None:
    """What speaks against writing results to `out`: one of the user's files lies there; None where nothing does."""
    file = Path(out)
    if not file.is_file():
        return None
    if any(one.exists() and one.samefile(file) for one in files):
        return f"must not be one of the {kind.one}s, which it would replace; give another file"
    if file.suffix.lower() in kind.suffixes:
        return f"must not be a {kind.one}, which it would replace; give another file, or remove it first"
    return None


def status(failures: int, total: int) -> int:
    """The exit status of a run in which so many of all inputs could not be used, of which it tells."""
    if failures:
        say(f"{failures} of {total} inputs could not be used")
    return 1 if failures else 0
