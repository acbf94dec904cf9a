"""The folder of `--format parquet`: whole files of rows, part-00000.parquet and so on."""

import json
import os
import re
import time
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import MultiattnError, reading
from ..writing import whole_file
from .arguments import UsageError
from .earlier import Earlier
from .out_file import check_options, lock
from .output import make_folder, named_errors
from .records import Column

if TYPE_CHECKING:
    import pyarrow

_ROWS = 1000
"""Rows of a part."""

_SECONDS = 10.0
"""A part is also written after this time, and later anew with more rows: a run that is killed loses no more."""

_NAME = re.compile(r"part-\d{5,}\.parquet")
_OPTIONS = b"multiattn.options"


class ParquetFolder:
    """A folder of parts, of which each is whole at any time.

    Args:
        out: The folder, made where it is missing.
        columns: The columns.
        resume: Whether to go on with the parts in the folder; else there must be none.
        options: The options of the run that its results depend on, by name, as for `OutFile`.

    Raises:
        MultiattnError: pyarrow is not installed; the folder cannot be written, or another process writes to it.
        UsageError: There are parts and `resume` is not set; or they have other options or columns.
    """

    def __init__(self, out: str, columns: Sequence[Column], *, resume: bool, options: Mapping[str, str]) -> None:
        self._arrow, self._parquet = arrow_modules("--format parquet")
        self._out, self._columns, self._folder = out, columns, make_folder(out, subject=f"--out {out}")
        self.earlier = Earlier()
        self._held = os.open(self._folder, os.O_RDONLY)
        if not lock(self._held):
            os.close(self._held)
            raise MultiattnError(
                f"--out {out} must be a folder that no other process writes to, but one does instead: wait for its "
                "end, or give another folder"
            )
        kinds = [(one.name, self._kind(one)) for one in columns]
        self._schema = self._arrow.schema(kinds, metadata={_OPTIONS: json.dumps(dict(options))})
        self._rows: list[Sequence[object] | int] = []  # of the part that grows: new ones, and numbers of earlier ones
        self._part = 0
        self._written = time.monotonic()
        self._starts: list[int] = []  # the number of the first row of each earlier part
        self._tables: dict[int, pyarrow.Table] = {}  # earlier parts that have been replaced, or are read last
        try:
            self._begin(resume=resume, options=options)
        except BaseException:
            os.close(self._held)
            raise

    def _kind(self, column: Column) -> Any:
        """Return Arrow's type of a column's cells."""
        arrow = self._arrow
        kind = arrow.float32() if column.axes else arrow.float64() if column.is_number else arrow.string()
        for _ in range(column.axes):
            kind = arrow.list_(kind)
        return kind

    def _begin(self, *, resume: bool, options: Mapping[str, str]) -> None:
        found = self._parts()
        if found and not resume:
            raise UsageError(
                f"--out {self._out} must be a folder without results, but has {found[0].name} of an earlier run "
                "instead; --resume goes on with it, or give another folder"
            )
        for file in found:
            self._read(file, options)

    def _parts(self) -> list[Path]:
        return sorted(file for file in self._folder.iterdir() if _NAME.fullmatch(file.name))

    def _file(self, part: int) -> Path:
        return self._folder / f"part-{part:05}.parquet"

    def _read(self, file: Path, options: Mapping[str, str]) -> None:
        with reading(f"`{file}`", "results of this command", mend="Remove it."):
            schema = self._parquet.read_schema(file)
            known = json.loads((schema.metadata or {}).get(_OPTIONS, b"{}"))
            named = [
                name for name in ("file", "file_bytes", "question", "maps", "error", "damaged") if name in schema.names
            ]
            keys = self._parquet.read_table(file, columns=named).to_pylist()
        if schema.names != self._schema.names or file != self._file(len(self._starts)):
            raise UsageError(
                f"--resume: --out {self._out} must have the columns and all parts of this run, but {file.name} differs "
                "instead; give another folder"
            )
        check_options(self._out, known, options)
        self._starts.append(self.earlier.count)
        for row in keys:
            self.earlier.add(row, source=str(self._out))

    def append(self, row: Sequence[object]) -> None:
        """Add a row."""
        self._rows.append(row)
        self._grow()

    def keep(self, numbers: Sequence[int]) -> None:
        """Take over rows of the earlier run, at this place."""
        for number in numbers:
            self._rows.append(number)
            self._grow()

    def _grow(self) -> None:
        if len(self._rows) == _ROWS:
            self._save()
            self._rows, self._part = [], self._part + 1
        elif time.monotonic() > self._written + _SECONDS and len(self._rows) > len(self._numbers(self._part)):
            self._save()

    def _numbers(self, part: int) -> range:
        """Return the numbers of the rows that the earlier run has in a part."""
        starts = [*self._starts, self.earlier.count]
        return range(starts[part], starts[part + 1]) if part < len(self._starts) else range(0)

    def _save(self) -> None:
        """Write the part that grows, unless it is there already."""
        self._written = time.monotonic()
        if self._rows == list(self._numbers(self._part)):
            return
        rows = [self._earlier_row(one) if isinstance(one, int) else one for one in self._rows]
        if self._part < len(self._starts):
            self._table(self._part)  # its rows may be needed later
        cells = ([_nested(row[i]) for row in rows] for i in range(len(self._schema)))
        arrays = [self._arrow.array(one, field.type) for one, field in zip(cells, self._schema, strict=True)]
        table = self._arrow.Table.from_arrays(arrays, schema=self._schema)
        file = self._file(self._part)
        with named_errors(f"--out {file}:"), whole_file(file) as new:
            self._parquet.write_table(table, new)

    def _earlier_row(self, number: int) -> list[object]:
        part = bisect_right(self._starts, number) - 1
        row = self._table(part).slice(number - self._starts[part], 1).to_pylist()[0]
        return [row[column.name] for column in self._columns]

    def _table(self, part: int) -> "pyarrow.Table":
        if part not in self._tables:
            file = self._file(part)
            with reading(f"`{file}`", "results of this command", mend="Remove it."):
                self._tables[part] = self._parquet.read_table(file, columns=self._schema.names)
        return self._tables[part]

    def finish(self) -> None:
        """Write the last part, and remove parts of an earlier run that had more."""
        if self._rows:
            self._save()
        count = self._part + bool(self._rows)
        for file in self._parts():
            if int(file.stem.partition("-")[2]) >= count:
                file.unlink()
        os.close(self._held)

    def abandon(self) -> None:
        """Leave the parts for a later run."""
        with suppress(MultiattnError):
            if len(self._rows) > len(self._numbers(self._part)):
                self._save()
        os.close(self._held)


def _nested(cell: Any) -> Any:
    """Return a cell as Arrow takes it: an array of two axes as a list of its rows."""
    return list(cell) if getattr(cell, "ndim", 1) > 1 else cell


def arrow_modules(subject: str) -> tuple[Any, Any]:
    """Import pyarrow, and its module for parquet.

    Args:
        subject: The option that needs it; an error begins with it.

    Raises:
        MultiattnError: It is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MultiattnError(
            f"{subject} needs pyarrow, which is not installed: `pip install multiattn[parquet]`"
        ) from error
    return pyarrow, pyarrow.parquet
