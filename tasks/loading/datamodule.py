"""What the data modules of all tasks share: splits, order, workers, and files that cannot be read."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader, Dataset, Subset

from multiattn.checks import require
from multiattn.data.metadata import some
from multiattn.errors import InputError
from multiattn.inputs import AudioPreprocessing, ImagePreprocessing

from .loader import EvaluationLoader, TrainingLoader, UnreadableFiles, ignore_interrupt
from .readable import Records
from .sampler import Batches, EpochBatches, share_of


class BaseData(pl.LightningDataModule, ABC):
    """Splits of files as batches; a task says what it knows of a file, and how it travels."""

    kind = "pictures"
    """What the files are."""

    def __init__(
        self,
        root: str | Sequence[str],
        *,
        batch_size: int,
        eval_batch_size: int | None,
        num_workers: int,
        max_bad_share: float,
        predict_split: str,
    ) -> None:
        """Name the data; nothing is read yet. What the options mean stands in the data modules themselves."""
        super().__init__()
        for name, value in {"batch_size": batch_size, "eval_batch_size": eval_batch_size}.items():
            require(value is None or value >= 1, name, must="at least 1", value=value, error=InputError)
        require(num_workers >= 0, "num_workers", must="at least 0", value=num_workers, error=InputError)
        require(0 <= max_bad_share <= 1, "max_bad_share", must="from 0 to 1", value=max_bad_share, error=InputError)
        self.roots = tuple(Path(folder) for folder in ((root,) if isinstance(root, str) else root))
        """The folders that hold the splits, which are joined where there are several."""
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size or batch_size
        self.num_workers = num_workers
        self.max_bad_share = max_bad_share
        self.predict_split = predict_split
        self.seed = 0  # of the order and the augmentation; the command line sets it to `seed_everything`

    @property
    def root(self) -> Path:
        """The folder that holds the splits, where it is one."""
        (root,) = self.roots
        return root

    def card(self) -> dict[str, Any]:
        """What a model that is trained on this says about it."""
        return {"data": ", ".join(map(str, self.roots))}

    @abstractmethod
    def records(self, split: str) -> Records:
        """A split, not opened yet."""

    @abstractmethod
    def training_items(self) -> Dataset[Any]:
        """The training split's items, by the sampler's keys."""

    @abstractmethod
    def evaluation_items(self, split: str) -> Dataset[Any]:
        """A split's items, by their places."""

    @abstractmethod
    def collate(self) -> Callable[[list[Any]], Any]:
        """What makes a batch of items."""

    @property
    def preprocessing(self) -> ImagePreprocessing | AudioPreprocessing:
        """The way from file to input, which belongs to the model."""
        assert self.trainer is not None
        return self.trainer.lightning_module.preprocessing  # type: ignore[no-any-return, union-attr]

    def setup(self, stage: str) -> None:
        """Read the splits now, so that what is wrong with them is said before any work is done."""
        if stage in ("fit", "validate"):
            self.records("train")
            self.records("validation")

    def train_dataloader(self) -> TrainingLoader:
        """Batches in the order that the seed and the epoch give."""
        size = len(self.records("train").items)
        return TrainingLoader(
            self.training_items(), self._batches(), self._unreadable("train", size), **self._options()
        )

    def batches_per_epoch(self) -> int:
        """Training batches an epoch, in each process."""
        return len(self._batches())

    def _batches(self) -> Batches:
        """Which items make up which training batch."""
        assert self.trainer is not None
        size, rank, world = len(self.records("train").items), self.trainer.global_rank, self.trainer.world_size
        if size < self.batch_size * world:
            found = some([str(root) for root in self.roots])
            raise InputError(
                f"{found}: a training batch has {self.batch_size} x {world} {self.kind}, but the training split only "
                f"{size}. Lower `batch_size`."
            )
        return EpochBatches(size, batch_size=self.batch_size, seed=self.seed, rank=rank, world=world)

    def val_dataloader(self) -> EvaluationLoader:
        """The validation split, in order."""
        return self._evaluation("validation")

    def test_dataloader(self) -> EvaluationLoader:
        """The test split, in order."""
        return self._evaluation("test")

    def predict_dataloader(self) -> EvaluationLoader:
        """The split that was asked for, in order."""
        return self._evaluation(self.predict_split)

    def _evaluation(self, split: str) -> EvaluationLoader:
        assert self.trainer is not None
        size, world = len(self.records(split).items), self.trainer.world_size
        if size < world:
            found = some([str(root) for root in self.roots])
            raise InputError(
                f"{found}: {split} must have at least as many {self.kind} as there are processes ({world}), but has "
                f"{size} instead. Add some, or lower `trainer.devices`."
            )
        items = self.evaluation_items(split)
        mine = share_of(size, rank=self.trainer.global_rank, world=world)
        loader: DataLoader[Any] = DataLoader(
            Subset(items, mine),
            batch_size=self.eval_batch_size,
            worker_init_fn=ignore_interrupt,
            **self._options(),
        )
        part = split if world == 1 else f"the part of {split} that falls to process {self.trainer.global_rank}"
        return EvaluationLoader(loader, self._unreadable(part, len(mine)))

    def _options(self) -> dict[str, Any]:
        return {
            "num_workers": self.num_workers,
            "collate_fn": self.collate(),
            "pin_memory": torch.cuda.is_available(),
            "persistent_workers": self.num_workers > 0,
        }

    def _unreadable(self, split: str, size: int) -> UnreadableFiles:
        return UnreadableFiles(split, size, max_share=self.max_bad_share, kind=self.kind)
