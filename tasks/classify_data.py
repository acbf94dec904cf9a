"""The data module of classification: a folder of labeled images to batches."""

from collections.abc import Callable, Sequence
from functools import cache, cached_property, partial

from multiattn.checks import require_each
from multiattn.data.image_folder import ClassificationRecords
from multiattn.data.multi_labels import has_several, read_labeled
from multiattn.errors import InputError, ModelError

from .contracts import ClassifyFacts, ClassifyNeeds
from .identity import other_labels
from .loading.datamodule import BaseData, BatchOptions
from .loading.pictures import EvaluationPictures, ImageBatch, Sample, TrainingPictures, collate_pictures
from .loading.sampler import BalancedBatches, Batches, ShardBatches
from .loading.transforms import Augmentation, training_transform


class ClassifyData(BaseData[ClassifyNeeds, ClassifyFacts]):
    """Labeled images from `root/train`, `root/validation` and, where it is there, `root/test`.

    Each split holds a folder for each class, or a `metadata.jsonl` or `metadata.csv` with `file_name` and `label`; with
    `labels`, a picture has several labels or none (in CSV with a semicolon between them).
    The labels come from the training split. The size and the normalization of the images are the model's.
    """

    def __init__(
        self,
        root: str,
        *,
        batches: BatchOptions | None = None,
        augmentation: Augmentation | None = None,
        cache_side: int | None = None,
        balanced: bool = False,
        predict_split: str = "test",
    ) -> None:
        """Name the data; nothing is read yet.

        Args:
            root: The folder with the splits in it.
            batches: How images become batches.
            augmentation: How training images are varied.
            cache_side: Keep the decoded training images in memory, shrunk to this shorter side in pixels.
            balanced: Draw each class equally often: an epoch has as many images as without, those of rare classes
                several times (augmented anew each time), and of frequent ones a part, another one in each epoch.
            predict_split: The split that `predict` goes through.
        """
        super().__init__(root, needs=ClassifyNeeds(), batches=batches, predict_split=predict_split)
        require_each({"cache_side": cache_side}, least=1, error=InputError)
        self.augmentation = augmentation or Augmentation()
        self.cache_side = cache_side
        self.balanced = balanced
        self._read = cache(lambda split, labels: self.opened(read_labeled(self.root, split, class_names=labels)))

    @cached_property
    def training_records(self) -> ClassificationRecords:
        """The training split, not opened yet."""
        return self.opened(read_labeled(self.root, "train"))

    def facts(self) -> ClassifyFacts:
        """The labels, and how many training images each has; 1 where a state is used without a training split.

        Raises:
            ModelError: The state that is used has other labels than the training split.
        """
        labels, counts, items = self.labels, (1,) * len(self.labels), 2
        if self.needs.labels is None or (self.root / "train").is_dir():
            if labels != self.training_records.class_names:
                raise ModelError(other_labels(labels, self.training_records.class_names))
            counts, items = self.training_records.counts(), len(self.training_records.items)
        return ClassifyFacts(labels, counts, self.batch_size, self.balanced, items if self.is_multi_label else None)

    @cached_property
    def is_multi_label(self) -> bool:
        """Whether a picture has several labels or none."""
        splits = ("train", "validation", self.predict_split)
        return has_several(next((self.root / one for one in splits if (self.root / one).is_dir()), self.root))

    @property
    def labels(self) -> tuple[str, ...]:
        """Those of the state that is used, or else of the training split, in their order."""
        return self.training_records.class_names if self.needs.labels is None else self.needs.labels

    def records(self, split: str) -> ClassificationRecords:
        """A split with these labels."""
        if split == "train":
            return self.training_records
        return self._read(split, self.labels)

    def training_items(self) -> TrainingPictures:
        """The training split, augmented."""
        transform = training_transform(self.augmentation, self.needs.preprocessing)
        return TrainingPictures(self.training_records, transform, seed=self.seed, cache_side=self.cache_side)

    def _batches(self) -> Batches:
        plain = super()._batches()
        if not self.balanced:
            return plain
        if self.is_multi_label:
            raise InputError("`balanced` must be false where a picture has several labels: use `class_weights`.")
        if isinstance(plain, ShardBatches):
            raise InputError(
                "`balanced` must be false for data in shards, which are read one after the other: use `class_weights`."
            )
        labels = [label for _, label in self.training_records.items]
        return BalancedBatches(labels, batch_size=self.batch_size, seed=self.seed, rank=self.rank, world=self.world)

    def evaluation_items(self, split: str) -> EvaluationPictures:
        """A split as in inference."""
        return EvaluationPictures(self.records(split), self.needs.preprocessing)

    def collate(self) -> Callable[[Sequence[Sample]], ImageBatch]:
        """Images with their labels."""
        needed = self.needs.preprocessing
        classes = len(self.labels) if self.is_multi_label else None
        return partial(collate_pictures, size=needed.size, channels=needed.channels, classes=classes)
