"""Pictures as features of a frozen vision transformer, from a `FeatureStore`: plain and mirrored.

m picture tokens, D width.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from multiattn.errors import InputError
from multiattn.inputs import ImagePreprocessing
from multiattn.models.vit import ViT

from ..seeding import seed_for
from .feature_store import FeatureStore, Found
from .pictures import EvaluationPictures, Sample, first_readable
from .readable import Files, Records

VIEWS = ("plain", "mirrored")

_VIEW = 2  # sets the draw of the view apart from the other draws of the same place


class PictureEncoding:
    """How pictures become features."""

    kind = "pictures"

    def __init__(self, records: Records, preprocessing: ImagePreprocessing, encoder: ViT, *, views: int) -> None:
        """Describe them.

        Args:
            records: The pictures.
            preprocessing: The way from a picture to its input.
            encoder: Says how many tokens of which width there will be.
            views: 1 for the pictures as they are, 2 for mirrored ones, too.
        """
        self.records, self.preprocessing = records, preprocessing
        self.views = VIEWS[:views]
        height, width = encoder.grid(preprocessing.size)
        self.rows = encoder.num_prefix_tokens + height * width
        self.width = encoder.config.dim

    def depends_on(self, architecture: dict[str, Any]) -> list[Any]:
        """The architecture and the preprocessing."""
        return [architecture, self.preprocessing.to_dict()]

    def items(self, view: str) -> EvaluationPictures:
        """The pictures, without what is known of them, which worker processes need not have."""
        files = Files(tuple((path, None) for path, _ in self.records.items))
        return EvaluationPictures(files, self.preprocessing, mirrored=view == "mirrored")

    def encode(self, encoder: nn.Module, items: Sequence[Sample]) -> list[Found]:
        """All of them at once."""
        assert isinstance(encoder, ViT)
        images = torch.stack([item.image for item in items if item.image is not None])
        return [Found(features, 0) for features in encoder.features(images.to(next(encoder.parameters())))]


class TrainingFeatures(Dataset[Sample]):
    """Features for training; which view of a picture is a pure function of the seed, the epoch and its index."""

    def __init__(self, records: Records, store: FeatureStore, *, seed: int) -> None:
        self.records, self.store, self.seed = records, store, seed

    def __len__(self) -> int:
        return len(self.records.items)

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        """The features of picture `index` in epoch `epoch`, or of its replacement (`first_readable`)."""
        epoch, wanted = key

        def read(index: int) -> Tensor:
            views = self.store.views
            return self.store.read(index, views[seed_for(self.seed, epoch, index, _VIEW) % len(views)])

        return first_readable(self.records, read, seed=self.seed, epoch=epoch, wanted=wanted)


class EvaluationFeatures(Dataset[Sample]):
    """Features of the pictures as inference sees them."""

    def __init__(self, records: Records, store: FeatureStore) -> None:
        self.records, self.store = records, store

    def __len__(self) -> int:
        return len(self.records.items)

    def __getitem__(self, index: int) -> Sample:
        """The features at a place; without any where the picture could not be read."""
        path, texts = self.records.items[index]
        try:
            return Sample(self.store.read(index, VIEWS[0]), texts, index, ())
        except InputError as error:
            return Sample(None, texts, index, ((str(path), str(error)),))
