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


class TrainingItems(Dataset[Sample[T]], ABC):
    """Training samples by `(epoch, index)`; each is a pure function of the seed, the epoch and its index."""

    def __init__(self, records: Records, *, seed: int) -> None:
        self.records, self.seed = records, seed

    @abstractmethod
    def read(self, index: int, epoch: int) -> T:
        """The content of a file as an epoch has it; raises InputError where it cannot be read."""

    def __len__(self) -> int:
        return len(self.records.items)

    def __getitem__(self, key: tuple[int, int]) -> Sample[T]:
        """The sample, or else another one, drawn by the seed and the epoch."""
        epoch, wanted = key
        unreadable: list[Unreadable] = []
        for attempt in range(TRIES):
            index = seed_for(self.seed, epoch, wanted, attempt) % len(self) if attempt else wanted
            path, label = self.records.items[index]
            try:
                return Sample(self.read(index, epoch), label, index, tuple(unreadable))
            except InputError as error:
                unreadable.append((str(path), str(error)))
        return Sample(None, self.records.items[wanted][1], wanted, tuple(unreadable))


class EvaluationItems(Dataset[Sample[T]], ABC):
    """Samples by their index, as inference sees them."""

    def __init__(self, records: Records) -> None:
        self.records = records

    @abstractmethod
    def read(self, index: int) -> T:
        """The content of a file; raises InputError where it cannot be read."""

    def __len__(self) -> int:
        return len(self.records.items)

    def __getitem__(self, index: int) -> Sample[T]:
        """The sample; without content where the file cannot be read."""
        path, label = self.records.items[index]
        try:
            return Sample(self.read(index), label, index, ())
        except InputError as error:
            return Sample(None, label, index, ((str(path), str(error)),))


def positions_of(samples: Iterable[Sample[Any]]) -> Int64[Tensor, " b"]:
    """The positions of the samples that could be read."""
    return torch.tensor([sample.position for sample in samples if sample.content is not None], dtype=torch.int64)


def unreadable_of(samples: Iterable[Sample[Any]]) -> tuple[Unreadable, ...]:
    """All files that could not be read on the way to the samples."""
    return tuple(entry for sample in samples for entry in sample.unreadable)
