"""Pictures as features of a frozen vision transformer, from a `FeatureStore`: plain and mirrored.

m picture tokens, D width.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float16
from torch import Tensor, nn

from multiattn.inputs import ImagePreprocessing
from multiattn.models.vit import ViT

from .feature_store import Encoded, FeatureStore
from .pictures import EvaluationPictures, Sample
from .readable import Files, Items, Records

VIEWS = ("plain", "mirrored")


class PictureEncoding:
    """How pictures become features."""

    kind = "pictures"

    def __init__(self, records: Records, preprocessing: ImagePreprocessing, encoder: ViT, *, views: int) -> None:
        """Describe the features.

        Args:
            records: The pictures.
            preprocessing: The way from a picture to the encoder's input.
            encoder: Decides about the number of tokens and their width.
            views: 1 for the pictures as they are, 2 for mirrored ones, too.
        """
        self.records, self.preprocessing = records, preprocessing
        self.views = VIEWS[:views]
        height, width = encoder.grid(preprocessing.size)
        self.rows: int | None = encoder.num_prefix_tokens + height * width
        self.width = encoder.config.dim

    def depends_on(self, architecture: dict[str, Any]) -> list[Any]:
        """The architecture and the preprocessing."""
        return [architecture, self.preprocessing.to_dict()]

    def items(self, view: str) -> EvaluationPictures:
        """The pictures, without their labels, which worker processes do not need."""
        files = Files(tuple((path, None) for path, _ in self.records.items))
        return EvaluationPictures(files, self.preprocessing, mirrored=view == "mirrored")

    def encode(self, encoder: nn.Module, items: Sequence[Sample]) -> list[Encoded]:
        """Encode all pictures at once."""
        assert isinstance(encoder, ViT)
        images = torch.stack([item.content for item in items if item.content is not None])
        return [Encoded(features, 0) for features in encoder.features(images.to(next(encoder.parameters())))]


class PictureFeatures(Items[Tensor]):
    """Features of the pictures as inference sees them; in training, of a view that each epoch draws."""

    def __init__(self, records: Records, store: FeatureStore, *, seed: int | None = None) -> None:
        super().__init__(records, seed=seed)
        self.store = store

    def read(self, index: int, draw: tuple[int, ...]) -> Float16[Tensor, "m D"]:
        """The features of the picture at an index."""
        return self.store.read(index, self.store.drawn_view(*draw) if draw else VIEWS[0])
