"""The samples of a split, and files among them that cannot be read: skipped, named and counted, never raised.

In training another file of the split replaces one that cannot be read; in evaluation its batch is smaller. An error in
a worker process would arrive as a traceback: so file and reason travel with the sample to `loader.UnreadableFiles`.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import torch
from jaxtyping import Int64
from torch import Tensor
from torch.utils.data import Dataset

from multiattn.errors import InputError

from ..seeding import seed_for
from .sampler import Key

TRIES = 20
"""Replacements tried in a row for one unreadable file; at a share of 5 % unreadable, all fail once in 1e26."""

T = TypeVar("T")

Unreadable = tuple[str, str]
"""A file, and why it cannot be read."""


class Records(Protocol):
    """The files of one split, not opened yet."""

    @property
    def items(self) -> Sequence[tuple[Path, Any]]:
        """The path of each file, and its label: a class, captions, questions or a transcript."""


@dataclass(frozen=True)
class Files:
    """Files without labels."""

    items: tuple[tuple[Path, None], ...]
    """The path of each."""


class Sample(NamedTuple, Generic[T]):
    """One file of a split, ready for the model."""

    content: T | None
    """What the file holds; None where it cannot be read."""

    label: Any
    """What the records say about the file."""

    position: int
    """The index of the file in the records; a replacement has its own."""

    unreadable: tuple[Unreadable, ...]
    """The files that could not be read on the way to this one."""


class Items(Dataset[Sample[T]], ABC):
    """The samples of a split: by the sampler's key in training, by their index as inference sees them.

    A training sample is a pure function of the seed and its key.
    """

    def __init__(self, records: Records, *, seed: int | None = None) -> None:
        """Set the files.

        Args:
            records: The files.
            seed: Of all that is drawn in training; None for samples as inference sees them.
        """
        self.records, self.seed = records, seed

    @abstractmethod
    def read(self, index: int, draw: tuple[int, ...]) -> T:
        """The content of a file.

        Args:
            index: The index of the file.
            draw: In training the numbers that decide about all draws: seed, epoch and index, and how often
                the epoch has had the file before, unless that is never; empty otherwise.

        Raises:
            InputError: The file cannot be read.
        """

    def __len__(self) -> int:
        return len(self.records.items)

    def __getitem__(self, key: Any) -> Sample[T]:
        """The sample, without content where the file cannot be read; in training, a file that is drawn replaces it.

        Where the key has the items of the batch, it is one of them.
        """
        training = None if self.seed is None else Key(*key)
        wanted = key if training is None else training.item
        epoch = () if training is None or self.seed is None else (self.seed, training.epoch)
        again = (training.turn,) if training is not None and training.turn else ()
        unreadable: list[Unreadable] = []
        for attempt in range(TRIES if epoch else 1):
            index = wanted
            if attempt:
                drawn = seed_for(*epoch, wanted, attempt)
                instead = training.batch if training is not None and training.batch else range(len(self))
                index = instead[drawn % len(instead)]
            path, label = self.records.items[index]
            try:
                content = self.read(index, (*epoch, index, *again) if epoch else ())
                return Sample(content, label, index, tuple(unreadable))
            except InputError as error:
                unreadable.append((str(path), str(error)))
        return Sample(None, self.records.items[wanted][1], wanted, tuple(unreadable))


def positions_of(samples: Iterable[Sample[Any]]) -> Int64[Tensor, " b"]:
    """The positions of the samples that could be read."""
    return torch.tensor([sample.position for sample in samples if sample.content is not None], dtype=torch.int64)


def unreadable_of(samples: Iterable[Sample[Any]]) -> tuple[Unreadable, ...]:
    """All files that could not be read on the way to the samples."""
    return tuple(entry for sample in samples for entry in sample.unreadable)
