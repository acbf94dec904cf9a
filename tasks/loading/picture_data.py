"""Splits of pictures as the data modules of several tasks have them: opened and varied, or as an encoder's features."""

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from multiattn.checks import require
from multiattn.errors import InputError
from multiattn.inputs import ImagePreprocessing

from .datamodule import BaseData
from .feature_store import FeatureStore
from .picture_features import EvaluationFeatures, PictureEncoding, TrainingFeatures
from .pictures import EvaluationPictures, Sample, TrainingPictures
from .readable import Records
from .transforms import Augmentation, training_transform


class ImageTextData(BaseData):
    """Pictures of which more is known than a label; of the task this asks for `preprocessing` and `model.encoder`."""

    def __init__(
        self,
        root: str | Sequence[str],
        *,
        batch_size: int,
        eval_batch_size: int | None,
        augmentation: Augmentation | None,
        features: str | None,
        views: int,
        num_workers: int,
        cache_side: int | None,
        max_bad_share: float,
        predict_split: str,
        default_augmentation: Augmentation,
    ) -> None:
        """Name the data; what the options mean stands in the data modules themselves."""
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
        require(views in (1, 2), "views", must="1 or 2", value=views, error=InputError)
        if features is None:
            require(views == 1, "views", must="1 where there is no `features`", value=views, error=InputError)
        for name, value in {"augmentation": augmentation, "cache_side": cache_side}.items():
            if features is not None and value is not None:
                raise InputError(f"`{name}` must not come with `features`: the pictures are not opened in training.")
        self.augmentation = augmentation or default_augmentation
        self.features = None if features is None else Path(features)
        self.views = views
        self.cache_side = cache_side
        self._stores: dict[str, FeatureStore] = {}

    @abstractmethod
    def records(self, split: str) -> Records:
        """A split, not opened yet."""

    def training_pictures(self) -> Dataset[Sample]:
        """Those of the training split, varied, or their features; by the sampler's keys."""
        records = self.records("train")
        if self.features is not None:
            return TrainingFeatures(records, self._store("train"), seed=self.seed)
        assert isinstance(self.preprocessing, ImagePreprocessing)
        transform = training_transform(self.augmentation, self.preprocessing)
        return TrainingPictures(records, transform, seed=self.seed, cache_side=self.cache_side)

    def evaluation_pictures(self, split: str) -> Dataset[Sample]:
        """Those of a split as inference sees them, or their features; by their places."""
        records = self.records(split)
        if self.features is not None:
            return EvaluationFeatures(records, self._store(split))
        assert isinstance(self.preprocessing, ImagePreprocessing)
        return EvaluationPictures(records, self.preprocessing)

    def shape(self) -> tuple[int, ...]:
        """Of one picture, or of one picture's features, whose stores must have been made."""
        if self._stores:
            encoding = next(iter(self._stores.values())).encoding
            assert encoding.rows is not None
            return (encoding.rows, encoding.width)
        assert isinstance(self.preprocessing, ImagePreprocessing)
        return (3, *self.preprocessing.size)

    @property
    def _task(self) -> Any:
        assert self.trainer is not None
        return self.trainer.lightning_module

    def _store(self, split: str) -> FeatureStore:
        """The features of a split.

        Every process asks for what is missing: one computes it, and the others wait for its lock, which, unlike a
        barrier, has no time limit.
        """
        assert self.features is not None and isinstance(self.preprocessing, ImagePreprocessing)
        if split not in self._stores:
            encoder = self._task.model.encoder
            views = self.views if split == "train" else 1
            encoding = PictureEncoding(self.records(split), self.preprocessing, encoder, views=views)
            store = FeatureStore(self.features, split, encoder=encoder, encoding=encoding)
            store.prepare(encoder, batch_size=self.eval_batch_size, num_workers=self.num_workers)
            self._stores[split] = store
        return self._stores[split]
