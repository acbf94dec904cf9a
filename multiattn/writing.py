"""Writing files and folders whole or not at all, and folders that one process uses at a time.

A file is written beside its place first, and renamed once it is complete: a reader finds the old file or the new one,
and a full disk leaves the old one. Nothing goes through the system's temporary folder.
"""

import errno
import json
import os
import re
import secrets
import stat
import weakref
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from .errors import MultiattnError

_PROBE = 1 << 16  # bytes
_STATED = re.compile(r"\(os error (\d+)\)")  # by libraries in Rust
_PART = re.compile(r"\..*\.[0-9a-f]{12}\.part")


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Give the path of a new, empty file beside `path`, which takes the place of `path` once the body has ended.

    Where the body raises, what it wrote is removed, and a file that was at `path` before is unchanged. The new file has
    the permissions of the old one; where there is none, those that the process gives to new files. A link is followed:
    the file that it leads to is replaced. What is no plain file, such as a pipe or `/dev/stdout`, has no place to
    take: the body gets `path` itself. The folder must exist. A process that is killed leaves the part, see
    `remove_parts`.

    Args:
        path: The file to write. One that is there is replaced.

    Raises:
        OSError: The file cannot be written; its `filename` is `path`. Errors that libraries raise in the body because
            of a full disk or the like become this one.
    """
    name = str(path)
    part: Path | None = None
    try:
        if Path(path).is_dir():
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), name)
        if not _is_replaceable(Path(path)):
            yield Path(path)
            return
        path = Path(os.path.realpath(path))
        before = _mode(path)
        if before is not None and not os.access(path, os.W_OK):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES), name)
        part = part_beside(path)
        with part.open("xb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode if before is None else before)
        yield part
        if stat.S_IMODE(part.stat().st_mode) != mode:  # safetensors makes files that only their owner can read
            part.chmod(mode)
        part.replace(path)
    except MultiattnError:
        raise
    except Exception as error:
        found: OSError | None = None
        if isinstance(error, OSError) and error.errno is not None:
            found = error
        elif part is not None:
            found = _refusal(part, str(error))
        if found is None or _is_of_another_file(found, {name, str(path), str(part)}):
            raise
        raise OSError(found.errno, os.strerror(found.errno or 0), name) from error
    finally:
        if part is not None:
            with suppress(OSError):
                part.unlink()


@contextmanager
def whole_folder(path: str | Path, *, last: str, optional: Collection[str] = ()) -> Iterator[Path]:
    """Give a new folder whose files take their places in `path` once the body has ended.

    Where there is no `path`, the new folder takes its place in one step. Where there is one, its file `last` is removed
    first and its successor comes last: a process that is killed in between leaves a folder without it, which is
    seen to be incomplete. Other files there stay, but for those of `optional`. Where the body raises, `path` is as it
    was.

    Args:
        path: The folder; missing ones above it are made.
        last: The name of a file without which the folder is of no use, such as `config.json`.
        optional: Names of files that belong to the others: one that is there is removed where the new folder has none.

    Raises:
        OSError: A file cannot be written; its `filename` is that of the file in `path`.
    """
    name, path = str(path), Path(os.path.realpath(path))
    part: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        there = _mode(path) is not None
        part = path / f"{part_beside(path / last).name}" if there else part_beside(path)
        part.mkdir()
        yield part
        if there:
            _move_files(part, path, last, optional)
        else:
            part.rename(path)
    except OSError as error:
        if error.errno is None or part is None:
            raise
        about = Path(error.filename) if isinstance(error.filename, str) else part
        if not {about, about.parent} & {part, path}:
            raise
        mended = name if about in (part, path) else os.path.join(name, about.name)
        raise OSError(error.errno, os.strerror(error.errno), mended) from error
    finally:
        if part is not None:
            _remove_folder(part)


def _move_files(part: Path, path: Path, last: str, optional: Collection[str]) -> None:
    names = sorted((file.name for file in part.iterdir()), key=lambda name: name == last)
    (path / last).unlink(missing_ok=True)
    for name in set(optional) - set(names):
        (path / name).unlink(missing_ok=True)
    for name in names:
        (part / name).replace(path / name)


def _remove_folder(folder: Path) -> None:
    """Remove a folder of files; nothing where it is not there."""
    with suppress(OSError):
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write a file whole or not at all, see `whole_file`; missing folders are made."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as part:
        part.write_bytes(data)


def write_text(path: str | Path, text: str, *, errors: Literal["replace", "backslashreplace"] = "replace") -> None:
    """Write a text as UTF-8 with its line ends as they are, whole or not at all; missing folders are made.

    Args:
        path: The file.
        text: The text.
        errors: What becomes of half characters, such as those by which Python holds a file name that is no valid text.
    """
    write_bytes(path, text.encode("utf-8", errors))


def write_json(path: str | Path, data: Mapping[str, object] | list[object], *, allow_nan: bool = True) -> None:
    """Write an object or a list so that a person can read it and a diff shows one change a line; or nothing."""
    text = json.dumps(data, indent=2, ensure_ascii=False, allow_nan=allow_nan)
    write_text(path, f"{text}\n", errors="backslashreplace")  # which is how JSON, too, writes half characters


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Write to an open file in the body; an error of the system that names no file gets the name `path`."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


def remove_parts(folder: str | Path) -> None:
    """Remove what processes that were killed have left of unfinished files; only while no process writes there."""
    for entry in Path(folder).iterdir():
        if _PART.fullmatch(entry.name):
            if entry.is_dir() and not entry.is_symlink():
                _remove_folder(entry)
            else:
                entry.unlink(missing_ok=True)


class FolderLock:
    """Holds a folder for one process, until `release`, or until the object or the process ends, however it ends.

    The system keeps the lock on the folder itself: no file stays. Where a file system has no such locks, as some
    network file systems, the folder is used without.

    Args:
        folder: The folder, which must exist.
        subject: What messages call it, such as `--maps out`.
        wait: Whether to wait until it is free.

    Raises:
        MultiattnError: Another process uses the folder, and `wait` is not set.
        OSError: The folder cannot be opened.
    """

    def __init__(self, folder: str | Path, *, subject: str, wait: bool = False) -> None:
        import fcntl  # not on every system

        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        _held.add(descriptor)
        self.release = weakref.finalize(self, _close, descriptor, os.getpid())
        """Let others use the folder."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            self.release()
            raise MultiattnError(
                f"{subject} must be a folder that no other process writes to, but one does instead: wait for its end, "
                "or give another folder."
            ) from error
        except OSError:  # no locks there
            self.release()


