"""The files of `--format npy`: FILE.npy, an array of vectors, and FILE.jsonl, a line for each input with its rows.

Rows grow in FILE.npy.part and lines in FILE.jsonl.part, each row before its line: a run that is killed leaves no line
without its rows. At the end the array gets its length and both their names.
"""

import json
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import MultiattnError
from .arguments import UsageError
from .out_file import OutFile, parse_json
from .output import make_folder, named_errors
from .records import Record, json_line

if TYPE_CHECKING:
    import numpy as np

_HEADER = 128
"""Bytes before the values: what NumPy's format 1.0 takes for any length of an array of two axes."""


class NpyFile:
    """An array of vectors and its index, which grow input by input.

    Args:
        out: The path of the array, which ends in .npy; the index lies beside it.
        resume: Whether to go on with what an earlier run left.
        options: The options of the run that its results depend on, by name, as for `OutFile`.

    Raises:
        MultiattnError: A file cannot be written, or another process writes it.
        UsageError: The name has another ending, the options differ, or the files are not those of an earlier run.
    """

    def __init__(self, out: str, *, resume: bool, options: Mapping[str, str]) -> None:
        self._out, self._path = out, Path(os.path.realpath(out))
        if self._path.suffix.lower() != ".npy" or self._path.is_dir():
            raise UsageError(f"--out must be a file that ends in .npy for --format npy, but is {out} instead")
        make_folder(self._path.parent, subject=f"the parent of --out {out}")
        self._part = self._path.with_name(f"{self._path.name}.part")
        self._listed = self._path.with_suffix(".jsonl")
        self._rows = 0  # of the lines that are written
        self._width: int | None = None
        self._index = OutFile(str(self._listed), resume=resume, parse=self._parse, options=options)
        self.earlier = self._index.earlier
        """The records of the earlier run."""
        try:
            with named_errors(f"--out {out}:"):
                self._open(resume=resume and self.earlier.count > 0)
        except BaseException:
            self._index.abandon()
            raise

    def _parse(self, file: BufferedReader, position: int) -> Iterator[tuple[int, Mapping[str, object] | None]]:
        """Read the lines of an earlier run, and note the last of their rows."""
        for end, record in parse_json(file, position):
            if record is not None and (span := _span(record)) is not None:
                self._rows = max(self._rows, span[1])
            yield end, record

    def _open(self, *, resume: bool) -> None:
        moved = resume and not self._part.exists() and self._path.exists()
        if moved:
            os.rename(self._path, self._part)
        self._file = self._part.open("r+b" if resume and self._part.exists() else "w+b")
        if not resume:
            return
        self._width = _width(self._file.read(_HEADER))
        size = os.fstat(self._file.fileno()).st_size
        if self._rows and (self._width is None or size < self._end(self._rows)):
            self._file.close()
            if moved:
                os.rename(self._part, self._path)
            raise UsageError(
                f"--resume: --out {self._out} must hold the {self._rows} vectors that {self._listed.name} lists, but "
                "does not; give another file"
            )

    def _end(self, rows: int) -> int:
        return _HEADER + 4 * (self._width or 0) * rows

    def append(self, record: Record, values: "np.ndarray | None") -> None:
        """Add an input.

        Args:
            record: Its facts.
            values: Its vector (D,) or vectors (n, D); None where it could not be used.
        """
        if values is not None:
            rows = values.reshape(-1, values.shape[-1])
            if self._width not in (None, rows.shape[1]):
                raise MultiattnError(
                    f"--out {self._out} must hold vectors of one width ({self._width}), but has one of {rows.shape[1]} "
                    "instead: give another file"
                )
            self._width = rows.shape[1]
            with named_errors(f"--out {self._out}:"):
                self._file.seek(self._end(self._rows))
                self._file.write(rows.astype("<f4", copy=False).tobytes())
                self._file.flush()
            record = record | {"row": self._rows} | ({"rows": len(rows)} if values.ndim > 1 else {})
            self._rows += len(rows)
        self._index.append(json_line(record) + "\n")

    def keep(self, numbers: Sequence[int]) -> None:
        """Take over inputs of the earlier run, at this place."""
        self._index.keep(numbers)

    def finish(self) -> None:
        """Put the vectors in the order of the lines, and give both files their names."""
        self._index.finish()
        with named_errors(f"--out {self._out}:"):
            count = self._sorted()
            self._file.truncate(self._end(count))
            self._file.seek(0)
            self._file.write(_header(count, self._width or 0))
            self._file.close()
            os.replace(self._part, self._path)

    def abandon(self) -> None:
        """Leave the parts for a later run; remove them where they are empty."""
        self._index.abandon()
        with suppress(OSError):
            self._file.seek(0)
            self._file.write(_header(0, self._width or 0))
            self._file.close()
            if not self._rows:
                self._part.unlink()

    def _sorted(self) -> int:
        """Write vectors and lines anew where the rows of the lines do not follow each other; return the rows."""
        spans = [span for record in self._lines() if (span := _span(record)) is not None]
        count = sum(last - first for first, last in spans)
        starts = [0, *(last for _, last in spans)]
        if all(first == start for (first, _), start in zip(spans, starts, strict=False)):
            return count
        vectors, lines = (path.with_name(f".{path.name}.sorted") for path in (self._part, self._listed))
        try:
            with vectors.open("w+b") as new, lines.open("w", encoding="ascii") as listed:
                new.write(bytes(_HEADER))
                row = 0
                for record in self._lines():
                    if (span := _span(record)) is not None:
                        self._file.seek(self._end(span[0]))
                        new.write(self._file.read(self._end(span[1]) - self._end(span[0])))
                        record["row"] = row
                        row += span[1] - span[0]
                    listed.write(json.dumps(record) + "\n")
            # lines that are not yet those of the new vectors would be taken for them after a kill in between
            self._listed.unlink()
            os.replace(vectors, self._part)
            os.replace(lines, self._listed)
        finally:
            for left in (vectors, lines):
                left.unlink(missing_ok=True)
        self._file.close()
        self._file = self._part.open("r+b")
        return count

    def _lines(self) -> Iterator[dict[str, object]]:
        with self._listed.open(encoding="ascii") as file:
            for line in file:
                yield json.loads(line)


def _span(record: Mapping[str, object]) -> tuple[int, int] | None:
    """Return the first row of an input and the one after its last; None where it has none."""
    row, rows = record.get("row"), record.get("rows", 1)
    return (row, row + rows) if isinstance(row, int) and isinstance(rows, int) else None


def _header(rows: int, width: int) -> bytes:
    """Return the first bytes of an array. Source: numpy.lib.format, "Format Version 1.0"."""
    facts = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {width}), }}"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", _HEADER - 10) + facts.ljust(_HEADER - 11).encode("ascii") + b"\n"


def _width(header: bytes) -> int | None:
    """Return the width that such a header states; None for another one."""
    shape = header.partition(b"'shape': (")[2].partition(b")")[0].split(b",")
    if not header.startswith(b"\x93NUMPY\x01\x00") or b"'<f4'" not in header or len(shape) != 2:
        return None
    return int(shape[1]) or None
