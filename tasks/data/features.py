"""What a frozen encoder makes of each picture, computed once and kept on disk, for training without running it.

A store is a folder named by the split and by a digest of all that the features depend on: the encoder's weights and
architecture, the preprocessing, and the names and sizes of the files. So another encoder never meets these features.
In it, for each view (plain, mirrored), are the features as a float16 array and, in JSON, how far it got.
N pictures, m tokens, D width.
"""

import fcntl
import hashlib
import io
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from jaxtyping import Float16
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from multiattn.errors import InputError, ModelError
from multiattn.inputs import ImagePreprocessing
from multiattn.models.vit import ViT

from ..encoder import TRAINING_ONLY
from ..seeding import seed_for
from .captions import CaptionRecords
from .loader import ignore_interrupt
from .pictures import EvaluationPictures, Sample, first_readable

VIEWS = ("plain", "mirrored")

_VIEW = 2  # sets the draw of the view apart from the other draws of the same place
_SAVE_EVERY = 2.0  # seconds
_TELL_EVERY = 15.0  # seconds


class FeatureStore:
    """The features of one split."""

    def __init__(
        self,
        folder: Path,
        split: str,
        *,
        encoder: ViT,
        preprocessing: ImagePreprocessing,
        records: CaptionRecords,
        views: int,
    ) -> None:
        """Find the place of the store; nothing is computed yet.

        Args:
            folder: That holds all stores.
            split: What the records are called.
            encoder: Whose features they are.
            preprocessing: The way from a picture to its input.
            records: The pictures.
            views: 1 for the pictures as they are, 2 for mirrored ones, too.
        """
        digest = _digest(encoder, preprocessing, records)
        self.folder = folder / f"{split}-{digest[:16]}"
        self.split, self.records, self.preprocessing = split, records, preprocessing
        self.views = VIEWS[:views]
        tokens = encoder.num_prefix_tokens + int(np.prod(encoder.grid(preprocessing.size)))
        self.shape = (tokens, encoder.config.dim)
        """Tokens and width of one picture's features."""
        self._open: dict[str, tuple[np.ndarray, dict[int, str]]] = {}

    def prepare(self, encoder: ViT, *, batch_size: int, num_workers: int) -> None:
        """Compute what is missing; what another process computes at the same time is waited for.

        Args:
            encoder: The one that the store was made for; it is used where it is, and left as it was.
            batch_size: Pictures at once.
            num_workers: Processes that prepare pictures.

        Raises:
            InputError: The folder cannot be written.
            ModelError: The features are not finite in float16.
        """
        was_training = encoder.training
        encoder.eval()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with _only_one(self.folder / "lock"):
                for view in self.views:
                    self._compute(view, encoder, batch_size=batch_size, num_workers=num_workers)
        except OSError as error:
            raise InputError(f"{self.folder}: features cannot be kept here: {error.strerror}.") from error
        finally:
            encoder.train(was_training)

    def read(self, index: int, view: str = "plain") -> Float16[Tensor, "m D"]:
        """The features of a picture.

        Raises:
            InputError: The picture could not be read when they were computed.
        """
        if view not in self._open:
            array = np.load(self.folder / f"{view}.npy", mmap_mode="r")
            self._open[view] = array, _progress(self.folder, view).unreadable
        array, unreadable = self._open[view]
        if index in unreadable:
            raise InputError(unreadable[index])
        return torch.from_numpy(np.array(array[index]))

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open": {}}  # a process opens the files itself: a pickled map would be all its content

    @torch.inference_mode()
    def _compute(self, view: str, encoder: ViT, *, batch_size: int, num_workers: int) -> None:
        """Go on with a view from where it is.

        The file grows picture by picture, and says how far only afterwards: a kill loses seconds, a full disk nothing.
        """
        count, state = len(self.records.items), _progress(self.folder, view)
        file = self.folder / f"{view}.npy"
        if not file.is_file() or file.stat().st_size < self._end(state.done):
            state = _Progress(0, {})
        if state.done == count:
            return
        weight = next(encoder.parameters())
        files = CaptionRecords(tuple((path, ("",)) for path, _ in self.records.items))
        pictures = EvaluationPictures(files, self.preprocessing, mirrored=view == "mirrored")
        loader: DataLoader[Sample] = DataLoader(
            Subset(pictures, range(state.done, count)),
            batch_size=batch_size,
            num_workers=num_workers,
            collate_fn=_batch,
            worker_init_fn=ignore_interrupt,
            generator=torch.Generator(),  # the loader draws a seed for its workers: not from the training's generator
        )
        started, first = time.monotonic(), state.done
        saved = told = started
        with self._file(view, state.done) as stream:
            for samples in loader:
                features = np.zeros((len(samples), *self.shape), np.float16)
                rows = [row for row, sample in enumerate(samples) if sample.image is not None]
                if rows:
                    images = torch.stack([samples[row].image for row in rows])
                    found = encoder.features(images.to(weight))
                    features[rows] = found.float().cpu().numpy().astype(np.float16)
                    if not np.isfinite(features).all():
                        raise ModelError("the encoder's features must be finite in float16, but are not instead.")
                stream.write(features.tobytes())
                state.done += len(samples)
                state.unreadable |= {sample.place: sample.unreadable[0][1] for sample in samples if sample.unreadable}
                now = time.monotonic()
                if now - saved > _SAVE_EVERY or state.done == count:
                    stream.flush()
                    os.fsync(stream.fileno())
                    state.save(self.folder, view)
                    saved = now
                if now - told > _TELL_EVERY or state.done == count:
                    speed = (state.done - first) / max(now - started, 1e-9)
                    message = (
                        f"features of {self.split} ({view}): {state.done} of {count} pictures, {speed:.1f} a second"
                    )
                    print(message, file=sys.stderr, flush=True)
                    told = now

    def _header(self) -> bytes:
        """The beginning of an array's file, in the format that `numpy.load` reads."""
        header = {"descr": "<f2", "fortran_order": False, "shape": (len(self.records.items), *self.shape)}
        stream = io.BytesIO()
        np.lib.format.write_array_header_1_0(stream, header)
        return stream.getvalue()

    def _end(self, done: int) -> int:
        """Bytes of an array's file with so many pictures."""
        return len(self._header()) + done * int(np.prod(self.shape)) * 2

    @contextmanager
    def _file(self, view: str, done: int) -> Iterator[BinaryIO]:
        """The array's file, open behind the pictures that are done."""
        path = self.folder / f"{view}.npy"
        with path.open("r+b" if done else "wb") as file:
            file.write(self._header())
            file.seek(self._end(done))
            file.truncate()
            yield file


