"""A folder of labelled pictures, read into a list: class folders, or a `metadata.jsonl` / `metadata.csv` beside them.

    root/train/cat/1.jpg                      the folder's name is the label
    root/train/metadata.jsonl                 {"file_name": "1.jpg", "label": "cat"}, one object a line
    root/train/metadata.csv                   file_name,label
Splits are sub-folders: `train`, `validation`, `test`. Nothing here opens a picture.
"""

import csv
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from multiattn.errors import InputError
from multiattn.inputs.files import pictures_under

_LAYOUT = "a folder for each class with its pictures in it, or a metadata.jsonl with `file_name` and `label`"


@dataclass(frozen=True)
class ClassificationRecords:
    """The pictures of one split, not opened yet."""

    items: tuple[tuple[Path, int], ...]
    """Each picture's path and the place of its label in `class_names`, in a fixed order."""

    class_names: tuple[str, ...]
    """The labels, sorted (as numbers where all of them are)."""

    def counts(self) -> tuple[int, ...]:
        """How many pictures each class has."""
        found = Counter(label for _, label in self.items)
        return tuple(found[i] for i in range(len(self.class_names)))


def read_folder(root: str | Path, split: str, *, class_names: Sequence[str] | None = None) -> ClassificationRecords:
    """List the pictures of `root/split` with their labels.

    Args:
        root: The folder that holds the splits.
        split: The sub-folder to read: `train`, `validation` or `test`, or any other name.
        class_names: The classes of the training split, in their order; `None` takes those that are found.

    Raises:
        InputError: The folder or the split is missing, a class folder has no picture, a line of the metadata cannot be
            read, or a label is not among `class_names`. A picture that the metadata names and that is not there is no
            error here: whoever opens it skips, names and counts it, as with a damaged one.
    """
    folder = _split_folder(Path(root), split)
    labelled = list(_labelled(folder))
    known = tuple(class_names) if class_names is not None else _in_order({label for _, label, _ in labelled})
    index = {name: i for i, name in enumerate(known)}
    for _, label, place in labelled:
        if label not in index:
            raise InputError(
                f"{place}: the label {label!r} is unknown: the training split has {_some(known)}. Correct the label, "
                "or give the training split pictures of it."
            )
    return ClassificationRecords(tuple((path, index[label]) for path, label, _ in labelled), known)


def _split_folder(root: Path, split: str) -> Path:
    if not root.is_dir():
        raise InputError(f"{root}: there is no such folder. Give one with {split}/ in it, which holds {_LAYOUT}.")
    folder = root / split
    if not folder.is_dir():
        found = sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
        has = f"it has {_some(found)}" if found else "it has no folders"
        raise InputError(f"{root}: there is no split {split!r}: {has}. Make {folder} with {_LAYOUT}.")
    return folder


def _labelled(folder: Path) -> Iterator[tuple[Path, str, str]]:
    """Each picture's path, its label, and the place that says so."""
    for name, reader in (("metadata.jsonl", _jsonl_rows), ("metadata.csv", _csv_rows)):
        metadata = folder / name
        if metadata.is_file():
            rows = list(reader(metadata))
            if not rows:
                raise InputError(f"{metadata}: the file names no picture.")
            yield from rows
            return
    classes = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    if not classes:
        raise InputError(f"{folder}: there is no class in this folder. Put into it {_LAYOUT}.")
    for class_folder in classes:
        pictures = pictures_under(class_folder)
        if not pictures:
            raise InputError(f"{class_folder}: the class folder has no picture. Fill it, or remove it.")
        for path in pictures:
            yield path, class_folder.name, str(path)


def _jsonl_rows(metadata: Path) -> Iterator[tuple[Path, str, str]]:
    with metadata.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            place = f"{metadata}, line {number}"
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:  # of JSON, of UTF-8, of brackets without end
                raise InputError(f"{place}: this is not a JSON object: {error}.") from error
            if not isinstance(row, dict):
                raise InputError(f"{place}: this is not a JSON object, but {type(row).__name__}.")
            yield _row(row, metadata, place)


def _csv_rows(metadata: Path) -> Iterator[tuple[Path, str, str]]:
    # utf-8-sig: spreadsheet programs put a byte-order mark before the first column's name
    with metadata.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines, skipinitialspace=True)
        try:
            columns = reader.fieldnames or ()
            if columns and not {"file_name", "label"} <= set(columns):
                raise InputError(
                    f"{metadata}: the first line must name the columns `file_name` and `label`, separated by commas, "
                    f"but names {_some(list(columns))} instead."
                )
            for row in reader:
                if None in row:
                    raise InputError(
                        f"{metadata}, line {reader.line_num}: there are more values than the {len(columns)} columns of "
                        "the first line. Put a value with a comma in quotes."
                    )
                yield _row(row, metadata, f"{metadata}, line {reader.line_num}")
        except (csv.Error, UnicodeDecodeError) as error:
            raise InputError(f"{metadata}, line {reader.line_num + 1}: this cannot be read as CSV: {error}.") from error


def _row(row: dict[str, object], metadata: Path, place: str) -> tuple[Path, str, str]:
    file_name, label = row.get("file_name"), row.get("label")
    if not isinstance(file_name, str) or not file_name:
        raise InputError(f"{place}: `file_name` must be the path of a picture, but is {file_name!r} instead.")
    if isinstance(label, bool) or not isinstance(label, str | int) or label == "":
        raise InputError(f"{place}: `label` must be a name or a whole number, but is {label!r} instead.")
    return metadata.parent / file_name, str(label), place


def _in_order(names: set[str]) -> tuple[str, ...]:
    if all(name.isdecimal() for name in names):
        return tuple(sorted(names, key=int))
    return tuple(sorted(names))


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:10])
    return shown if len(names) <= 10 else f"{shown} and {len(names) - 10} more"
