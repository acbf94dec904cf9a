"""What a frozen encoder makes of each file of a split, computed once and kept on disk, for training without running it.

A store is a folder named by the split and by a digest of all that the features depend on: the encoder's weights and
architecture, the preprocessing, and the names and sizes of the files. So another encoder never meets these features.
In it, for each view (plain and mirrored pictures; recordings at each speed), are the features as float16 and, in JSON,
how far it got. N items; m rows of an item, one for each token or frame; D width.
"""

import io
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol

import numpy as np
import torch
from jaxtyping import Float, Float16
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset

from multiattn.errors import InputError, ModelError

from .feature_files import Progress, alone, digest
from .loader import ignore_interrupt
from .readable import Records

_SAVE_EVERY = 2.0  # seconds
_TELL_EVERY = 15.0  # seconds


class Item(Protocol):
    """A file that was prepared for the encoder."""

    @property
    def place(self) -> int:
        """Its index in the records."""

    @property
    def unreadable(self) -> tuple[tuple[str, str], ...]:
        """File and reason, where it could not be read."""


class Found(NamedTuple):
    """What the encoder made of an item."""

    features: Float[Tensor, "m D"]
    count: int
    """How long the item is, in samples; for whoever needs it."""


class Encoding(Protocol):
    """How the files of a split become features."""

    kind: str
    """What the files are: "pictures"."""

    records: Records
    views: tuple[str, ...]
    """The names of what is kept of each file."""

    rows: int | None
    """Of each item; None where each has its own number."""

    width: int

    def depends_on(self, architecture: dict[str, Any]) -> list[Any]:
        """What the features depend on beside the weights and the files, as JSON; `architecture` is the encoder's."""

    def items(self, view: str) -> Dataset[Any]:
        """The files by their places, ready for the encoder."""

    def encode(self, encoder: nn.Module, items: Sequence[Any]) -> list[Found]:
        """What the encoder makes of these items, which could all be read."""


