"""Pictures as samples, varied for training or as inference sees them, and labeled pictures as batches.

b pictures of h x w pixels; m picture tokens and D width of an encoder's features.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np
import torch
from jaxtyping import Float16, Float32, Int64
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from multiattn.errors import InputError
from multiattn.inputs import ImagePreprocessing, load_image

from ..seeding import seed_for, seed_item
from . import readable
from .readable import Items, Records, Unreadable, positions_of, unreadable_of
from .transforms import Transform

T = TypeVar("T")

Sample = readable.Sample[Tensor]
"""A picture `[c, h, w]`, or the features that an encoder made of it, `[m, D]`."""


class ImageBatch(NamedTuple):
    """A batch of the classification task."""

    images: Float32[Tensor, "b c h w"]
    labels: Int64[Tensor, " b"] | Float32[Tensor, "b n"]
    """The index of each label; or, where a picture has several of n or none, 1 for those it has and 0 for others."""

    indices: Int64[Tensor, " b"]
    """The index of each picture in the split's records."""

    unreadable: tuple[Unreadable, ...]
    """File and reason of each picture that could not be read while this batch was made."""


def collate_pictures(
    samples: Sequence[Sample], *, size: tuple[int, int], channels: int = 3, classes: int | None = None
) -> ImageBatch:
    """Stack pictures of this size into a batch, without those that could not be read; perhaps an empty one.

    Args:
        samples: The pictures.
        size: Height and width.
        channels: Their channels.
        classes: The number of all labels, where a picture has several or none.
    """
    images, _ = stacked(samples, (channels, *size), of_features=False)
    assert images is not None
    known = [sample.label for sample in samples if sample.content is not None]
    if classes is None:
        labels = torch.tensor(known, dtype=torch.int64)
    else:
        labels = torch.zeros(len(known), classes)
        for row, several in zip(labels, known, strict=True):
            row[list(several)] = 1
    return ImageBatch(images, labels, positions_of(samples), unreadable_of(samples))


def stacked(
    samples: Sequence[Sample], shape: Sequence[int], *, of_features: bool
) -> tuple[Float32[Tensor, "b c h w"] | None, Float16[Tensor, "b m D"] | None]:
    """Stack the pictures, or the features, of the samples that could be read.

    Args:
        samples: Of one kind; perhaps none.
        shape: Of one picture, or of the features of one picture.
        of_features: Whether the samples hold features.

    Returns:
        The pictures and the features; None for the kind that the samples do not hold.
    """
    found = [sample.content for sample in samples if sample.content is not None]
    empty = torch.zeros(0, *shape, dtype=torch.float16 if of_features else torch.float32)
    batch = torch.stack(found) if found else empty
    return (None, batch) if of_features else (batch, None)


class TextDataset(Dataset[T], ABC):
    """Pictures, or features, with texts; in training the texts are drawn by seed, epoch and picture."""

    draw: ClassVar[int]
    """Sets the draw of texts apart from other draws with the same seed, epoch and index, such as that of views."""

    def __init__(self, items: Dataset[Sample], *, per_picture: int | None, seed: int | None) -> None:
        """Set the pictures.

        Args:
            items: The pictures of the split, by `(epoch, index)` in training and by index otherwise.
            per_picture: The number of texts of each picture.
            seed: Of the draw; None takes the first texts, in order.
        """
        self.items, self.per_picture, self.seed = items, per_picture, seed

    @abstractmethod
    def with_texts(self, sample: Sample, generator: np.random.Generator | None) -> T:
        """Add texts to a picture, drawn where there is a generator; none to a picture that cannot be read."""

    def __len__(self) -> int:
        return len(self.items)  # type: ignore[arg-type]

    def __getitem__(self, key: Any) -> T:
        """The picture, or its replacement, with texts of its own."""
        sample = self.items[key]
        if self.seed is None:
            return self.with_texts(sample, None)
        seed = seed_for(self.seed, key[0], sample.position, self.draw)
        return self.with_texts(sample, np.random.default_rng(seed))


class TrainingPictures(Items[Tensor]):
    """Augmented pictures."""

    def __init__(self, records: Records, transform: Transform, *, seed: int, cache_side: int | None = None) -> None:
        """Prepare the pictures.

        Args:
            records: The split.
            transform: The random way to the model's input.
            seed: Of the augmentation.
            cache_side: Decode every picture now and keep it in memory, shrunk to this shorter side in pixels.
        """
        super().__init__(records, seed=seed)
        self.transform = transform
        self._cache = None if cache_side is None else _decode_all(records, cache_side)

    def read(self, index: int, draw: tuple[int, ...]) -> Float32[Tensor, "c h w"]:
        """The picture as an epoch sees it."""
        picture = self._picture(index)
        seed_item(*draw)
        return self.transform(picture)

    def _picture(self, index: int) -> Image.Image:
        if self._cache is None:
            return load_image(self.records.items[index][0])
        kept = self._cache[index]
        if isinstance(kept, str):
            raise InputError(kept)
        return Image.fromarray(kept)


class EvaluationPictures(Items[Tensor]):
    """Pictures as inference sees them, or mirrored, left to right."""

    def __init__(self, records: Records, preprocessing: ImagePreprocessing, *, mirrored: bool = False) -> None:
        super().__init__(records)
        self.preprocessing, self.mirrored = preprocessing, mirrored

    def read(self, index: int, draw: tuple[int, ...]) -> Float32[Tensor, "c h w"]:
        """The picture at an index."""
        picture = load_image(self.records.items[index][0])
        if self.mirrored:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return self.preprocessing(picture)[0]


def _decode_all(records: Records, side: int) -> list[np.ndarray | str]:
    """Every picture of a split, shrunk to a shorter side; the reason for one that cannot be read."""

    def decode(item: tuple[Path, Any]) -> np.ndarray | str:
        try:
            picture = load_image(item[0])
        except InputError as error:
            return str(error)
        share = side / min(picture.size)
        if share < 1:
            size = (max(1, round(picture.width * share)), max(1, round(picture.height * share)))
            picture = picture.resize(size, Image.Resampling.BICUBIC)
        return np.array(picture)

    with ThreadPoolExecutor() as pool:  # PIL releases the interpreter's lock while it decodes
        return list(pool.map(decode, records.items))
