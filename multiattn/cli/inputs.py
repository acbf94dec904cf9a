"""The input files of a command: which ones its paths lead to, and which file its results may not replace."""

import glob
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from ..errors import InputError
from ..inputs.files import PICTURES, Kind, is_web_address
from ..inputs.streams import NamedStream, StandardInput
from ..inputs.walk import Unusable
from ..registry import tasks
from .arguments import UsageError
from .output import say
from .path_lists import read_list
from .shard_inputs import shard_inputs, shards_at

Found = Path | NamedStream


def find_inputs(
    paths: Iterable[str],
    kind: Kind = PICTURES,
    *,
    listed: str | None = None,
    maps: str | None = None,
    out: str | None = None,
) -> Iterator[Found | Unusable]:
    """Find the files at `paths`, and then those of a list, in order, each when it is asked for.

    Args:
        paths: Files, folders and patterns; shards and folders of them; addresses; `-` for the bytes of one file on
            standard input.
        kind: The kind of file.
        listed: A file of paths, one a line or with NUL characters between them, or `-` for standard input.
        maps: The folder for attention maps: a search does not take the maps of an earlier run there for pictures.
        out: The file for results, as for `check_out`.

    Yields:
        The files; a path that leads to none, and a folder that cannot be read, with the reason.

    Raises:
        UsageError: The results would replace a file of the user.
    """
    names = [path for path in paths if path != "-" and not is_web_address(path)]
    check_out(out, (Path(name) for name in names), kind)
    folder = Path(maps).resolve() if maps else None
    found = (one for path in paths for one in _expand(path, kind, folder))
    return _spared(_chained(found, _listed(listed, kind, folder)), out, kind)


def find_files(paths: Iterable[str], kind: Kind) -> tuple[list[Path], int]:
    """List the files at `paths`, name the paths that lead to none, and return both the list and their number."""
    files: list[Path] = []
    count = 0
    for found in (one for path in paths for one in kind.search(path)):
        if isinstance(found, Unusable):
            say(str(found.error))
            count += 1
        else:
            files.append(found)
    return files, count


def _chained(*several: Iterator[Found | Unusable]) -> Iterator[Found | Unusable]:
    for one in several:
        yield from one


def _expand(path: str, kind: Kind, maps: Path | None, *, exact: bool = False) -> Iterator[Found | Unusable]:
    """Yield what one path stands for; with `exact`, neither a pattern nor standard input."""
    if path == "-" and not exact:
        yield StandardInput()
        return
    try:
        shards = shards_at(path, patterns=not exact)
    except InputError as error:
        yield Unusable(path, error)
        return
    if shards is not None:
        yield from shard_inputs(shards, kind)
        return
    if is_web_address(path):
        from ..inputs.fetch import WebFile  # what it imports takes a while

        yield WebFile(path)
        return
    ends = tuple(f".{method}.png" for spec in tasks().values() for method in spec.map_methods)
    left_out = kept = False
    for found in kind.search(path, patterns=not exact):
        is_map = isinstance(found, Path) and found.name.endswith(ends) and found.resolve().parent == maps
        if is_map and found != Path(path):  # found by a search, not named
            left_out = True
        else:
            kept = True
            yield found
    if left_out and not kept:
        must = f"`{path}` must hold at least one {kind.one}, but holds only maps of ours instead."
        yield Unusable(path, InputError(must))


def _listed(file: str | None, kind: Kind, maps: Path | None) -> Iterator[Found | Unusable]:
    if file is None:
        return
    try:
        for path in read_list(file):
            if _is_plain_file(path, kind):
                yield Path(path)
            else:
                yield from _expand(path, kind, maps, exact=True)
    except InputError as error:
        yield Unusable(file, error)


def _is_plain_file(path: str, kind: Kind) -> bool:
    """Return whether a path is of a file of this kind, as most of a list are; all else needs more than one look."""
    try:
        return kind.matches(path) and stat.S_ISREG(os.stat(path).st_mode)
    except (OSError, ValueError):  # among them addresses
        return False


def can_be_several(paths: Sequence[str], listed: str | None = None) -> bool:
    """Return whether paths can lead to several files: there are two or more, or one is a folder, pattern or list."""
    if listed is not None or len(paths) != 1:
        return True
    first = paths[0]
    if first.lower().endswith(".tar"):
        return True
    is_file = first == "-" or is_web_address(first) or os.path.lexists(first)
    return os.path.isdir(first) or (not is_file and (glob.has_magic(first) or first.lower().startswith("file:")))


def check_out(out: str | None, files: Iterable[Path], kind: Kind = PICTURES) -> None:
    """Check that results written to `out` would replace none of the user's files.

    Raises:
        UsageError: One of `files`, or another file of this kind, is there.
    """
    is_out = _same_as(out)
    if is_out is None or out is None:
        return
    for file in files:
        if is_out(file):
            raise _would_replace(out, kind)
    if Path(out).suffix.lower() in kind.suffixes:
        raise UsageError(
            f"--out {out} must not be a {kind.one}, which it would replace; give another file, or remove it first"
        )


def _spared(found: Iterable[Found | Unusable], out: str | None, kind: Kind) -> Iterator[Found | Unusable]:
    """Yield what is found; raise UsageError where it is the file that the results would replace."""
    is_out = _same_as(out)
    for one in found:
        if out is not None and is_out is not None:
            file = getattr(one, "shard", one)  # of a sample, its shard
            if isinstance(file, Path | str) and is_out(Path(file)):
                raise _would_replace(out, kind)
        yield one


def _would_replace(out: str, kind: Kind) -> UsageError:
    return UsageError(f"--out {out} must not be one of the {kind.one}s, which it would replace; give another file")


def _same_as(out: str | None) -> Callable[[Path], bool] | None:
    """Return the test whether a path is the file `out`; None where there is no such file yet."""
    if not out or not os.path.isfile(out):
        return None
    existing = os.stat(out)

    def same(file: Path) -> bool:
        try:
            return os.path.samestat(file.stat(), existing)
        except (OSError, ValueError):
            return False

    return same


def status(failures: int, total: int, things: str = "inputs") -> int:
    """Return the exit status, and say how many of all inputs could not be used where there are any."""
    if failures:
        say(f"{failures} of {total} {things} could not be used")
    return 1 if failures else 0
