"""The file of `--out`: results grow in FILE.part, which becomes FILE at the end. A run can go on with a part."""

import csv
import errno
import io
import json
import os
import stat
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from ..errors import MultiattnError
from .arguments import UsageError
from .earlier import Earlier
from .output import make_folder, named_errors

_OPTIONS = "user.multiattn.options"  # an attribute of the file, which keeps the options of the run that began it
_CHUNK = 1 << 20


class OutFile:
    """A file of results that grows record by record.

    Args:
        out: Its path; missing folders are made. A pipe or a device is written to directly.
        header: What it begins with.
        resume: Whether to go on with FILE.part, or with FILE where there is none.
        parse: Splits the content of a part into complete records, for `resume`: gives the end of each and the record.
        options: The options of the run that its results depend on, by name; another run must have the same ones to go
            on.

    Raises:
        MultiattnError: The file cannot be written, or another process writes it.
        UsageError: The options differ, or the part holds something else.
    """

    def __init__(
        self,
        out: str,
        *,
        header: bytes = b"",
        resume: bool = False,
        parse: "Parse | None" = None,
        options: Mapping[str, str] | None = None,
    ) -> None:
        self._out, self._header, self._options = out, header, dict(options or {})
        self.earlier = Earlier()
        self._ends = array("q")  # of the earlier records
        self._start = len(header)
        self._order: list[tuple[int, int]] | None = None  # where records are that follow each other, in their order
        make_folder(Path(out).parent, subject=f"the parent of --out {out}")
        with named_errors(f"--out {out}:"):
            self._path = Path(os.path.realpath(out))
            opened = Path(out).absolute().parent  # `/dev/stdout` and the like are files that are open already
            self._is_plain = _is_plain(self._path) and str(opened) != "/dev" and opened.parts[1:2] != ("proc",)
            if not self._is_plain:
                self._part, self._size = self._path, 0
                self._file = os.open(out, os.O_WRONLY | os.O_TRUNC)
                self._write(header)
                return
            self._part = self._path.with_name(f"{self._path.name}.part")
            moved = resume and not self._part.exists() and self._path.exists()
            if moved:
                self._check_options(self._path)
            self._file = self._opened(moved=moved)
            try:
                self._begin(resume=resume, parse=parse)
            except BaseException:
                if moved:
                    os.replace(self._part, self._path)
                os.close(self._file)
                raise

    def _opened(self, *, moved: bool) -> int:
        """Open the part, which no other process may have open."""
        if moved:
            os.rename(self._path, self._part)
        file = os.open(self._part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        is_ours = lock(file)
        with suppress(FileNotFoundError):
            is_ours = is_ours and os.path.samestat(os.fstat(file), self._part.stat())
        if not is_ours:
            os.close(file)
            raise MultiattnError(
                f"--out {self._out} must be a file that no other process writes, but one does instead: wait for its "
                "end, or give another file"
            )
        with suppress(FileNotFoundError):
            os.fchmod(file, stat.S_IMODE(self._path.stat().st_mode))
        return file

    def _begin(self, *, resume: bool, parse: "Parse | None") -> None:
        if not resume or parse is None:
            os.ftruncate(self._file, 0)
        elif os.fstat(self._file).st_size:
            self._check_options(self._file)
            self._read(parse)
        self._size = self._ends[-1] if self._ends else 0
        if not self._size:
            self._write(self._header)
        with suppress(OSError, AttributeError):  # a file system, or a system, without attributes
            os.setxattr(self._file, _OPTIONS, json.dumps(self._options).encode())

    def _check_options(self, file: Path | int) -> None:
        try:
            known = json.loads(os.getxattr(file, _OPTIONS))
        except (OSError, AttributeError, ValueError):
            return
        check_options(self._out, known, self._options)

    def _read(self, parse: "Parse") -> None:
        with os.fdopen(os.dup(self._file), "rb") as file:
            file.seek(0)
            if file.read(len(self._header)) != self._header[: os.fstat(self._file).st_size]:
                raise UsageError(
                    f"--resume: --out {self._out} must have the columns of this run, but has others instead"
                )
            self._order = []
            for end, record in parse(file, self._start):
                self.earlier.add(record, source=self._out)
                self._ends.append(end)

    def _write(self, data: bytes) -> None:
        """Write at the end; what an earlier write left unfinished there is overwritten."""
        if not data:
            return
        if self._is_plain:
            os.lseek(self._file, self._size, os.SEEK_SET)
        start = self._size
        view = memoryview(data)
        while view:
            view = view[os.write(self._file, view) :]
        self._size = start + len(data)

    def append(self, text: str) -> None:
        """Write one record, with its line end."""
        start = self._size
        with named_errors(f"--out {self._out}:"):
            self._write(text.encode("utf-8", "surrogateescape"))
        if self._order is not None:
            self._place(start, self._size)

    def keep(self, numbers: Sequence[int]) -> None:
        """Take over records of the earlier run, at this place."""
        for number in numbers:
            self._place(self._ends[number - 1] if number else self._start, self._ends[number])

    def _place(self, start: int, end: int) -> None:
        assert self._order is not None  # there are earlier records
        if self._order and self._order[-1][1] == start:
            start = self._order.pop()[0]
        self._order.append((start, end))

    def finish(self) -> None:
        """Rename the part to the file, with its records in the order in which they were written or kept."""
        if not self._is_plain:
            os.close(self._file)
            return
        with named_errors(f"--out {self._out}:"):
            os.ftruncate(self._file, self._size)
            if self._order is not None and not self._is_in_order():
                self._rewrite(self._order)
            os.replace(self._part, self._path)
            os.close(self._file)

    def abandon(self) -> None:
        """Leave the part for a later run; remove it where it has no record."""
        if self._is_plain:
            with suppress(OSError):
                os.ftruncate(self._file, self._size)
                if self._size <= self._start:
                    self._part.unlink()
        os.close(self._file)

    def _is_in_order(self) -> bool:
        position = self._start
        for start, end in self._order or ():
            if start != position:
                return False
            position = end
        return position == self._size

    def _rewrite(self, order: Sequence[tuple[int, int]]) -> None:
        """Write the records into a new file in this order; it takes the place of the part."""
        new = self._part.with_name(f".{self._part.name}.sorted")
        try:
            with new.open("wb") as target, os.fdopen(os.dup(self._file), "rb") as source:
                target.write(self._header)
                for start, end in order:
                    source.seek(start)
                    while start < end:
                        start += target.write(source.read(min(_CHUNK, end - start)))
                os.fchmod(target.fileno(), stat.S_IMODE(os.fstat(self._file).st_mode))
                with suppress(OSError, AttributeError):
                    os.setxattr(target.fileno(), _OPTIONS, json.dumps(self._options).encode())
            os.replace(new, self._part)
        finally:
            with suppress(OSError):
                new.unlink()


Parse = Callable[[io.BufferedReader, int], Iterator[tuple[int, Mapping[str, object] | None]]]
"""Reads complete records from a position on: yields the end of each, and the record; None for what is none."""


def parse_json(file: io.BufferedReader, position: int) -> Iterator[tuple[int, Mapping[str, object] | None]]:
    """Read lines of JSON; a last line without its end is torn, and left out."""
    for line in file:
        if not line.endswith(b"\n"):
            return
        position += len(line)
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        yield position, record if isinstance(record, dict) and "file" in record else None


def parse_csv(names: Sequence[str]) -> Parse:
    """Return the reader of rows with these columns; a last row without its end is torn, and left out."""

    def parse(file: io.BufferedReader, position: int) -> Iterator[tuple[int, Mapping[str, object] | None]]:
        record = b""
        for line in file:
            record += line
            if record.count(b'"') % 2 or not record.endswith(b"\r\n"):
                continue  # a line end within quotes
            position += len(record)
            try:
                (cells,) = csv.reader(io.StringIO(record.decode("utf-8"), newline=""), strict=True)
            except (ValueError, csv.Error):
                cells = []
            record = b""
            yield position, dict(zip(names, cells, strict=True)) if len(cells) == len(names) else None

    return parse


def check_options(out: str, known: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Raise UsageError where a run has other options than the one that it goes on with."""
    for name in dict.fromkeys([*known, *now]):
        if known.get(name) != now.get(name):
            shown = known.get(name, "None").replace("None", "not given")
            before = f" ({shown})" if len(shown) < 32 else ""
            raise UsageError(
                f"--resume: {name} must be as in the run that began --out {out}{before}, but differs instead; give the "
                "same options, or another file"
            )


def _is_plain(path: Path) -> bool:
    """Return whether a file can take the place of what is at a path; raise OSError where nothing may be written."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return True
    if stat.S_ISDIR(mode):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not os.access(path, os.W_OK):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))
    return stat.S_ISREG(mode)


def lock(file: int) -> bool:
    """Lock an open file or folder for this process; return False where another has it."""
    try:
        import fcntl
    except ImportError:  # not on every system
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True
