"""The data module of the classification task: a folder of labeled pictures to batches."""

from functools import cached_property

from multiattn.checks import require
from multiattn.data.image_folder import ClassificationRecords, read_folder
from multiattn.errors import InputError

from .loading.datamodule import BaseData
from .loading.pictures import Collate, EvaluationPictures, TrainingPictures
from .loading.transforms import Augmentation, training_transform


class ClassifyData(BaseData):
    """Labeled pictures from `root/train`, `root/validation` and, where it is there, `root/test`.

    Each split holds a folder for each class, or a `metadata.jsonl` or `metadata.csv` with `file_name` and `label`.
    The labels come from the training split. The size and the normalization of the pictures are the model's.
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
        super().__init__(
            root,
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            num_workers=num_workers,
            max_bad_share=max_bad_share,
            predict_split=predict_split,
        )
        require(
            cache_side is None or cache_side >= 1, "cache_side", must="at least 1", value=cache_side, error=InputError
        )
        self.augmentation = augmentation or Augmentation()
        self.cache_side = cache_side

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

    def training_items(self) -> TrainingPictures:
        """The training split, augmented."""
        transform = training_transform(self.augmentation, self.preprocessing)
        return TrainingPictures(self.records("train"), transform, seed=self.seed, cache_side=self.cache_side)

    def evaluation_items(self, split: str) -> EvaluationPictures:
        """A split as inference sees it."""
        return EvaluationPictures(self.records(split), self.preprocessing)

    def collate(self) -> Collate:
        """Pictures with their labels."""
        return Collate(self.preprocessing.size)
