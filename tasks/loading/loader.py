"""Loaders that name what cannot be read, and that a training can leave and enter in the middle of an epoch."""

import signal
import warnings
from collections.abc import Iterator
from typing import Any, Protocol

from torch import Tensor
from torch.utils.data import DataLoader

from multiattn.errors import InputError

from .sampler import Batches


class Batch(Protocol):
    """What every task's batch tells."""

    @property
    def indices(self) -> Tensor:
        """Place of each item in the split's records."""

    @property
    def unreadable(self) -> tuple[tuple[str, str], ...]:
        """File and reason of each one that could not be read while this batch was made."""


class UnreadableFiles:
    """Names each file that cannot be read once, counts them, and stops past a share of the split."""

    def __init__(self, split: str, size: int, *, max_share: float, kind: str) -> None:
        """Count for one split.

        Args:
            split: What to call it.
            size: How many files of it this process may meet.
            max_share: Of them, that may be unreadable.
            kind: What they are: "pictures".
        """
        self.split, self.size, self.max_share, self.kind = split, size, max_share, kind
        self.files: set[str] = set()

    def note(self, batch: Batch, *, wanted: int = 0) -> None:
        """Take up what a batch reports.

        Args:
            batch: With the items that could be read.
            wanted: How many it must have.

        Raises:
            InputError: More than the share of the split cannot be read, or the batch lacks items.
        """
        for file, reason in batch.unreadable:
            if file in self.files:
                continue
            self.files.add(file)
            # in every process: the others have not met this one
            found = f"{len(self.files)} of {self.size} {self.kind} in {self.split}"
            warnings.warn(f"Skipped, {found}: {reason}", stacklevel=2)
            if len(self.files) > self.max_share * self.size:
                raise InputError(
                    f"{found} cannot be read, more than the share of "
                    f"{self.max_share:g} that `max_bad_share` allows; the last one is {file}. Repair or remove them, "
                    "or raise `max_bad_share`."
                )
        if len(batch.indices) < wanted:
            file, reason = batch.unreadable[-1]
            raise InputError(
                f"Too many {self.kind} in a row cannot be read in {self.split}, the last one is {file}: {reason} "
                "Repair or remove them."
            )


def ignore_interrupt(worker: int) -> None:
    """Leave Ctrl-C to the main process, which finishes its batch first and then ends the workers."""
    del worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class _Cursor:
    """The batches still to come: the part of the loader that Lightning and the workers' loader look at."""

    def __init__(self, batches: Batches) -> None:
        self.batches = batches
        self.epoch = 0
        self.start = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return self.batches.batches(self.epoch, start=self.start)


class TrainingLoader:
    """Batches of a training split, with Lightning's protocol for a loader that resumes (`state_dict`)."""

    def __init__(self, dataset: Any, batches: Batches, unreadable: UnreadableFiles, **options: Any) -> None:
        """Wrap a `DataLoader`.

        Args:
            dataset: Items by the keys of `batches`.
            batches: Which items make up which batch.
            unreadable: Told of each batch.
            options: Of `DataLoader`.
        """
        self.sampler = _Cursor(batches)  # the name under which Lightning looks for `set_epoch`
        self._unreadable = unreadable
        self._loader = DataLoader(dataset, batch_sampler=self.sampler, worker_init_fn=ignore_interrupt, **options)
        self._done = (0, 0)  # epoch, and batches of it that were handed out
        self._resume = (0, 0)

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[Batch]:
        # A generator, so that nothing runs before the first batch is asked for: Lightning makes the iterator before
        # it says which epoch it is.
        epoch = self.sampler.epoch
        start = self.sampler.start = self._resume[1] if self._resume[0] == epoch else 0
        for number, batch in enumerate(self._loader, start=start):
            self._unreadable.note(batch, wanted=self.sampler.batches.wanted(epoch, number))
            self._done = (epoch, number + 1)
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Where the training is: the epoch and how many of its batches were handed out."""
        return {"epoch": self._done[0], "batch": self._done[1]}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from there, as soon as that epoch is asked for."""
        self._resume = (state["epoch"], state["batch"])
        self._done = self._resume


class EvaluationLoader:
    """Batches of an evaluation split."""

    def __init__(self, loader: DataLoader[Any], unreadable: UnreadableFiles) -> None:
        self._loader, self._unreadable = loader, unreadable

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Batch]:
        for batch in self._loader:
            self._unreadable.note(batch)
            yield batch
