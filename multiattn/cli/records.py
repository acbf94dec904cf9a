"""Results as records: a line of JSON, or a row of a table, for each result and for each input that could not be used.

Names of files are bytes. A name that is no text in UTF-8 has U+FFFD in `file` for each byte that is none, and all of
its bytes, in base64, in `file_bytes`: `base64.b64decode` gives the name back.
"""

import base64
import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from ..text_files import HALVES, plain_value

RecordFormat = Literal["json", "csv", "parquet"]
FORMATS: tuple[RecordFormat, ...] = ("json", "csv", "parquet")

Record = dict[str, object]
Key = tuple[str, str]
"""What a record is about: the file, exactly, and the question, empty where there is none."""


class Column(NamedTuple):
    """A column of a table."""

    name: str
    is_number: bool = False
    axes: int = 0
    """Of an array of numbers in single precision: its axes. 0 for what is none."""


def with_exact_name(record: Mapping[str, object]) -> Record:
    """Return a record that is valid text: `file_bytes` is added where `file` is none, and halves of characters go."""
    facts = dict(record)
    file = facts.pop("file", None)
    named: Record = {"file": file}
    if isinstance(file, str) and HALVES.search(file):
        try:
            exact = file.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:  # no name of a file at all
            exact = file.encode("utf-8", "surrogatepass")
        named["file_bytes"] = base64.b64encode(exact).decode("ascii")
    return {name: plain_value(value) for name, value in (named | facts).items()}


def json_line(record: Mapping[str, object]) -> str:
    """Return a record as one line of JSON, in ASCII."""
    return json.dumps(with_exact_name(record), allow_nan=False)


def key_of(record: Mapping[str, object]) -> Key:
    """Return what a record, or a row with the columns `file_bytes`, `file` and `question`, is about."""
    return str(record.get("file_bytes") or record.get("file") or ""), str(record.get("question") or "")


def columns(of_task: Sequence[Column]) -> tuple[Column, ...]:
    """Return all columns of a table, with those of the task in between."""
    after = ("maps", "error", "damaged", "marks", "file_bytes")
    return (Column("file"), *of_task, *map(Column, after))


def row(record: Mapping[str, object], of_table: Sequence[Column]) -> list[object]:
    """Return a record as a row: arrays as they are, what else is nested as JSON, and None for what it does not have."""
    facts = with_exact_name(record)
    return [
        facts.get(column.name) if column.axes else _cell(facts.get(column.name), is_number=column.is_number)
        for column in of_table
    ]


def _cell(value: object, *, is_number: bool) -> str | float | None:
    if value is None or (isinstance(value, list | dict) and not value):
        return None
    if is_number:
        return float(value) if isinstance(value, int | float) else None
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, allow_nan=False)


def csv_line(cells: Sequence[object]) -> str:
    """Return a row as RFC 4180 has it, with its line end."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(cells)
    return line.getvalue()
