"""The base of both match pipelines: pictures and texts as embeddings, which are compared without maps."""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..checks import require
from ..inputs.files import MAX_PIXELS
from ..models import BlipMatcher, TwoTowers, ViT
from ..weights import ModelBundle
from .base import Pipeline, check_channels, tokenizer_of
from .embed_text import TextInput
from .embedding import Embedding, EmbedsPictures, TokenChoice, check_tokens
from .match_results import Similarities
from .match_texts import Texts, checked_texts, encode_texts, text_embeddings
from .pictures import PictureSource, Prepared, stream_pictures
from .precision import Precision
from .results import Failure

_Matcher = TypeVar("_Matcher", bound=TwoTowers | BlipMatcher)


class ComparesTexts(EmbedsPictures, Pipeline[_Matcher]):
    """Embeds images and texts, and compares each image with many texts. Arguments and errors as for the pipelines."""

    kind: type[_Matcher]
    """The class of the model."""

    def __init__(
        self, bundle: ModelBundle, *, device: str | torch.device = "auto", precision: Precision | None = None
    ) -> None:
        model = bundle.require(self.kind)
        self._tokenizer = tokenizer_of(bundle)
        check_channels(model.config.vision, bundle.pictures, source=bundle.source)
        super().__init__(bundle, model, device=device, precision=precision)

    @property
    def vision(self) -> ViT:
        """The vision transformer of pictures."""
        return self._model.vision

    def pooled(self, images: Float[Tensor, "b c H W"]) -> Float[Tensor, "b E"]:
        """Return the embeddings of pictures, of length 1, which those of texts are compared with."""
        return self._model.encode_pictures(images)

    def stream_text_embeddings(
        self,
        texts: Iterable[str | TextInput],
        *,
        tokens: TokenChoice = "pooled",
        normalize: bool = False,
        batch_size: int = 32,
    ) -> Iterator[Embedding | Failure]:
        """Yield the embedding of each text, of length 1 in any case, each batch as soon as it is done.

        Args:
            texts: The texts, possibly endlessly many; of one that is longer than the model reads, the beginning.
            tokens: "pooled", for a text has one embedding.
            normalize: Embeddings have a length of 1 in any case.
            batch_size: Texts that are encoded at once.

        Raises:
            ModelError: `tokens` is another, or `batch_size` is below 1.
        """
        check_tokens(tokens, ("pooled",))
        require(batch_size >= 1, "batch_size", must="at least 1", value=batch_size)
        return text_embeddings(texts, self.encode_texts, batch_size=batch_size)

    def encode_texts(self, texts: Sequence[str]) -> Texts:
        """Encode texts by themselves, to compare pictures with them later; each is cut to what the model reads."""
        return encode_texts(self._model, self._tokenizer, texts, device=self.device)

    def embed_texts(self, texts: Sequence[str]) -> Float[np.ndarray, "r E"]:
        """Return the embeddings of texts, of length 1, float32.

        Raises:
            InputError: There are no texts, or one is blank.
        """
        return self.encode_texts(checked_texts(texts, "texts")).embeddings.cpu().numpy()

    def similarities(
        self,
        inputs: Iterable[PictureSource],
        *,
        texts: Texts,
        batch_size: int = 8,
        strict: bool = False,
        max_pixels: int = MAX_PIXELS,
    ) -> Iterator[Similarities | Failure]:
        """Yield how well each image fits each of many texts, as arrays; arguments as for `stream`."""

        def compute(batch: list[Prepared]) -> list[Similarities]:
            values = self.compared(batch, texts).cpu().numpy()
            return [Similarities(item.file, 0, row) for item, row in zip(batch, values, strict=True)]

        found = stream_pictures(
            inputs, self.bundle.pictures, compute, batch_size=batch_size, strict=strict, max_pixels=max_pixels
        )
        for index, one in enumerate(found):
            yield one if isinstance(one, Failure) else replace(one, index=index)

    @abstractmethod
    def compared(self, batch: list[Prepared], texts: Texts) -> Float[Tensor, "b r"]:
        """Return how well prepared pictures fit texts: what `similarities` gives."""
