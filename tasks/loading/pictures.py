"""Labeled pictures as items and batches. One that cannot be read is not an error here: its name travels along."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float16, Float32, Int64
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from multiattn.errors import InputError
from multiattn.inputs import ImagePreprocessing, load_image

from ..seeding import seed_item
from . import readable
from .readable import Records
from .transforms import Transform


class Sample(NamedTuple):
    """One picture, ready for the model."""

    image: Float[Tensor, "..."] | None
    """`[3, h, w]`, or what an encoder made of it, `[m, D]`; `None` where the picture cannot be read."""

    label: Any
    """What the records know of it."""

    place: int
    """Its index in the records; a replacement has its own."""

    unreadable: tuple[tuple[str, str], ...]
    """File and reason of each picture that could not be read on the way to this one."""


class ImageBatch(NamedTuple):
    """What a step of the classification task gets."""

    images: Float32[Tensor, "b 3 h w"]
    labels: Int64[Tensor, " b"]
    indices: Int64[Tensor, " b"]
    """Place of each picture in the split's records."""

    unreadable: tuple[tuple[str, str], ...]
    """File and reason of each picture that could not be read while this batch was made."""


class Collate:
    """Stack samples into a batch, without those that could not be read."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size

    def __call__(self, samples: Sequence[Sample]) -> ImageBatch:
        """Stack the samples; the batch is empty where none of them could be read."""
        readable = [s for s in samples if s.image is not None]
        images = [s.image for s in readable if s.image is not None]
        return ImageBatch(
            torch.stack(images) if images else torch.zeros(0, 3, *self.size),
            torch.tensor([s.label for s in readable], dtype=torch.int64),
            torch.tensor([s.place for s in readable], dtype=torch.int64),
            tuple(entry for s in samples for entry in s.unreadable),
        )


def stacked(
    samples: Sequence[Sample], shape: Sequence[int], *, of_features: bool
) -> tuple[Float32[Tensor, "b 3 h w"] | None, Float16[Tensor, "b m D"] | None]:
    """The pictures of samples that could be read, or else their features, as a batch; None for the other one.

    Args:
        samples: None of them, perhaps.
        shape: Of one picture, or of one picture's features.
        of_features: Which of them they have.
    """
    found = [sample.image for sample in samples if sample.image is not None]
    if of_features:
        return None, torch.stack(found) if found else torch.zeros(0, *shape, dtype=torch.float16)
    return torch.stack(found) if found else torch.zeros(0, *shape), None


def first_readable(records: Records, read: Callable[[int], Tensor], *, seed: int, epoch: int, wanted: int) -> Sample:
    """The picture `wanted`, or its replacement (`readable.first_readable`), with what is known of it."""
    image, place, unreadable = readable.first_readable(records, read, seed=seed, epoch=epoch, wanted=wanted)
    return Sample(image, records.items[place][1], place, unreadable)


class TrainingPictures(Dataset[Sample]):
    """Augmented pictures, each a pure function of the seed, the epoch and its index."""

    def __init__(self, records: Records, transform: Transform, *, seed: int, cache_side: int | None = None) -> None:
        """Prepare the pictures.

        Args:
            records: The split.
            transform: The random way to the model's input.
            seed: Of the augmentation.
            cache_side: Decode every picture now and keep it in memory, shrunk to this shorter side in pixels.
        """
        self.records, self.transform, self.seed = records, transform, seed
        self._cache = None if cache_side is None else _decode_all(records, cache_side)

    def __len__(self) -> int:
        return len(self.records.items)

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        """The picture `index` as epoch `epoch` sees it, or its replacement (`first_readable`)."""
        epoch, wanted = key

        def read(index: int) -> Tensor:
            picture = self._picture(index)
            seed_item(self.seed, epoch, index)
            return self.transform(picture)

        return first_readable(self.records, read, seed=self.seed, epoch=epoch, wanted=wanted)

    def _picture(self, index: int) -> Image.Image:
        """The decoded picture; raises InputError where there is none."""
        if self._cache is None:
            return load_image(self.records.items[index][0])
        kept = self._cache[index]
        if isinstance(kept, str):
            raise InputError(kept)
        return Image.fromarray(kept)


class EvaluationPictures(Dataset[Sample]):
    """Pictures as inference sees them, or mirrored, left to right."""

    def __init__(self, records: Records, preprocessing: ImagePreprocessing, *, mirrored: bool = False) -> None:
        self.records, self.preprocessing, self.mirrored = records, preprocessing, mirrored

    def __len__(self) -> int:
        return len(self.records.items)

    def __getitem__(self, index: int) -> Sample:
        """The picture at a place; without an image where it cannot be read."""
        path, label = self.records.items[index]
        try:
            picture = load_image(path)
            if self.mirrored:
                picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            return Sample(self.preprocessing(picture)[0], label, index, ())
        except InputError as error:
            return Sample(None, label, index, ((str(path), str(error)),))


def _decode_all(records: Records, side: int) -> list[np.ndarray | str]:
    def decode(item: tuple[Path, int]) -> np.ndarray | str:
        try:
            picture = load_image(item[0])
        except InputError as error:
            return str(error)
        share = side / min(picture.size)
        if share < 1:
            size = (max(1, round(picture.width * share)), max(1, round(picture.height * share)))
            picture = picture.resize(size, Image.Resampling.BICUBIC)
        return np.array(picture)

    with ThreadPoolExecutor() as pool:  # PIL lets other threads run while it decodes
        return list(pool.map(decode, records.items))
