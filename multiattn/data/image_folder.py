"""Labeled pictures, read from class folders or metadata. Nothing here opens a picture.

    root/train/cat/1.jpg                      the folder's name is the label
    root/train/metadata.jsonl                 {"file_name": "1.jpg", "label": "cat"}, one object a line
    root/train/metadata.csv                   file_name,label

Splits are sub-folders: `train`, `validation`, `test`.
"""

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..inputs.files import PICTURES
from ..metrics.normal_form import normal_form
from .metadata import metadata_rows, shortened, some, split_folder
from .packed import Numbers, Pairs, PathsBuilder

_LONGEST_NUMBER = 18  # digits; Python converts no more than 4300
_LAYOUT = "a folder for each class with its pictures in it, or a metadata.jsonl with `file_name` and `label`"


@dataclass(frozen=True)
class ClassificationRecords:
    """The pictures of one split, not opened yet."""

    items: Sequence[tuple[Path, int]]
    """The path of each picture and the index of its label in `class_names`, in a fixed order."""

    class_names: tuple[str, ...]
    """The labels in Unicode's form NFC, sorted (as numbers where all are numbers)."""

    def counts(self) -> tuple[int, ...]:
        """The number of pictures of each class."""
        labels = self.items.labels if isinstance(self.items, Pairs) else [label for _, label in self.items]
        values = labels.values if isinstance(labels, Numbers) else np.array(labels, np.int64)
        return tuple(np.bincount(values, minlength=len(self.class_names)).tolist())

    def named(self, known: int) -> str:
        """The label of a picture, from what `items` has of it."""
        return self.class_names[known]


def read_folder(root: str | Path, split: str, *, class_names: Sequence[str] | None = None) -> ClassificationRecords:
    """List the pictures of `root/split` with their labels.

    Args:
        root: The folder that holds the splits.
        split: The sub-folder to read: `train`, `validation` or `test`, or any other name.
        class_names: The classes of the training split, in their order; None takes the classes of this split.

    Raises:
        InputError: The folder or the split is missing, a class folder has no picture, a line of the metadata cannot be
            read, or a label is not among `class_names`. A listed picture that is missing is no error here: like a
            damaged one, it is skipped, named and counted when it is opened.
    """
    folder = split_folder(Path(root), split, layout=_LAYOUT)
    files, codes = PathsBuilder(), array("i")
    first: dict[str, tuple[int, str]] = {}  # each label's code, and where it comes first
    for path, label, location in _labeled(folder):
        files.add(path)
        codes.append(first.setdefault(label, (len(first), location))[0])
    known, labels = indices(first, codes, class_names)
    return ClassificationRecords(Pairs(files.build(), labels), known)


def indices(
    first: Mapping[str, tuple[int, str]], codes: "array[int]", class_names: Sequence[str] | None
) -> tuple[tuple[str, ...], Numbers]:
    """The classes in their order, and the index among them of each label that was read.

    Args:
        first: The code of each label, in order from 0, and where it comes first.
        codes: Those of the labels.
        class_names: As for `read_folder`.

    Raises:
        InputError: A label is not among `class_names`.
    """
    known = tuple(class_names) if class_names is not None else in_order(first)
    index = {name: i for i, name in enumerate(known)}
    for label, (_, location) in first.items():
        if label not in index:
            raise InputError(
                f"{location}: the label {shortened(label)} is unknown: the training split has {some(known)}. "
                "Correct the label, or give the training split pictures of it."
            )
    of_codes = np.array([index[label] for label in first], np.int32)
    return known, Numbers(of_codes[np.asarray(codes, np.int32)])


def _labeled(folder: Path) -> Iterator[tuple[Path, str, str]]:
    """Path, label and location of each picture."""
    rows = metadata_rows(folder, ("label",))
    if rows is not None:
        for path, row, location in rows:
            label = row.get("label")
            if isinstance(label, str):
                label = label.strip()
            if isinstance(label, bool) or not isinstance(label, str | int) or label == "":
                raise InputError(
                    f"{location}: `label` must be a name or a whole number, but is {shortened(label)} instead."
                )
            yield path, normal_form("NFC", str(label)), location
        return
    classes = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    if not classes:
        raise InputError(f"{folder}: there is no class in this folder. Put into it {_LAYOUT}.")
    for class_folder in classes:
        pictures = PICTURES.under(class_folder)
        if not pictures:
            raise InputError(f"{class_folder}: the class folder has no picture. Fill it, or remove it.")
        label = normal_form("NFC", class_folder.name)  # macOS gives the names of folders in NFD
        for path in pictures:
            yield path, label, str(path)


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """The labels sorted, as numbers where all are numbers; equal numbers ("1", "01") by their characters."""
    names = set(names)
    are_numbers = all(name.isdecimal() and len(name) <= _LONGEST_NUMBER for name in names)
    return tuple(sorted(names, key=lambda name: (int(name) if are_numbers else 0, name)))