class TrainingFeatures(Dataset[Sample]):
    """Features for training; which view of a picture is a pure function of the seed, the epoch and its index."""

    def __init__(self, records: CaptionRecords, store: FeatureStore, *, seed: int) -> None:
        self.records, self.store, self.seed = records, store, seed

    def __len__(self) -> int:
        return len(self.records.items)

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        """The features of picture `index` in epoch `epoch`, or of its replacement (`first_readable`)."""
        epoch, wanted = key

        def read(index: int) -> Tensor:
            views = self.store.views
            return self.store.read(index, views[seed_for(self.seed, epoch, index, _VIEW) % len(views)])

        return first_readable(self.records, read, seed=self.seed, epoch=epoch, wanted=wanted)


class EvaluationFeatures(Dataset[Sample]):
    """Features of the pictures as inference sees them."""

    def __init__(self, records: CaptionRecords, store: FeatureStore) -> None:
        self.records, self.store = records, store

    def __len__(self) -> int:
        return len(self.records.items)

    def __getitem__(self, index: int) -> Sample:
        """The features at a place; without any where the picture could not be read."""
        path, texts = self.records.items[index]
        try:
            return Sample(self.store.read(index), texts, index, ())
        except InputError as error:
            return Sample(None, texts, index, ((str(path), str(error)),))


@dataclass
class _Progress:
    """How far a view is."""

    done: int
    """Pictures, from the first on, that need no more work."""

    unreadable: dict[int, str]
    """Of them, those that could not be read, and why."""

    def save(self, folder: Path, view: str) -> None:
        """Replace the file in one step."""
        text = json.dumps(asdict(self))
        part = folder / f"{view}.json.part"
        part.write_text(text, encoding="utf-8")
        part.replace(folder / f"{view}.json")


def _progress(folder: Path, view: str) -> _Progress:
    """How far a view is; at its beginning where nothing is there, or nothing that can be read."""
    try:
        content = json.loads((folder / f"{view}.json").read_text(encoding="utf-8"))
        return _Progress(content["done"], {int(place): reason for place, reason in content["unreadable"].items()})
    except (OSError, ValueError, KeyError):
        return _Progress(0, {})


def _batch(samples: list[Sample]) -> list[Sample]:
    return samples


@contextmanager
def _only_one(path: Path) -> Iterator[None]:
    """Wait until no other process is in here; the system lets go of the lock of one that was killed."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _digest(encoder: ViT, preprocessing: ImagePreprocessing, records: CaptionRecords) -> str:
    """A name for all that the features depend on."""
    digest = hashlib.sha256()
    architecture = {name: value for name, value in asdict(encoder.config).items() if name not in TRAINING_ONLY}
    paths = [path for path, _ in records.items]
    base = os.path.commonpath([path.parent.absolute() for path in paths])  # the data may move as a whole
    files = [(os.path.relpath(path.absolute(), base), _size(path)) for path in paths]
    digest.update(json.dumps([architecture, preprocessing.to_dict(), files], default=str).encode())
    for name, tensor in sorted(encoder.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _size(path: Path) -> int:
    """Bytes of a file; -1 where there is none, so that one which is put there is read."""
    try:
        return path.stat().st_size
    except OSError:
        return -1
