"""The output of a frozen encoder for each file of a split, computed once and kept on disk: training does not run it.

A store is a folder named by the split and by a digest of all that the features depend on: the encoder's weights and
architecture, the preprocessing, and the names and sizes of the files. So features are never used with another encoder.
For each view (plain and mirrored pictures; recordings at each speed) it holds the features as float16 and, in JSON, the
progress. N items; m rows of an item, one for each token or frame; D width.
"""

import io
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from jaxtyping import Float, Float16
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset

from multiattn.errors import InputError, ModelError
from multiattn.writing import FolderLock, naming, remove_parts, write_text

from ..seeding import seed_for
from .digests import digest_of_features
from .loader import ignore_signals
from .readable import Items, Records, Sample

_SAVE_EVERY = 2.0  # seconds
_TELL_EVERY = 15.0  # seconds
_VIEW = 2  # sets the draw of a view apart from the other draws with the same seed, epoch and index


class Encoded(NamedTuple):
    """The encoder's output for an item."""

    features: Float[Tensor, "m D"]
    num_samples: int
    """Length of a recording in samples; 0 for a picture."""


class Encoding(Protocol):
    """How the files of a split become features."""

    kind: str
    """What the files are, for messages: "pictures"."""

    views: tuple[str, ...]
    """The names of the views of each file."""

    rows: int | None
    """Rows of each item; None where items differ."""

    width: int

    @property
    def records(self) -> Records:
        """The files."""

    def depends_on(self, architecture: dict[str, Any]) -> list[Any]:
        """What the features depend on beside the weights and the files, as JSON; `architecture` is the encoder's."""

    def items(self, view: str) -> Items[Any]:
        """The files by their index, ready for the encoder."""

    def encode(self, encoder: nn.Module, items: Sequence[Any]) -> list[Encoded]:
        """Encode samples, all of which could be read."""


@dataclass
class _Progress:
    """How far a view is."""

    done: int
    """The number of items, from the first on, that are done."""

    unreadable: dict[int, str]
    """The index of each item among them that could not be read, and why."""

    rows: list[int] = field(default_factory=list)
    """Rows of each item that is done, where items differ."""

    counts: list[int] = field(default_factory=list)
    """Samples of each item that is done, where items differ."""

    def __post_init__(self) -> None:
        self._ends = np.zeros(0, np.int64)

    def bounds(self, index: int) -> tuple[int, int]:
        """The first row of an item, and the first of the next."""
        if len(self._ends) != len(self.rows) + 1:
            self._ends = np.cumsum([0, *self.rows])
        return int(self._ends[index]), int(self._ends[index + 1])

    @classmethod
    def read(cls, folder: Path, view: str) -> "_Progress":
        """Read the progress of a view; nothing is done where there is no file that can be read."""
        try:
            content = json.loads((folder / f"{view}.json").read_text(encoding="utf-8"))
            unreadable = {int(index): reason for index, reason in content["unreadable"].items()}
            return cls(content["done"], unreadable, content.get("rows", []), content.get("counts", []))
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return cls(0, {})

    def save(self, folder: Path, view: str) -> None:
        """Replace the file in one step."""
        always = ("done", "unreadable")
        text = json.dumps({name: value for name, value in asdict(self).items() if value or name in always})
        write_text(folder / f"{view}.json", text)