_held = set[int]()  # descriptors of locked folders


def _close(descriptor: int, process: int) -> None:
    if process == os.getpid() and descriptor in _held:
        _held.remove(descriptor)
        os.close(descriptor)


def _close_in_child() -> None:
    """Close what a forked process has inherited: a data loader's worker must not hold a lock when its parent ends."""
    while _held:
        os.close(_held.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)


def _is_replaceable(path: Path) -> bool:
    """Whether a file can take the place of what is at a path: of a plain file, or of nothing.

    Not of an open file of a process (`/dev/stdout`, `/dev/fd/3`): its writers would go on with the old one.
    """
    before = _mode(path)
    if before is not None and not stat.S_ISREG(before):
        return False
    for _ in range(40):  # links to links, as many as the system follows
        folder = os.path.realpath(path.parent)
        if folder == "/dev" or folder.startswith("/proc/"):
            return False
        if not path.is_symlink():
            break
        path = path.parent / path.readlink()
    return True


def _mode(path: Path) -> int | None:
    """Return type and permissions of what is at a path; None where nothing is."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_mode


def part_beside(path: Path) -> Path:
    """Return a name beside a path that nothing has; not by the process's number, which other machines may give too."""
    return path.with_name(f".{path.name[:40]}.{secrets.token_hex(6)}.part")


def _refusal(part: Path, words: str) -> OSError | None:
    """Return the system's error behind a library's: the one that it states, or what a write to the file gives now."""
    stated = _STATED.search(words)
    if stated and (number := int(stated[1])) in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
        return OSError(number, os.strerror(number))
    try:
        with part.open("ab", buffering=0) as file:
            size = file.tell()
            while file.write(bytes(_PROBE)) < _PROBE:  # the rest of the disk, and then the error
                pass
            file.truncate(size)
    except OSError as error:
        return error
    return None


def _is_of_another_file(error: OSError, own: set[str]) -> bool:
    return isinstance(error.filename, str | bytes) and os.fsdecode(error.filename) not in own
