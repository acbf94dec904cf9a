"""The files that describe a data set: `metadata.jsonl` and `metadata.csv`, annotations in JSON, and lists of lines.

Each row comes with its location, "FILE, line N", for error messages. Nothing here opens a picture or a recording.
"""

import csv
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import InputError, reading
from ..text_files import parse_json, read_json_file, require_regular

LONGEST_LINE = 65536
"""The largest number of bytes of a line: a file with a longer one is of another kind, or damaged."""

_SAVE_AGAIN = "Save the file as UTF-8."
_HALF = re.compile("[\ud800-\udfff]")  # half of a surrogate pair


def split_folder(root: Path, split: str, *, layout: str) -> Path:
    """The folder of a split.

    Args:
        root: The folder of all splits.
        split: The name of the split.
        layout: What the folder must hold, for the error.

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


def split_file(root: Path, pattern: str, split: str, *, option: str) -> Path:
    """The file of a split, as an option names it; raises InputError where there is none."""
    file = split_path(root, pattern, split)
    if not file.is_file():
        raise InputError(f"{file}: there is no such file. Check `{option}`.")
    return file


def split_path(root: Path, pattern: str, split: str) -> Path:
    """Replace `{split}` in a pattern by the name of the split, or by `val` for `validation`, as COCO calls it."""
    path = root / pattern.replace("{split}", split)
    if split == "validation" and "{split}" in pattern and not path.exists():
        return root / pattern.replace("{split}", "val")
    return path


Row = tuple[Path, dict[str, Any], str]
"""The path of a picture or recording, its row in the metadata, and the row's location."""


def required_rows(folder: Path, columns: Sequence[str], *, layout: str) -> Iterator[Row]:
    """The rows of a split's metadata, as `metadata_rows`; raises InputError where there is no metadata."""
    rows = metadata_rows(folder, columns)
    if rows is None:
        raise InputError(f"{folder}: there is no metadata in this folder. Put into it {layout}.")
    return rows


def metadata_rows(folder: Path, columns: Sequence[str]) -> Iterator[Row] | None:
    """The rows of a split's metadata.

    Args:
        folder: The folder of the split.
        columns: The columns that a CSV file must have, beside `file_name`.

    Returns:
        None where there is no metadata.

    Raises:
        InputError: While the rows are read: for a line that cannot be parsed or has no `file_name`, and for a file
            without rows.
    """
    for name in ("metadata.jsonl", "metadata.csv"):
        if (folder / name).is_file():
            return file_rows(folder / name, columns)
    return None


def file_rows(file: Path, columns: Sequence[str]) -> Iterator[Row]:
    """The rows of a metadata file of any name: CSV where the name ends in .csv, lines of JSON otherwise.

    Raises:
        InputError: As `metadata_rows`.
    """
    return _with_paths(file, (_csv if file.suffix.lower() == ".csv" else _jsonl)(file, columns))


def text_lines(file: Path) -> Iterator[tuple[str, str]]:
    """The lines of a text file that are not empty, without line ends, each with its location.

    Raises:
        InputError: A line is too long, or not in UTF-8.
    """
    with reading(str(file), "lines of text", mend=_SAVE_AGAIN), _opened(file) as stream:
        lines = iter(lambda: stream.readline(LONGEST_LINE + 1), b"")
        for number, line in enumerate(lines, start=1):
            location = f"{file}, line {number}"
            if len(line) > LONGEST_LINE:
                raise InputError(
                    f"{location}: a line must have at most {LONGEST_LINE} bytes, but this one has more. "
                    "Is the file whole?"
                )
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise InputError(f"{location}: this is not text in UTF-8: {error}. Save the file as UTF-8.") from error
            if text.strip():
                yield text.rstrip("\r\n"), location


@contextmanager
def _opened(file: Path) -> Iterator[BinaryIO]:
    """Open a file of text; UTF-16, as spreadsheet programs write it, is refused by name.

    Raises:
        OSError: It is no file, or may not be read.
    """
    require_regular(file)
    with file.open("rb") as stream:
        if stream.read(2) in (b"\xff\xfe", b"\xfe\xff"):
            raise InputError(f"{file}: this is not text in UTF-8, but in UTF-16. {_SAVE_AGAIN}")
        stream.seek(0)
        yield stream


def some(names: Sequence[str]) -> str:
    """The first ten names, and the number of the others, for a message."""
    shown = ", ".join(map(_on_one_line, names[:10]))
    return shown if len(names) <= 10 else f"{shown} and {len(names) - 10} more"


def _on_one_line(name: str) -> str:
    """A name without line ends, and not longer than a message can bear."""
    name = " ".join(name.split())
    return name if len(name) <= 60 else f"{name[:57]}..."


def one_or_several(row: dict[str, Any], one: str, several: str, location: str) -> Any:
    """The list of the column `several`, or the only entry of the column `one` as a list.

    Raises:
        InputError: The row has both or neither.
    """
    if (one in row) == (several in row):
        has = "both" if one in row else "neither"
        raise InputError(f"{location}: there must be one of `{one}` and `{several}`, but there is {has} instead.")
    return [row[one]] if one in row else row[several]


