"""Writing a folder of data as shards, each whole or not at all; what was written before is not written again."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import InputError, reason_of
from ...writing import FolderLock, remove_parts, whole_file, write_json
from ..captions import CaptionRecords
from ..image_folder import ClassificationRecords
from ..multi_labels import MultiLabelRecords
from ..questions import Question, QuestionRecords
from ..recordings import SpeechRecords, seconds_of
from .index import FORMAT, INDEX, VERSION
from .store import located
from .tar import header, padding

Records = ClassificationRecords | CaptionRecords | SpeechRecords | QuestionRecords
Row = dict[str, Any]
Say = Callable[[str], None]

SHARD_BYTES = 256 << 20
"""The size of a shard, where none is given."""


@dataclass(frozen=True)
class Split:
    """A split that becomes shards."""

    name: str
    folder: Path
    """The folder of its shards."""

    records: Records
    shard_bytes: int

    @cached_property
    def shards(self) -> tuple[np.ndarray, ...]:
        """The indices of the files of each shard: training files in a drawn order, others in their own.

        The next shard begins once one has `shard_bytes`. So the same data is always divided in the same way.
        """
        count = len(self.records.items)
        order = np.arange(count)
        if self.name.startswith("train"):  # or a shard of class folders would have a class or two
            order = np.random.default_rng(0).permutation(count)
        sizes = np.array([_size(self.records.items[int(index)][0]) for index in order], np.int64)
        before = np.cumsum(sizes) - sizes
        shard = before // self.shard_bytes
        cuts = np.flatnonzero(np.diff(shard)) + 1
        return tuple(np.split(order, cuts))

    def rows(self, index: int) -> list[Row]:
        """The rows of a `metadata.jsonl` that tell what is known of a file, without its name."""
        records, label = self.records, self._label(index)
        if isinstance(records, MultiLabelRecords):
            return [{"labels": [records.class_names[one] for one in label]}]
        if isinstance(records, ClassificationRecords):
            return [{"label": records.class_names[label]}]
        if isinstance(records, CaptionRecords):
            return [{"texts": list(label)}]
        if isinstance(records, QuestionRecords):
            return [_question(question) for question in label]
        return [_said(records, index) | {"seconds": seconds_of(records.items[index][0])}]

    def write(self, number: int) -> "Written":
        """Write a shard, unless it is there."""
        name, done = f"{number:06d}.tar", Written.read(self.folder, number)
        digest = self._digest(number)
        if done is not None and done.digest == digest and _size(self.folder / name) == done.size and not done.skipped:
            return done
        lines, skipped = [], []
        seconds, items = 0.0, 0
        with whole_file(self.folder / name) as part, part.open("wb") as file:
            for index in map(int, self.shards[number]):
                path = self.records.items[index][0]
                try:
                    data = path.read_bytes()
                except OSError as error:
                    skipped.append(f"{path}: it cannot be read ({reason_of(error)}), and is left out of the shards.")
                    continue
                key, rows = f"{index:09d}", self.rows(index)
                member = f"{key}{path.suffix.lower()}"
                told = rows[0] if len(rows) == 1 else {"questions": rows}
                about = json.dumps({"file_name": path.name} | told).encode()
                offset = file.tell() + len(header(member, 0))
                for part_name, content in ((member, data), (f"{key}.json", about)):
                    file.write(header(part_name, len(content)) + content + padding(len(content)))
                where = {"file_name": located(name, member, offset, len(data))}
                lines += [json.dumps(where | row) for row in rows]
                seconds, items = seconds + rows[0].get("seconds", 0.0), items + 1
            file.write(bytes(1024))  # the end of a tar file
            size = file.tell()
            file.flush()
            os.fsync(file.fileno())
        found = Written(name, items, size, seconds, digest, tuple(lines), tuple(skipped))
        found.save(self.folder, number)
        return found

    def _label(self, index: int) -> Any:
        """What is known of a file."""
        return self.records.items[index][1]

    def _known(self, index: int) -> list[Row]:
        """The rows, without the length of a recording, which is found by reading it."""
        return [_said(self.records, index)] if isinstance(self.records, SpeechRecords) else self.rows(index)

    def _digest(self, number: int) -> str:
        """Tells a shard from one of other files, of changed ones, or of the same files with another row."""
        found = hashlib.sha256()
        for index in map(int, self.shards[number]):
            path = self.records.items[index][0]
            found.update(repr((str(path), *_state(path), self._known(index))).encode())
        return found.hexdigest()


@dataclass(frozen=True)
class Written:
    """A shard that is written."""

    name: str
    items: int
    size: int
    seconds: float
    digest: str
    lines: tuple[str, ...]
    """The rows of its samples in the metadata."""

    skipped: tuple[str, ...]
    """A message for each file that could not be read."""

    @classmethod
    def read(cls, folder: Path, number: int) -> "Written | None":
        """What an earlier run has noted about a shard; None where it has not."""
        try:
            content = json.loads(_note(folder, number).read_text(encoding="utf-8"))
            return cls(**content | {name: tuple(content[name]) for name in ("lines", "skipped")})
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def save(self, folder: Path, number: int) -> None:
        """Note what is in the shard, for a run that goes on with the others."""
        write_json(_note(folder, number), vars(self))


def write_split(split: Split, *, processes: int, skipped: Say, tell: Say) -> dict[str, Any]:
    """Write the shards of a split that are not there yet, and its metadata.

    Args:
        split: The split.
        processes: Processes that write, each a shard at a time.
        skipped: Is given a message for each file that cannot be read.
        tell: Is given a message for each shard.

    Returns:
        What the index says about it.
    """
    split.folder.mkdir(parents=True, exist_ok=True)
    remove_parts(split.folder)
    numbers = range(len(split.shards))
    shards, seconds, items = list[Row](), 0.0, 0
    metadata = split.folder / "metadata.jsonl"
    with whole_file(metadata) as part, part.open("w", encoding="utf-8", errors="surrogateescape") as file:
        for done in _all(split.write, numbers, processes):
            for message in done.skipped:
                skipped(message)
            file.writelines(f"{line}\n" for line in done.lines)
            shards.append({"name": done.name, "items": done.items, "bytes": done.size})
            seconds, items = seconds + done.seconds, items + done.items
            tell(f"{split.name}: {items} of {len(split.records.items)} files, {len(shards)} of {len(numbers)} shards")
    told = {"items": items, "shards": shards}
    return told | ({"seconds": round(seconds, 3)} if isinstance(split.records, SpeechRecords) else {})


def write_index(out: Path, task: str, splits: dict[str, dict[str, Any]], labels: Sequence[str]) -> None:
    """Write the index, the last of all: a folder without it is not whole."""
    about = {"format": FORMAT, "version": VERSION, "task": task}
    write_json(out / INDEX, about | ({"labels": list(labels)} if labels else {}) | {"splits": splits})


def lock(out: Path) -> FolderLock:
    """Make a folder for shards, and hold it for this process; its index is removed until the new one is there.

    Raises:
        InputError: It holds something else.
    """
    out.mkdir(parents=True, exist_ok=True)
    strange = [entry.name for entry in out.iterdir() if entry.is_file() and not entry.name.startswith((".", INDEX))]
    if strange:
        raise InputError(f"OUT {out} must be empty or a folder of shards, but holds {strange[0]} instead: give another")
    found = FolderLock(out, subject=str(out))
    (out / INDEX).unlink(missing_ok=True)
    return found


def _all(write: Callable[[int], Written], numbers: range, processes: int) -> Iterator[Written]:
    if processes == 1:
        yield from map(write, numbers)
        return
    with ProcessPoolExecutor(processes) as pool:
        yield from pool.map(write, numbers)


def _note(folder: Path, number: int) -> Path:
    return folder / f".{number:06d}.json"


def _size(path: Path) -> int:
    return _state(path)[0]


def _state(path: Path) -> tuple[int, int]:
    """The size of a file, and when it was written last in nanoseconds; zeros where it is not there."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_size, found.st_mtime_ns


def _said(records: SpeechRecords, index: int) -> Row:
    """The row of a recording, without its length."""
    speaker = records.speakers[index]
    return {"text": records.items[index][1]} | ({"speaker": speaker} if speaker else {})


def _question(question: Question) -> Row:
    """The row of a question; what it does not state is left out."""
    row: Row = {"question": question.text, "answers": list(question.answers)}
    told = {"type": question.type, "answer_type": question.answer_type}
    row |= {name: value for name, value in told.items() if value}
    boxes = {"boxes": question.boxes, "named": question.named}
    return row | {name: [list(box) for box in value] for name, value in boxes.items() if value is not None}
