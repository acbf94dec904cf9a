"""The lines of a `metadata.jsonl` or `metadata.csv`, each with the place to name in an error."""

import csv
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError

LONGEST_LINE = 65536
"""Bytes a line of a text file may have: where it is longer, the file is something else, or broken."""


def split_folder(root: Path, split: str, *, layout: str) -> Path:
    """The folder of a split.

    Args:
        root: The folder that holds the splits.
        split: The name of one.
        layout: What must be in it, for the error.

    Raises:
        InputError: There is no such folder.
    """
    require_folder(root, split, layout=layout)
    folder = root / split
    if not folder.is_dir():
        found = sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
        has = f"it has {some(found)}" if found else "it has no folders"
        raise InputError(f"{root}: there is no split {split!r}: {has}. Make {folder} with {layout}.")
    return folder


def require_folder(root: Path, split: str, *, layout: str) -> None:
    """Raise InputError unless `root` is a folder."""
    if not root.is_dir():
        raise InputError(f"{root}: there is no such folder. Give one with {split}/ in it, which holds {layout}.")


def metadata_rows(folder: Path, columns: Sequence[str]) -> Iterator[tuple[Path, dict[str, Any], str]] | None:
    """The rows of a split's metadata: the path of the picture, the row, and the place that says so.

    Args:
        folder: Of the split.
        columns: Those that a CSV file must have, beside `file_name`.

    Returns:
        None where there is no metadata.

    Raises:
        InputError: As the rows are read: a line that is none, or names no picture; a file without any.
    """
    for name in ("metadata.jsonl", "metadata.csv"):
        if (folder / name).is_file():
            return file_rows(folder / name, columns)
    return None


def file_rows(file: Path, columns: Sequence[str]) -> Iterator[tuple[Path, dict[str, Any], str]]:
    """The rows of one such file, whatever its name: a table where that ends in .csv, else lines of JSON.

    Raises:
        InputError: As `metadata_rows`.
    """
    return _pictures(file, (_csv if file.suffix.lower() == ".csv" else _jsonl)(file, columns))


def text_lines(file: Path) -> Iterator[tuple[str, str]]:
    """The lines of a text file that are not empty, without their ends, and the place of each.

    Raises:
        InputError: A line is too long, or not in UTF-8.
    """
    with file.open("rb") as stream:
        number = 0
        while line := stream.readline(LONGEST_LINE + 1):
            number += 1
            place = f"{file}, line {number}"
            if len(line) > LONGEST_LINE:
                raise InputError(
                    f"{place}: a line must have at most {LONGEST_LINE} bytes, but this one has more. Is the file whole?"
                )
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise InputError(f"{place}: this is not text in UTF-8: {error}. Save the file as UTF-8.") from error
            if text.strip():
                yield text.rstrip("\r\n"), place


def some(names: Sequence[str]) -> str:
    """The first ten of them, and how many more there are."""
    shown = ", ".join(names[:10])
    return shown if len(names) <= 10 else f"{shown} and {len(names) - 10} more"


def _pictures(metadata: Path, rows: Iterator[tuple[dict[str, Any], str]]) -> Iterator[tuple[Path, dict[str, Any], str]]:
    is_empty = True
    for row, place in rows:
        is_empty = False
        file_name = row.get("file_name")
        if not isinstance(file_name, str) or not file_name:
            raise InputError(f"{place}: `file_name` must be the path of a picture, but is {file_name!r} instead.")
        yield metadata.parent / file_name, row, place
    if is_empty:
        raise InputError(f"{metadata}: the file names no picture.")


def _jsonl(metadata: Path, columns: Sequence[str]) -> Iterator[tuple[dict[str, Any], str]]:
    del columns  # each line says what it has
    for line, place in text_lines(metadata):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:  # of JSON, of brackets without end
            raise InputError(f"{place}: this is not a JSON object: {error}.") from error
        if not isinstance(row, dict):
            raise InputError(f"{place}: this is not a JSON object, but {type(row).__name__}.")
        yield row, place


def _csv(metadata: Path, columns: Sequence[str]) -> Iterator[tuple[dict[str, Any], str]]:
    # utf-8-sig: spreadsheet programs put a byte-order mark before the first column's name
    with metadata.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines, skipinitialspace=True)
        line = 0  # the last of the row before, after which another begins
        try:
            found = reader.fieldnames or ()
            if found and not {"file_name", *columns} <= set(found):
                wanted = " and ".join(f"`{name}`" for name in ("file_name", *columns))
                raise InputError(
                    f"{metadata}: the first line must name the columns {wanted}, separated by commas, "
                    f"but names {some(list(found))} instead."
                )
            line = reader.line_num
            for row in reader:
                if any(isinstance(value, str) and re.search(r"[\r\n]", value.rstrip()) for value in row.values()):
                    raise InputError(
                        f"{metadata}, lines {line + 1} to {reader.line_num}: a value must be on one line, but one in "
                        "quotes goes on over these instead. Close the quote, or remove the line breaks."
                    )
                line = reader.line_num
                if None in row:
                    raise InputError(
                        f"{metadata}, line {reader.line_num}: there are more values than the {len(found)} columns of "
                        "the first line. Put a value with a comma in quotes."
                    )
                yield row, f"{metadata}, line {reader.line_num}"
        except (csv.Error, UnicodeDecodeError) as error:
            raise InputError(
                f"{metadata}, line {line + 1}: this cannot be read as CSV: {error}. "
                "Save the file as UTF-8, and close each quote."
            ) from error


def checked_text(text: Any, place: str, *, kind: str, longest: int, may_be_empty: bool = False) -> str:
    """A text that can be used.

    Args:
        text: As the file has it.
        place: Where that is, for the message.
        kind: What it is: "a caption".
        longest: Characters it may have.
        may_be_empty: Whether it may have no words.

    Raises:
        InputError: It is no text, empty, too long, or has half a character.
    """
    if not isinstance(text, str):
        raise InputError(f"{place}: {kind} must be text, but is {text!r} instead.")
    if not may_be_empty and not text.strip():
        raise InputError(f"{place}: {kind} must have words, but is empty instead. Fill it, or remove it.")
    if len(text) > longest:
        raise InputError(
            f"{place}: {kind} must have at most {longest} characters, but has {len(text)} instead: "
            f"{text[:40]!r} ... Shorten it."
        )
    if any("\ud800" <= letter <= "\udfff" for letter in text):  # JSON can spell it
        raise InputError(f"{place}: {kind} must be whole characters, but is {text!r} instead.")
    return text
