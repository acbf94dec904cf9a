"""What a folder of data is: its task, its splits, and the samples of shards that have no index."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ...errors import InputError
from ...inputs.files import RECORDINGS
from ..captions import read_captions
from ..metadata import metadata_rows, some, split_path
from ..multi_labels import read_labeled
from ..questions import read_questions
from ..recordings import read_recordings
from .store import located
from .tar import ShardSample, samples
from .write import Records

TASKS: Final = ("classify", "caption", "transcribe", "answer")
_SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Source:
    """A folder of data, as the data modules take it."""

    root: Path
    captions: str | None = None
    questions: str | None = None
    annotations: str | None = None
    pictures: str | None = None

    def task(self, split: str) -> str:
        """The task that the data is for, as its first row tells."""
        if self.captions or self.questions:
            return "caption" if self.captions else "answer"
        folder = self.root / split
        rows = metadata_rows(folder, ())
        if rows is None:
            return "transcribe" if next(folder.rglob("*.trans.txt"), None) else "classify"
        path, row, _ = next(rows)
        return task_of(row, path.name)

    def splits(self) -> list[str]:
        """The splits that there are.

        Raises:
            InputError: There is none.
        """
        annotations = self.captions or self.questions
        if annotations and "{split}" in annotations:
            found = [split for split in _SPLITS if split_path(self.root, annotations, split).is_file()]
        elif annotations:
            found = list(_SPLITS)
        elif not self.root.is_dir():
            raise InputError(f"FOLDER {self.root} must be a folder, but there is none instead. Check the path.")
        else:
            there = sorted(entry.name for entry in self.root.iterdir() if entry.is_dir() and entry.name[0] != ".")
            found = [split for split in _SPLITS if split in there] or there
        if not found:
            raise InputError(f"{self.root}: there are no splits. Make {self.root / 'train'}, with the files in it.")
        return found

    def read(self, task: str, split: str) -> Records:
        """List the files of a split with what is known of each; errors as those of the task's reader."""
        readers: dict[str, Callable[[], Records]] = {
            "classify": lambda: read_labeled(self.root, split),
            "caption": lambda: read_captions(self.root, split, captions=self.captions, pictures=self.pictures),
            "transcribe": lambda: read_recordings(self.root, split),
            "answer": lambda: read_questions(
                self.root, split, questions=self.questions, annotations=self.annotations, pictures=self.pictures
            ),
        }
        return readers[task]()


def task_of(row: dict[str, Any], name: str) -> str:
    """The task that a row of metadata is for.

    Args:
        row: The row.
        name: The name of its file.

    Raises:
        InputError: None of ours.
    """
    if "question" in row or "questions" in row:
        return "answer"
    if "label" in row or "labels" in row:
        return "classify"
    if "text" in row or "texts" in row:
        return "transcribe" if RECORDINGS.matches(name) else "caption"
    has = some(list(row)) or "nothing"
    raise InputError(f"{name}: there must be a `label`, a `text`, `texts` or a `question`, but there is {has} instead.")


def indexed(folder: Path, say: Callable[[str], None]) -> "Iterator[tuple[dict[str, Any], list[str], str]]":
    """Find out what the shards of a split hold.

    Args:
        folder: The folder of the split.
        say: Is given a message for each place where a shard is damaged.

    Yields:
        Of each shard, what the index says about it; the rows of its samples in the metadata; and the task.
    """
    for shard in sorted(folder.glob("*.tar")):
        lines, items, task, seconds = list[str](), 0, "", 0.0
        with shard.open("rb") as stream:
            for sample in samples(stream, str(shard)):
                if isinstance(sample, InputError):
                    say(str(sample))
                    continue
                rows = _rows(sample)
                task = task or task_of(rows[0], sample.member.name)
                member = sample.member
                where = {"file_name": located(shard.name, member.name, member.offset, member.size)}
                lines += [json.dumps(row | where) for row in rows]
                items, seconds = items + 1, seconds + rows[0].get("seconds", 0.0)
        about = {"name": shard.name, "items": items, "bytes": shard.stat().st_size}
        yield about | ({"seconds": seconds} if task == "transcribe" else {}), lines, task


def _rows(sample: ShardSample) -> list[dict[str, Any]]:
    row = {name: value for name, value in sample.row.items() if name != "file_name"}
    questions = row.get("questions")
    return questions if isinstance(questions, list) and questions else [row]
