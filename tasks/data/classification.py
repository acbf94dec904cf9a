"""The data module of the classification task: a folder of labelled pictures to batches."""

from functools import cached_property
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader, Subset

from multiattn.errors import InputError
from multiattn.inputs import ImagePreprocessing

from ..checks import require
from .folder import ClassificationRecords, read_folder
from .loader import EvaluationLoader, TrainingLoader, UnreadablePictures, ignore_interrupt
from .pictures import Collate, EvaluationPictures, TrainingPictures
from .sampler import EpochBatches, share_of
from .transforms import Augmentation, training_transform


class ClassificationData(pl.LightningDataModule):
    """Labelled pictures from `root/train`, `root/validation` and, where it is there, `root/test`.

    Each split holds a folder for each class, or a `metadata.jsonl` or `metadata.csv` with `file_name` and `label`.
    The labels come from the training split. The size and the normalisation of the pictures are the model's.
    """

    def __init__(
        self,
        root: str,
        *,
        batch_size: int = 64,
        eval_batch_size: int | None = None,
        augmentation: Augmentation | None = None,
        num_workers: int = 2,
        cache_side: int | None = None,
        max_bad_share: float = 0.01,
        predict_split: str = "test",
    ) -> None:
        """Name the data; nothing is read yet.

        Args:
            root: The folder with the splits in it.
            batch_size: Pictures a training batch, in each process.
            eval_batch_size: Pictures a batch elsewhere; the same where it is not given.
            augmentation: How training pictures are varied.
            num_workers: Processes that prepare pictures, beside each training process.
            cache_side: Keep the decoded training pictures in memory, shrunk to this shorter side in pixels.
            max_bad_share: A picture that cannot be read is named, skipped and counted; past this share of the split the
                run stops. Each process counts what it has met itself, in evaluation of its own part of the split.
            predict_split: The split that `predict` goes through.
        """
        super().__init__()
        sizes = {"batch_size": batch_size, "eval_batch_size": eval_batch_size, "cache_side": cache_side}
        for name, value in sizes.items():
            require(value is None or value >= 1, name, must="at least 1", value=value, error=InputError)
        require(num_workers >= 0, "num_workers", must="at least 0", value=num_workers, error=InputError)
        require(0 <= max_bad_share <= 1, "max_bad_share", must="from 0 to 1", value=max_bad_share, error=InputError)
        self.root = Path(root)
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size or batch_size
        self.augmentation = augmentation or Augmentation()
        self.num_workers = num_workers
        self.cache_side = cache_side
        self.max_bad_share = max_bad_share
        self.predict_split = predict_split
        self.seed = 0  # of the order and the augmentation; the command line sets it to `seed_everything`

    @cached_property
    def training_records(self) -> ClassificationRecords:
        """The training split, not opened yet."""
        return read_folder(self.root, "train")

    @property
    def class_names(self) -> tuple[str, ...]:
        """The labels of the training split."""
        return self.training_records.class_names

    def records(self, split: str) -> ClassificationRecords:
        """A split with the labels of the training split."""
        if split == "train":
            return self.training_records
        return read_folder(self.root, split, class_names=self.class_names)

    @property
    def preprocessing(self) -> ImagePreprocessing:
        """The way from picture to input, which belongs to the model."""
        assert self.trainer is not None
        return self.trainer.lightning_module.preprocessing  # type: ignore[no-any-return, union-attr]

    def setup(self, stage: str) -> None:
        """Read the splits now, so that what is wrong with them is said before any work is done."""
        if stage in ("fit", "validate"):
            self.records("train")
            self.records("validation")

    def train_dataloader(self) -> TrainingLoader:
        """Batches in the order that the seed and the epoch give."""
        assert self.trainer is not None
        records = self.records("train")
        transform = training_transform(self.augmentation, self.preprocessing)
        pictures = TrainingPictures(records, transform, seed=self.seed, cache_side=self.cache_side)
        return TrainingLoader(pictures, self._batches(), self._unreadable("train", len(pictures)), **self._options())

    def batches_per_epoch(self) -> int:
        """Training batches an epoch, in each process."""
        return len(self._batches())

    def _batches(self) -> EpochBatches:
        assert self.trainer is not None
        size, rank, world = len(self.records("train").items), self.trainer.global_rank, self.trainer.world_size
        if size < self.batch_size * world:
            raise InputError(
                f"{self.root}: a training batch has {self.batch_size} x {world} pictures, but the training split only "
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
        records = self.records(split)
        pictures = EvaluationPictures(records, self.preprocessing)
        mine = share_of(len(pictures), rank=self.trainer.global_rank, world=self.trainer.world_size)
        loader = DataLoader(
            Subset(pictures, mine),
            batch_size=self.eval_batch_size,
            worker_init_fn=ignore_interrupt,
            **self._options(),
        )
        world = self.trainer.world_size
        part = split if world == 1 else f"the part of {split} that falls to process {self.trainer.global_rank}"
        return EvaluationLoader(loader, self._unreadable(part, len(mine)))

    def _options(self) -> dict[str, Any]:
        return {
            "num_workers": self.num_workers,
            "collate_fn": Collate(self.preprocessing.size),
            "pin_memory": torch.cuda.is_available(),
            "persistent_workers": self.num_workers > 0,
        }

    def _unreadable(self, split: str, size: int) -> UnreadablePictures:
        return UnreadablePictures(split, size, max_share=self.max_bad_share)