class FeatureStore:
    """The features of one split."""

    def __init__(self, folder: Path, split: str, *, encoder: nn.Module, encoding: Encoding) -> None:
        """Find the place of the store; nothing is computed yet.

        Args:
            folder: That holds all stores.
            split: What the records are called.
            encoder: Whose features they are.
            encoding: Of what, and how.
        """
        name = digest(encoder, [path for path, _ in encoding.records.items], depends_on=encoding.depends_on)
        self.folder = folder / f"{split}-{name[:16]}"
        self.split, self.encoding = split, encoding
        self._open: dict[str, tuple[np.ndarray, Progress]] = {}

    @property
    def records(self) -> Records:
        """The files."""
        return self.encoding.records

    @property
    def views(self) -> tuple[str, ...]:
        """The names of what is kept of each file."""
        return self.encoding.views

    def prepare(self, encoder: nn.Module, *, batch_size: int, num_workers: int) -> None:
        """Compute what is missing; what another process computes at the same time is waited for.

        Args:
            encoder: The one that the store was made for; it is used where it is, and left as it was.
            batch_size: Items at once.
            num_workers: Processes that prepare items.

        Raises:
            InputError: The folder cannot be written.
            ModelError: The features are not finite in float16.
        """
        was_training = encoder.training
        encoder.eval()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with alone(self.folder / "lock"):
                for view in self.views:
                    self._compute(view, encoder, batch_size=batch_size, num_workers=num_workers)
        except OSError as error:
            raise InputError(f"{self.folder}: features cannot be kept here: {error.strerror}.") from error
        finally:
            encoder.train(was_training)

    def read(self, index: int, view: str) -> Float16[Tensor, "m D"]:
        """The features of an item.

        Raises:
            InputError: The file could not be read when they were computed.
        """
        rows, progress = self._opened(view)
        if index in progress.unreadable:
            raise InputError(progress.unreadable[index])
        fixed = self.encoding.rows
        start, end = progress.bounds(index) if fixed is None else (index * fixed, (index + 1) * fixed)
        return torch.from_numpy(np.array(rows[start:end]))

    def count(self, index: int, view: str) -> int:
        """How long an item is, in samples, where items differ."""
        return self._opened(view)[1].counts[index]

    def _opened(self, view: str) -> tuple[np.ndarray, Progress]:
        """All rows of a view, and what is noted of it."""
        if view not in self._open:
            progress = Progress.read(self.folder, view)
            header, size = len(self._header()), self.encoding.width * 2
            rows: np.ndarray
            shape = ((self._end(progress) - header) // size, self.encoding.width)
            if shape[0]:
                rows = np.memmap(self._path(view), np.float16, "r", offset=header, shape=shape)
            else:  # nothing could be read: the system maps no empty file
                rows = np.zeros(shape, np.float16)
            self._open[view] = rows, progress
        return self._open[view]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open": {}}  # a process opens the files itself: a pickled map would be all its content

    @torch.inference_mode()
    def _compute(self, view: str, encoder: nn.Module, *, batch_size: int, num_workers: int) -> None:
        """Go on with a view from where it is.

        The file grows item by item, and says how far only afterwards: a kill loses seconds, a full disk nothing.
        """
        count, state = len(self.records.items), Progress.read(self.folder, view)
        file = self._path(view)
        if not file.is_file() or file.stat().st_size < self._end(state):
            state = Progress(0, {})
        if state.done == count:
            return
        loader: DataLoader[Item] = DataLoader(
            Subset(self.encoding.items(view), range(state.done, count)),
            batch_size=batch_size,
            num_workers=num_workers,
            collate_fn=_batch,
            worker_init_fn=ignore_interrupt,
            generator=torch.Generator(),  # the loader draws a seed for its workers: not from the training's generator
        )
        started, first = time.monotonic(), state.done
        saved = told = started
        with self._file(view, state) as stream:
            for items in loader:
                for data in self._made(encoder, items, state):
                    stream.write(data)
                state.done += len(items)
                state.unreadable |= {item.place: item.unreadable[0][1] for item in items if item.unreadable}
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

    def _made(self, encoder: nn.Module, items: Sequence[Any], state: Progress) -> Iterator[bytes]:
        """The bytes of each item's features, noted in the state where items differ."""
        readable = [item for item in items if not item.unreadable]
        found = iter(self.encoding.encode(encoder, readable) if readable else [])
        for item in items:
            rows, count = np.zeros((self.encoding.rows or 0, self.encoding.width), np.float16), 0
            if not item.unreadable:
                features, count = next(found)
                rows = features.float().cpu().numpy().astype(np.float16)
                if not np.isfinite(rows).all():
                    raise ModelError("the encoder's features must be finite in float16, but are not instead.")
            if self.encoding.rows is None:
                state.rows.append(len(rows))
                state.counts.append(count)
            yield rows.tobytes()

    def _path(self, view: str) -> Path:
        return self.folder / f"{view}.{'npy' if self.encoding.rows else 'f16'}"

    def _header(self) -> bytes:
        """The beginning of an array's file, in the format that `numpy.load` reads; none where items differ."""
        if self.encoding.rows is None:
            return b""
        shape = (len(self.records.items), self.encoding.rows, self.encoding.width)
        stream = io.BytesIO()
        np.lib.format.write_array_header_1_0(stream, {"descr": "<f2", "fortran_order": False, "shape": shape})
        return stream.getvalue()

    def _end(self, state: Progress) -> int:
        """Bytes of an array's file that is so far."""
        rows = sum(state.rows) if self.encoding.rows is None else state.done * self.encoding.rows
        return len(self._header()) + rows * self.encoding.width * 2

    @contextmanager
    def _file(self, view: str, state: Progress) -> Iterator[BinaryIO]:
        """The array's file, open behind the items that are done."""
        with self._path(view).open("r+b" if state.done else "wb") as file:
            file.write(self._header())
            file.seek(self._end(state))
            file.truncate()
            yield file


def _batch(items: list[Item]) -> list[Item]:
    return items