class FeatureStore:
    """The features of one split."""

    def __init__(self, folder: Path, split: str, *, encoder: nn.Module, encoding: Encoding) -> None:
        """Locate the store; nothing is computed yet.

        Args:
            folder: The folder of all stores.
            split: The name of the split.
            encoder: The encoder that makes the features.
            encoding: How the files of the split become features.
        """
        name = digest_of_features(encoder, [path for path, _ in encoding.records.items], depends_on=encoding.depends_on)
        self.folder = folder / f"{split}-{name[:16]}"
        self.split, self.encoding = split, encoding
        self.records, self.views = encoding.records, encoding.views
        self._open: dict[str, tuple[np.ndarray, _Progress]] = {}

    def prepare(self, encoder: nn.Module, *, batch_size: int, num_workers: int) -> None:
        """Compute what is missing, or wait for another process that computes it.

        Args:
            encoder: The encoder that the store was made for; it stays on its device and in its mode.
            batch_size: Items at once.
            num_workers: Processes that prepare items.

        Raises:
            InputError: The folder cannot be written.
            ModelError: The features are not finite in float16.
        """
        was_training = encoder.training
        lock: FolderLock | None = None
        encoder.eval()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FolderLock(self.folder, subject=f"the features' folder {self.folder}", wait=True)
            remove_parts(self.folder)
            for view in self.views:
                self._compute(view, encoder, batch_size=batch_size, num_workers=num_workers)
        except OSError as error:
            where = error.filename or self.folder
            raise InputError(f"{where}: features cannot be kept here: {error.strerror}.") from error
        finally:
            if lock is not None:
                lock.release()
            encoder.train(was_training)

    def drawn_view(self, *draw: int) -> str:
        """The view of an item in an epoch of the training: a pure function of the seed, the epoch and the index."""
        return self.views[seed_for(*draw, _VIEW) % len(self.views)]

    def read(self, index: int, view: str) -> Float16[Tensor, "m D"]:
        """Read the features of an item.

        Raises:
            InputError: The file could not be read when the features were computed.
        """
        rows, progress = self._opened(view)
        if index in progress.unreadable:
            raise InputError(progress.unreadable[index])
        fixed = self.encoding.rows
        start, end = progress.bounds(index) if fixed is None else (index * fixed, (index + 1) * fixed)
        return torch.from_numpy(np.array(rows[start:end]))

    def num_samples(self, index: int, view: str) -> int:
        """The length of a recording in samples."""
        return self._opened(view)[1].counts[index]

    def _opened(self, view: str) -> tuple[np.ndarray, _Progress]:
        """All rows of a view, and its progress."""
        if view not in self._open:
            progress = _Progress.read(self.folder, view)
            header, size = len(self._header()), self.encoding.width * 2
            shape = ((self._end(progress) - header) // size, self.encoding.width)
            rows: np.ndarray = np.zeros(shape, np.float16)
            if shape[0]:  # the system maps no empty file
                rows = np.memmap(self._path(view), np.float16, "r", offset=header, shape=shape)
            self._open[view] = rows, progress
        return self._open[view]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open": {}}  # each process opens the files: pickling a map would copy its content

    @torch.inference_mode()
    def _compute(self, view: str, encoder: nn.Module, *, batch_size: int, num_workers: int) -> None:
        """Compute the rest of a view.

        The file grows item by item, and the progress is saved only afterwards: a kill loses seconds of work, a full
        disk nothing.
        """
        count, state = len(self.records.items), _Progress.read(self.folder, view)
        file = self._path(view)
        if not file.is_file() or file.stat().st_size < self._end(state):
            state = _Progress(0, {})
        if state.done == count:
            return
        loader: DataLoader[Sample[Any]] = DataLoader(
            Subset(self.encoding.items(view), range(state.done, count)),
            batch_size=batch_size,
            num_workers=num_workers,
            collate_fn=list,
            worker_init_fn=ignore_signals,
            generator=torch.Generator(),  # the loader draws a seed for its workers: not from the training's generator
        )
        started, first = time.monotonic(), state.done
        saved = told = started
        with naming(file), file.open("r+b" if state.done else "wb") as stream:
            stream.write(self._header())
            stream.seek(self._end(state))
            stream.truncate()
            for items in loader:
                for data in self._rows(encoder, items, state):
                    stream.write(data)
                state.done += len(items)
                state.unreadable |= {item.position: item.unreadable[0][1] for item in items if item.unreadable}
                now = time.monotonic()
                if now - saved > _SAVE_EVERY or state.done == count:
                    stream.flush()
                    os.fsync(stream.fileno())
                    state.save(self.folder, view)
                    saved = now
                if now - told > _TELL_EVERY or state.done == count:
                    speed = (state.done - first) / max(now - started, 1e-9)
                    message = (
                        f"features of {self.split} ({view}): {state.done} of {count} {self.encoding.kind}, "
                        f"{speed:.1f} a second"
                    )
                    print(message, file=sys.stderr, flush=True)
                    told = now

    def _rows(self, encoder: nn.Module, items: Sequence[Sample[Any]], state: _Progress) -> Iterator[bytes]:
        """The bytes of each item's features; where items differ, their lengths are added to the progress."""
        readable = [item for item in items if not item.unreadable]
        found = iter(self.encoding.encode(encoder, readable) if readable else [])
        for item in items:
            rows, num_samples = np.zeros((self.encoding.rows or 0, self.encoding.width), np.float16), 0
            if not item.unreadable:
                features, num_samples = next(found)
                rows = features.float().cpu().numpy().astype(np.float16)
                if not np.isfinite(rows).all():
                    raise ModelError("the encoder's features must be finite in float16, but are not instead.")
            if self.encoding.rows is None:
                state.rows.append(len(rows))
                state.counts.append(num_samples)
            yield rows.tobytes()

    def _path(self, view: str) -> Path:
        return self.folder / f"{view}.{'npy' if self.encoding.rows else 'f16'}"

    def _header(self) -> bytes:
        """The beginning of the file, in the format that `numpy.load` reads; empty where items differ."""
        if self.encoding.rows is None:
            return b""
        shape = (len(self.records.items), self.encoding.rows, self.encoding.width)
        stream = io.BytesIO()
        np.lib.format.write_array_header_1_0(stream, {"descr": "<f2", "fortran_order": False, "shape": shape})
        return stream.getvalue()

    def _end(self, state: _Progress) -> int:
        """Bytes of the file with the items that are done."""
        rows = sum(state.rows) if self.encoding.rows is None else state.done * self.encoding.rows
        return len(self._header()) + rows * self.encoding.width * 2
