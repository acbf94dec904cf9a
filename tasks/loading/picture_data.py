"""The data of tasks about images: opened and augmented, or as the stored features of a frozen encoder."""

from collections.abc import Sequence
from typing import Generic, Literal, TypeVar

from torch.utils.data import Dataset

from multiattn.checks import require, require_each
from multiattn.errors import InputError

from ..contracts import ImageTextNeeds
from .datamodule import BatchOptions
from .feature_store import Encoding
from .picture_features import PictureEncoding, PictureFeatures
from .pictures import EvaluationPictures, Sample, TrainingPictures
from .text_data import TextData
from .transforms import Augmentation, training_transform

ImageNeedsT = TypeVar("ImageNeedsT", bound=ImageTextNeeds)


class ImageTextData(TextData[ImageNeedsT], Generic[ImageNeedsT]):
    """Images with texts."""

    def __init__(
        self,
        root: str | Sequence[str],
        *,
        needs: ImageNeedsT,
        batches: BatchOptions | None,
        predict_split: str,
        vocabulary: Literal["bpe", "characters"],
        vocab_size: int,
        features: str | None,
        views: int,
        augmentation: Augmentation | None,
        default_augmentation: Augmentation,
        cache_side: int | None,
    ) -> None:
        """Name the data; the data modules themselves document the options."""
        super().__init__(
            root,
            needs=needs,
            batches=batches,
            predict_split=predict_split,
            vocabulary=vocabulary,
            vocab_size=vocab_size,
            features=features,
            only_of_files={"augmentation": augmentation, "cache_side": cache_side},
        )
        require_each({"cache_side": cache_side}, least=1, error=InputError)
        require(views in (1, 2), "views", must="1 or 2", value=views, error=InputError)
        good = views == 1 or features is not None
        require(good, "views", must="1 where there is no `features`", value=views, error=InputError)
        self.augmentation = augmentation or default_augmentation
        self.views = views
        self.cache_side = cache_side

    def picture_items(self, split: str, *, seed: int | None) -> Dataset[Sample]:
        """The images of a split, or their features: with a seed augmented, by the sampler's keys; else by index."""
        records = self.records(split)
        if self.features is not None:
            return PictureFeatures(records, self.store(split), seed=seed)
        if seed is None:
            return EvaluationPictures(records, self.needs.preprocessing)
        transform = training_transform(self.augmentation, self.needs.preprocessing)
        return TrainingPictures(records, transform, seed=seed, cache_side=self.cache_side)

    def shape(self) -> tuple[int, ...]:
        """The shape of one image, or of one image's features."""
        if not self._stores:
            return (self.needs.preprocessing.channels, *self.needs.preprocessing.size)
        encoding = next(iter(self._stores.values())).encoding
        assert encoding.rows is not None
        return (encoding.rows, encoding.width)

    def encoding(self, split: str) -> Encoding:
        """See `TextData`."""
        encoder, views = self.needs.encoder, self.views if split == "train" else 1
        assert encoder is not None
        return PictureEncoding(self.records(split), self.needs.preprocessing, encoder, views=views)
