"""The base of the data modules: splits of files as batches, for one process or many, with or without a trainer.

It has the splits, their order and the worker processes; `text_data` adds a vocabulary.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Generic, TypeVar

import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader, Dataset, Subset

from multiattn.checks import require, require_each
from multiattn.data.shards import find_index, in_shards, shard_sizes
from multiattn.errors import InputError

from ..hparams import record_arguments
from ..identity import fingerprint
from ..survey.texts import Texts
from .loader import EvaluationLoader, TrainingLoader, UnreadableFiles, ignore_signals
from .readable import Records
from .sampler import Batches, EpochBatches, ShardBatches, share_of

NeedsT = TypeVar("NeedsT")
FactsT = TypeVar("FactsT")
RecordsT = TypeVar("RecordsT", bound=Records)


@dataclass(frozen=True)
class BatchOptions:
    """How items become batches. Every value can be set in the YAML under `data.init_args.batches`."""

    size: int | None = None
    """Items per training batch, in each process; by default 64 images or 16 recordings."""

    eval_size: int | None = None
    """Items per batch elsewhere; as `size` where not given."""

    num_workers: int = 2
    """Processes that prepare items, for each training process."""

    max_bad_share: float = 0.01
    """A file that cannot be used is named, skipped and counted; past this share of the split the run stops. It counts
    from the second file on: a single one does not end the run, however small the split is, unless the share is 0. Each
    process counts what it has met itself, in evaluation of its own part of the split."""

    shuffle_buffer: int = 10_000
    """Of items in shards: how many are shuffled with each other. The shards come in a drawn order; within it, each item
    is moved by less than so many places."""

    def __post_init__(self) -> None:
        """Raise InputError where a value is out of range."""
        sizes = {"batches.size": self.size, "batches.eval_size": self.eval_size}
        sizes |= {"batches.shuffle_buffer": self.shuffle_buffer}
        require_each(sizes, least=1, error=InputError)
        require_each({"batches.num_workers": self.num_workers}, error=InputError)
        share = self.max_bad_share
        require(0 <= share <= 1, "batches.max_bad_share", must="from 0 to 1", value=share, error=InputError)


class BaseData(pl.LightningDataModule, ABC, Generic[NeedsT, FactsT]):
    """Splits of files as batches. A subclass says what is known of a file, and what a batch is made of."""

    kind = "pictures"
    """What the files are, for messages."""

    default_batch_size = 64

    def __init__(
        self, root: str | Sequence[str], *, needs: NeedsT, batches: BatchOptions | None, predict_split: str
    ) -> None:
        """Name the data; nothing is read yet.

        Args:
            root: The folder that holds the splits, or several.
            needs: What batches depend on, of a common model; a task replaces it by its own.
            batches: How items become batches.
            predict_split: The split that `predict` goes through.
        """
        super().__init__()
        record_arguments(self, logged=False)  # some have the names of a task's, and Lightning allows no second value
        self.names = (root,) if isinstance(root, str) else tuple(root)
        """The folders, as they were given."""
        indices = [find_index(str(name)) for name in self.names]
        self.indices = tuple(index for index in indices if index is not None)
        """Those of the folders that are shards: of all of them, or of none."""
        if 0 < len(self.indices) < len(indices):
            raise InputError(f"`root` must name folders of files, or of shards, but {self._named} are both instead.")
        self.roots = tuple(
            Path(name) if index is None else index.root for name, index in zip(self.names, indices, strict=True)
        )
        """The folders that hold the splits; the splits of several are joined."""
        self.needs = needs
        self.batches = batches or BatchOptions()
        self.batch_size = self.batches.size or self.default_batch_size
        self.eval_batch_size = self.batches.eval_size or self.batch_size
        self.predict_split = predict_split
        self._splits: tuple[str, ...] = ()  # those that a state knows
        self._fingerprint = cache(lambda split: fingerprint(self.files(split).items, self.roots))
        self.seed = 0  # of the order and the augmentation; the command line sets it to `seed_everything`

    @property
    def root(self) -> Path:
        """The folder that holds the splits, where there is one."""
        (root,) = self.roots
        return root

    def card(self) -> dict[str, Any]:
        """What the card of a model that is trained on this says about the data."""
        return {"data": self._named}

    @abstractmethod
    def facts(self) -> FactsT:
        """What a model for this data is built from."""

    @abstractmethod
    def records(self, split: str) -> Records:
        """The files of a split, not opened yet, with what is known of each."""

    @abstractmethod
    def training_items(self) -> Dataset[Any]:
        """The training split's items, by the sampler's keys."""

    @abstractmethod
    def evaluation_items(self, split: str) -> Dataset[Any]:
        """A split's items, by their indices."""

    @abstractmethod
    def collate(self) -> Callable[[list[Any]], Any]:
        """The function that makes a batch of items."""

    def files(self, split: str) -> Records:
        """The files of a split as they are listed, whatever items are made of them."""
        return self.records(split)

    def folders(self, split: str) -> Sequence[Path]:
        """The folders that have the files of a split and no others, as far as they are known."""
        return () if self.indices else [root / split for root in self.roots]

    def texts(self, split: str) -> Sequence[Texts]:
        """The texts of a split by their kinds, for a report about the data; by default none."""
        return ()

    def fingerprints(self) -> dict[str, Any]:
        """The number of files of each split that is in use, and a digest of their names and labels."""
        return {split: self._fingerprint(split) for split in self._splits}

    def size(self, split: str) -> int:
        """The number of items in a split."""
        return len(self.records(split).items)

    def setup(self, stage: str) -> None:
        """Read the splits now, so that an error in them shows before any work is done."""
        self._splits = ("train", "validation") if stage == "fit" else ("validation",) if stage == "validate" else ()
        for split in self._splits if stage == "fit" else ():
            self.records(split)

    def train_dataloader(self) -> TrainingLoader:
        """Batches in the order that the seed and the epoch give."""
        unreadable = self._unreadable("train", self.size("train"))
        fixed = bool(getattr(self.trainer, "overfit_batches", 0))
        return TrainingLoader(self.training_items(), self._batches(), unreadable, fixed=fixed, **self._options())

    def batches_per_epoch(self) -> int:
        """Training batches per epoch, in each process."""
        return len(self._batches())

    def val_dataloader(self) -> EvaluationLoader:
        """The validation split, in order."""
        return self._evaluation("validation")

    def test_dataloader(self) -> EvaluationLoader:
        """The test split, in order."""
        return self._evaluation("test")

    def predict_dataloader(self) -> EvaluationLoader:
        """The split that `predict` goes through, in order."""
        return self._evaluation(self.predict_split)

    @property
    def rank(self) -> int:
        """The number of this process."""
        return 0 if self.trainer is None else self.trainer.global_rank

    @property
    def world(self) -> int:
        """The number of processes."""
        return 1 if self.trainer is None else self.trainer.world_size

    def _batches(self) -> Batches:
        """The indices of each training batch."""
        size, world = self.size("train"), self.world
        if size < self.batch_size * world:
            raise InputError(
                f"{self._named}: a training batch has {self.batch_size} x {world} {self.kind}, but the training split "
                f"only {size}. Lower `batches.size`."
            )
        how: dict[str, Any] = {"batch_size": self.batch_size, "seed": self.seed, "rank": self.rank, "world": world}
        shards = self._shards("train")
        if shards is not None:
            return ShardBatches(shards, buffer=self.batches.shuffle_buffer, **how)
        return EpochBatches(size, **how)

    def _shards(self, split: str) -> tuple[int, ...] | None:
        """The number of items in each shard of a split; None where its items are not those of shards."""
        return shard_sizes(getattr(self.records(split).items, "files", None))

    def _evaluation(self, split: str) -> EvaluationLoader:
        size, world = self.size(split), self.world
        if size < world:
            raise InputError(
                f"{self._named}: {split} must have at least as many {self.kind} as there are processes ({world}), but "
                f"has {size} instead. Add some, or lower `trainer.devices`."
            )
        items = self.evaluation_items(split)
        mine = share_of(size, rank=self.rank, world=world, in_a_row=self._shards(split) is not None)
        loader: DataLoader[Any] = DataLoader(
            Subset(items, mine),
            batch_size=self.eval_batch_size,
            worker_init_fn=ignore_signals,
            **self._options(),
        )
        part = split if world == 1 else f"the part of {split} that falls to process {self.rank}"
        return EvaluationLoader(loader, self._unreadable(part, len(mine)))

    def opened(self, records: RecordsT) -> RecordsT:
        """Records as they were read; the files of those that are in shards are opened there."""
        if not self.indices:
            return records
        found: RecordsT = in_shards(records, self.indices, reach=self.batches.shuffle_buffer)
        return found

    @property
    def _named(self) -> str:
        return ", ".join(map(str, self.names))

    def _options(self) -> dict[str, Any]:
        return {
            "num_workers": self.batches.num_workers,
            "collate_fn": self.collate(),
            "pin_memory": torch.cuda.is_available(),
            "persistent_workers": self.batches.num_workers > 0,
        }

    def _unreadable(self, split: str, size: int) -> UnreadableFiles:
        return UnreadableFiles(split, size, max_share=self.batches.max_bad_share, kind=self.kind)


def data_of(trainer: pl.Trainer) -> BaseData[Any, Any]:
    """The data module of a trainer, which Lightning sets without declaring it."""
    data = getattr(trainer, "datamodule", None)
    assert isinstance(data, BaseData)
    return data
