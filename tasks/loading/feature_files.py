"""What a feature store keeps beside the features: how far each view is, a lock, and a name for all they depend on."""

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ..parts import TRAINING_ONLY


@dataclass
class Progress:
    """How far a view is."""

    done: int
    """Items, from the first on, that need no more work."""

    unreadable: dict[int, str]
    """Of them, those that could not be read, and why."""

    rows: list[int] = field(default_factory=list)
    """Of each that is done, where they differ."""

    counts: list[int] = field(default_factory=list)
    """Samples of each, in the same way."""

    def __post_init__(self) -> None:
        self._ends = np.zeros(0, np.int64)

    def bounds(self, index: int) -> tuple[int, int]:
        """The first row of an item, and the first of the next."""
        if len(self._ends) != len(self.rows) + 1:
            self._ends = np.cumsum([0, *self.rows])
        return int(self._ends[index]), int(self._ends[index + 1])

    @classmethod
    def read(cls, folder: Path, view: str) -> "Progress":
        """How far a view is; at its beginning where nothing is there, or nothing that can be read."""
        try:
            content = json.loads((folder / f"{view}.json").read_text(encoding="utf-8"))
            unreadable = {int(place): reason for place, reason in content["unreadable"].items()}
            return cls(content["done"], unreadable, content.get("rows", []), content.get("counts", []))
        except (OSError, ValueError, KeyError):
            return cls(0, {})

    def save(self, folder: Path, view: str) -> None:
        """Replace the file in one step."""
        text = json.dumps({name: value for name, value in asdict(self).items() if value or name in _ALWAYS})
        part = folder / f"{view}.json.part"
        part.write_text(text, encoding="utf-8")
        part.replace(folder / f"{view}.json")


_ALWAYS = ("done", "unreadable")


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Wait until no other process is in here; the system lets go of the lock of one that was killed."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def digest(encoder: nn.Module, paths: Sequence[Path], *, depends_on: Callable[[dict[str, Any]], list[Any]]) -> str:
    """A name for all that features depend on.

    Args:
        encoder: Whose features they are.
        paths: Of the files.
        depends_on: What else, as `Encoding.depends_on`.
    """
    found = hashlib.sha256()
    config: Any = encoder.config
    architecture = {name: value for name, value in asdict(config).items() if name not in TRAINING_ONLY}
    base = os.path.commonpath([path.parent.absolute() for path in paths])  # the data may move as a whole
    files = [(os.path.relpath(path.absolute(), base), _size(path)) for path in paths]
    found.update(json.dumps([*depends_on(architecture), files], default=str).encode())
    for name, tensor in sorted(encoder.state_dict().items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def _size(path: Path) -> int:
    """Bytes of a file; -1 where there is none, so that one which is put there is read."""
    try:
        return path.stat().st_size
    except OSError:
        return -1
