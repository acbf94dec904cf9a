"""Pictures with several labels each, or none, read from metadata with the column `labels`.

root/train/metadata.jsonl                 {"file_name": "1.jpg", "labels": ["cat", "sofa"]}, one object a line
root/train/metadata.csv                   file_name,labels with cat;sofa, names that hold no semicolon
"""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..metrics.normal_form import normal_form
from .image_folder import ClassificationRecords, indices, read_folder
from .metadata import metadata_rows, shortened
from .packed import Groups, Numbers, Pairs, PathsBuilder

_BETWEEN = ";"  # of the names in a CSV file


@dataclass(frozen=True)
class MultiLabelRecords(ClassificationRecords):
    """The pictures of one split, not opened yet, with the indices of their labels in `class_names`."""

    items: Sequence[tuple[Path, tuple[int, ...]]]  # type: ignore[assignment]

    def counts(self) -> tuple[int, ...]:
        """The number of pictures of each label."""
        found = np.zeros(len(self.class_names), np.int64)
        for _, labels in self.items:
            found[list(labels)] += 1
        return tuple(found.tolist())

    def named(self, known: int | tuple[int, ...]) -> str:
        """The labels of a picture."""
        assert isinstance(known, tuple)
        return ", ".join(self.class_names[index] for index in known)


def read_labeled(root: str | Path, split: str, *, class_names: Sequence[str] | None = None) -> ClassificationRecords:
    """List the pictures of a split: `MultiLabelRecords` where the metadata has `labels`, else as `read_folder`.

    Raises:
        InputError: As `read_folder`; or `labels` is no list of names.
    """
    folder = Path(root) / split
    if not has_several(folder):
        return read_folder(root, split, class_names=class_names)
    files, codes, first, ends = PathsBuilder(), array("i"), dict[str, tuple[int, str]](), array("q", [0])
    for path, labels, location in _rows(folder):
        files.add(path)
        codes.extend(first.setdefault(label, (len(first), location))[0] for label in labels)
        ends.append(len(codes))
    known, numbers = indices(first, codes, class_names)
    if not known:
        raise InputError(f"{folder}: no picture has a label. Fill `labels`.")
    return MultiLabelRecords(Pairs(files.build(), Groups(numbers, Numbers(np.asarray(ends)))), known)


def has_several(folder: Path) -> bool:
    """Whether the metadata of a split has `labels` in its first row."""
    rows = metadata_rows(folder, ()) if folder.is_dir() else None
    first = next(rows, None) if rows is not None else None
    return first is not None and "labels" in first[1] and "label" not in first[1]


def _rows(folder: Path) -> Iterator[tuple[Path, list[str], str]]:
    rows = metadata_rows(folder, ("labels",))
    assert rows is not None
    for path, row, location in rows:
        labels = row.get("labels")
        if isinstance(labels, str):
            labels = [name.strip() for name in labels.split(_BETWEEN)] if labels.strip() else []
        if not isinstance(labels, list) or any(isinstance(n, bool) or not isinstance(n, str | int) for n in labels):
            raise InputError(
                f"{location}: `labels` must be a list of names, in CSV with {_BETWEEN} between them, but is "
                f"{shortened(labels)} instead."
            )
        names = [normal_form("NFC", str(name)) for name in labels]
        if "" in names:
            raise InputError(f"{location}: each of `labels` must have a name, but one is empty: {shortened(labels)}.")
        yield path, list(dict.fromkeys(names)), location
