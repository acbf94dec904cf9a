"""Loaders that report unreadable files, and that resume in the middle of an epoch."""

import warnings
from collections.abc import Iterator
from typing import Any, Protocol

from torch import Tensor
from torch.utils.data import DataLoader

from multiattn.errors import InputError

from ..stopping import leave_signals_to_parent
from .sampler import Batches, Key


class Batch(Protocol):
    """What the batches of all tasks have in common."""

    @property
    def indices(self) -> Tensor:
        """The index of each item in the split's records."""

    @property
    def unreadable(self) -> tuple[tuple[str, str], ...]:
        """File and reason of each item that could not be read while this batch was made."""


FEWEST_BAD = 2
"""Bad items from which `max_bad_share` counts: a single one does not end the run, however few items there are."""


def too_many(bad: int, size: int, *, max_share: float) -> bool:
    """Whether more of the items of a split are bad than a share allows; with a share of 0, a single one is."""
    return bad > max_share * size and (bad >= FEWEST_BAD or max_share == 0)


class UnreadableFiles:
    """Warns about each unreadable file once, counts them, and raises past a share of the split."""

    def __init__(self, split: str, size: int, *, max_share: float, kind: str) -> None:
        """Count for one split.

        Args:
            split: Its name, for messages.
            size: The number of its files that this process reads.
            max_share: The largest share of them that may be unreadable.
            kind: What they are, for messages: "pictures".
        """
        self.split, self.size, self.max_share, self.kind = split, size, max_share, kind
        self.files: set[str] = set()
        self.reasons: set[str] = set()

    def note(self, batch: Batch, *, wanted: int = 0) -> None:
        """Count the unreadable files of a batch.

        Args:
            batch: A batch of the split.
            wanted: The number of items that it must have.

        Raises:
            InputError: More than the share of the split cannot be read, or the batch lacks items.
        """
        for file, reason in batch.unreadable:
            if file in self.files:
                continue
            self.files.add(file)
            # in every process: each reads files of its own
            found = f"{len(self.files)} of {self.size} {self.kind} in {self.split}"
            if reason not in self.reasons:  # a damaged shard has one for all its files
                self.reasons.add(reason)
                warnings.warn(f"Skipped, {found}: {reason}", stacklevel=2)
            if too_many(len(self.files), self.size, max_share=self.max_share):
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

    def require_some(self, read: int) -> None:
        """Check that some files of the split could be read, where all of them were to be.

        Raises:
            InputError: None could: every figure about the split would be the mean of nothing.
        """
        if not read and len(self.files) >= self.size:
            raise InputError(
                f"None of the {self.size} {self.kind} in {self.split} can be read, so that nothing can be said about "
                "them. Repair them, or choose another split."
            )


def ignore_signals(worker: int) -> None:
    """Leave it to the main process to end a worker: it finishes its batch first."""
    leave_signals_to_parent()


class _Cursor:
    """The remaining batches of an epoch, as a sampler for Lightning and for torch's loader."""

    def __init__(self, batches: Batches, *, fixed: bool = False) -> None:
        self.batches, self.fixed = batches, fixed
        self.epoch = 0
        self.start = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch; Lightning calls this before each one."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[Key]]:
        found = self.batches.batches(self.order, start=self.start)
        return ([key._replace(epoch=self.epoch) for key in batch] for batch in found)

    @property
    def order(self) -> int:
        """The epoch whose order this one has: its own, or the first one's where the batches are fixed."""
        return 0 if self.fixed else self.epoch

    def wanted(self, number: int) -> int:
        """The number of items that batch `number` of the epoch must have."""
        return self.batches.wanted(self.order, number)


class TrainingLoader:
    """Batches of a training split, with Lightning's protocol for a loader that resumes (`state_dict`)."""

    def __init__(
        self, dataset: Any, batches: Batches, unreadable: UnreadableFiles, *, fixed: bool = False, **options: Any
    ) -> None:
        """Wrap a `DataLoader`.

        Args:
            dataset: Items by the keys of `batches`.
            batches: The keys of each batch.
            unreadable: Counts the unreadable files.
            fixed: Whether each epoch has the batches of the first, as `Trainer(overfit_batches=...)` promises;
                augmentation still varies.
            options: Of `DataLoader`.
        """
        self.sampler = _Cursor(batches, fixed=fixed)  # the name under which Lightning looks for `set_epoch`
        self._unreadable = unreadable
        self._loader = DataLoader(dataset, batch_sampler=self.sampler, worker_init_fn=ignore_signals, **options)
        self._done = (0, 0)  # epoch, and batches of it that were yielded
        self._resume = (0, 0)

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[Batch]:
        # As a generator, this runs when the first batch is requested: Lightning makes the iterator before it sets the
        # epoch.
        epoch = self.sampler.epoch
        start = self.sampler.start = self._resume[1] if self._resume[0] == epoch else 0
        for number, batch in enumerate(self._loader, start=start):
            self._unreadable.note(batch, wanted=self.sampler.wanted(number))
            self._done = (epoch, number + 1)
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """The position in the training: the epoch, the number of its batches that were yielded, and what they are."""
        return {"epoch": self._done[0], "batch": self._done[1], "plan": self.sampler.batches.plan()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a position, as soon as its epoch is set.

        Raises:
            InputError: It is within an epoch, and the batches are not those that this epoch began with.
        """
        before, now = state.get("plan"), self.sampler.batches.plan()
        if before is not None and before != now and state["batch"] not in (0, before["batches"]):
            names = [name for name in now if now[name] != before.get(name)]
            told = "; ".join(f"{name} was {before.get(name)} and is {now[name]}" for name in names)
            raise InputError(
                f"the state must be resumed with the batches of its epoch, {state['batch']} of which are learnt, but "
                f"they are others: {told}. Keep `batches.size` times the number of processes as it was, or take a "
                "state from the end of an epoch."
            )
        self._resume = (state["epoch"], state["batch"])
        self._done = self._resume


class EvaluationLoader:
    """Batches of an evaluation split, in order."""

    def __init__(self, loader: DataLoader[Any], unreadable: UnreadableFiles) -> None:
        self._loader, self._unreadable = loader, unreadable

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Batch]:
        read = 0
        for batch in self._loader:
            self._unreadable.note(batch)
            read += len(batch.indices)
            yield batch
        self._unreadable.require_some(read)