def _with_paths(metadata: Path, rows: Iterator[tuple[dict[str, Any], str]]) -> Iterator[Row]:
    row = None
    for row, location in rows:
        file_name = row.get("file_name")
        if not isinstance(file_name, str) or not file_name:
            raise InputError(
                f"{location}: `file_name` must be the path of a picture, but is {shortened(file_name)} instead."
            )
        yield metadata.parent / checked_name(file_name, location), row, location
    if row is None:
        raise InputError(f"{metadata}: the file names no picture.")


def _jsonl(metadata: Path, columns: Sequence[str]) -> Iterator[tuple[dict[str, Any], str]]:
    for line, location in text_lines(metadata):
        with reading(location, "a JSON object", mend="Correct the line."):
            row = parse_json(line)
        if not isinstance(row, dict):
            raise InputError(f"{location}: this is not a JSON object, but {type(row).__name__}.")
        yield row, location


def _csv(metadata: Path, columns: Sequence[str]) -> Iterator[tuple[dict[str, Any], str]]:
    # utf-8-sig: spreadsheet programs put a byte-order mark before the first column's name
    with (
        reading(str(metadata), "a table of comma-separated values", mend=_SAVE_AGAIN),
        _opened(metadata) as stream,
        TextIOWrapper(stream, encoding="utf-8-sig", newline="") as lines,
    ):
        reader = csv.DictReader(lines, skipinitialspace=True)
        line = 0  # the last line of the previous row
        try:
            found = reader.fieldnames = [name.strip() for name in _first_row(reader)]
            doubled = next((name for name in found if name and found.count(name) > 1), None)
            if doubled is not None:
                raise InputError(
                    f"{metadata}: each column must be named once in the first line, but {_on_one_line(doubled)} is "
                    "named twice or more instead. Remove one of them, or name it otherwise."
                )
            if found and not {"file_name", *columns} <= set(found):
                wanted = " and ".join(f"`{name}`" for name in ("file_name", *columns))
                raise InputError(
                    f"{metadata}: the first line must name the columns {wanted}, separated by commas, "
                    f"but names {some(list(found))} instead."
                )
            line = reader.reader.line_num
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
                yield row | {"file_name": (row["file_name"] or "").strip()}, f"{metadata}, line {reader.line_num}"
        except (csv.Error, UnicodeDecodeError) as error:
            raise InputError(
                f"{metadata}, line {line + 1}: this cannot be read as CSV: {error}. "
                "Save the file as UTF-8, and close each quote."
            ) from error


def _first_row(reader: "csv.DictReader[str]") -> Sequence[str]:
    """The names of the columns: the first line that is not empty."""
    return next((row for row in reader.reader if any(cell.strip() for cell in row)), ())


def checked_name(name: str, location: str) -> str:
    """Check the name of a file in a data set, and return it.

    Raises:
        InputError: No file can have this name.
    """
    try:
        possible = "\0" not in name and os.fsencode(name)
    except UnicodeEncodeError:  # half of a surrogate pair; one that stands for a byte is possible
        possible = False
    if not possible:
        raise InputError(f"{location}: `file_name` must be one that a file can have, but is {shortened(name)} instead.")
    return name


def shortened(value: Any) -> str:
    """A value as messages show it: a file may state one of any length."""
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."


def checked_text(text: Any, location: str, *, kind: str, longest: int, may_be_empty: bool = False) -> str:
    """Check a text of a data set, and return it.

    Args:
        text: The value in the file.
        location: Its location, for the message.
        kind: What it is, for the message: "a caption".
        longest: The largest number of characters.
        may_be_empty: Whether it may have no words.

    Raises:
        InputError: It is not a string, empty, too long, or has half of a surrogate pair.
    """
    if not isinstance(text, str):
        raise InputError(f"{location}: {kind} must be text, but is {shortened(text)} instead.")
    if not may_be_empty and not text.strip():
        raise InputError(f"{location}: {kind} must have words, but is empty instead. Fill it, or remove it.")
    if len(text) > longest:
        raise InputError(
            f"{location}: {kind} must have at most {longest} characters, but has {len(text)} instead: "
            f"{text[:40]!r} ... Shorten it."
        )
    if not text.isascii() and _HALF.search(text):  # possible in JSON
        raise InputError(f"{location}: {kind} must be whole characters, but is {shortened(text)} instead.")
    return text


def lists_of(file: Path, *names: str, source: str) -> list[list[dict[str, Any]]]:
    """Read lists of objects from a JSON file.

    Args:
        file: The file.
        names: The keys of the lists.
        source: The data set with this format, for the message.

    Raises:
        InputError: The file is not JSON, or lacks one of the lists.
    """
    content = read_json_file(file)
    found = [content.get(name) if isinstance(content, dict) else None for name in names]
    lists = [part for part in found if isinstance(part, list) and all(isinstance(entry, dict) for entry in part)]
    if len(lists) < len(names):
        wanted = " and ".join(f"`{name}`" for name in names)
        what = "lists of objects" if len(names) > 1 else "a list of objects"
        raise InputError(
            f"{file}: there must be {what} {wanted}, as {source} has {'them' if what[0] == 'l' else 'it'}."
        )
    return lists
