"""The match pipeline of BLIP, which reads each text once more for each picture, while it attends to it.

The way of a text: the tokenizer -> the text encoder, by itself, once for all pictures: its embedding. The way of a
picture: `read_image` -> `ImagePreprocessing` -> the vision transformer -> its similarity to each embedding; and the
text encoder once more for each text, whose score it is that both belong together.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import NoReturn, overload

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..checks import require
from ..errors import ModelError
from ..inputs import ImageSource
from ..inputs.files import MAX_PIXELS
from ..models import BlipMatcher, ScoreKind, ViT
from ..weights import ModelBundle
from .base import (
    PictureSource,
    Pipeline,
    Prepared,
    check_channels,
    one_or_all,
    stacked,
    stream_pictures,
    tokenizer_of,
)
from .embed_text import TextInput
from .embedding import Embedding, EmbedsPictures, TokenChoice, check_tokens
from .match_results import MatchResult, Similarities, TextMatch
from .match_texts import Texts, checked_texts, encode_texts, text_embeddings
from .precision import Precision
from .results import Failure

_PAIRS = 64
"""Pairs of a picture and a text that are read at once: bounds the memory for any number of texts."""


class BlipMatchPipeline(EmbedsPictures, Pipeline[BlipMatcher]):
    """Says how well texts fit images, by BLIP. It has no state besides the model: safe to call from several threads.

    Args:
        bundle: The model with its preprocessing and tokenizer; the model is moved to `device`.
        device: As for `multiattn.load`.
        precision: As for `multiattn.load`. In another than fp32 the bundle's model itself is changed.

    Raises:
        ModelError: The model is another, no image has the channels that it reads, or there is no such device.
    """

    score_kind: ScoreKind = "independent probability"
    """What the scores of its results are."""

    def __init__(
        self, bundle: ModelBundle, *, device: str | torch.device = "auto", precision: Precision = "fp32"
    ) -> None:
        model = bundle.require(BlipMatcher)
        self._tokenizer = tokenizer_of(bundle)
        check_channels(model.config.vision, bundle.pictures, source=bundle.source)
        super().__init__(bundle, model, device=device, precision=precision)

    @property
    def vision(self) -> ViT:
        """The vision transformer."""
        return self._model.vision

    def pooled(self, images: Float[Tensor, "b c H W"]) -> Float[Tensor, "b E"]:
        """Return the embeddings of pictures, of length 1, which those of texts are compared with."""
        return self._model.encode_pictures(images)

    @overload
    def __call__(  # type: ignore[overload-overlap]  # a str is a sequence of str too, but is one path here
        self,
        inputs: ImageSource,
        texts: Sequence[str],
        *,
        batch_size: int = ...,
        strict: bool = ...,
        max_pixels: int = ...,
    ) -> MatchResult: ...

    @overload
    def __call__(
        self,
        inputs: Sequence[ImageSource],
        texts: Sequence[str],
        *,
        batch_size: int = ...,
        strict: bool = ...,
        max_pixels: int = ...,
    ) -> list[MatchResult | Failure]: ...

    def __call__(
        self,
        inputs: ImageSource | Sequence[ImageSource],
        texts: Sequence[str],
        *,
        batch_size: int = 8,
        strict: bool = False,
        max_pixels: int = MAX_PIXELS,
    ) -> MatchResult | list[MatchResult | Failure]:
        """Compare one image, or each of a list, with texts.

        Args:
            inputs: An image, or a list or tuple of images, of any sizes.
            texts: The texts; of one that is longer than the model reads, the beginning.
            batch_size: Number of images to compute at once.
            strict: Whether to refuse damaged images; else what can be read is used, and the result is marked `damaged`.
            max_pixels: The most pixels of an image that is decoded whole, 9 bytes of memory each; see `read_image`.

        Returns:
            One result for one image; for a list, a list of results in its order, with a `Failure` for each input that
            cannot be used. The score of a text is the probability that it and the image belong together.

        Raises:
            InputError: The one image or the texts cannot be used.
            ModelError: A `batch_size` below 1.
        """
        stream = partial(self.stream, texts=texts, batch_size=batch_size, strict=strict, max_pixels=max_pixels)
        return one_or_all(inputs, stream)

    def stream(
        self,
        inputs: Iterable[PictureSource],
        *,
        texts: Sequence[str] | Texts,
        maps: str | Sequence[str] | None = None,
        check: bool = False,
        target: str | None = None,
        map_labels: int = 0,
        batch_size: int = 8,
        strict: bool = False,
        max_pixels: int = MAX_PIXELS,
    ) -> Iterator[MatchResult | Failure]:
        """Yield the results that a call with a list returns, each batch as soon as it is done.

        Arguments as for the call; `texts` may be what `encode_texts` returned.

        Raises:
            ModelError: Maps are asked for, which this model does not have; or as the call.
        """
        if maps or check or target is not None:
            raise ModelError(
                f"`maps`, `check` and `target` must be left out for {self.bundle.source}, a BLIP for matching, which "
                "has no maps: give a CLIP or SigLIP"
            )
        require(batch_size >= 1, "batch_size", must="at least 1", value=batch_size)
        encoded = texts if isinstance(texts, Texts) else self.encode_texts(checked_texts(texts, "texts"))
        compute = partial(self._results, texts=encoded)
        return stream_pictures(
            inputs, self.bundle.pictures, compute, batch_size=batch_size, strict=strict, max_pixels=max_pixels
        )

    def zero_shot(self, labels: Sequence[str], **options: object) -> NoReturn:
        """Refuse to make a classifier of labels.

        Raises:
            ModelError: Always: the model has no embeddings of texts beside a picture.
        """
        raise ModelError(
            f"{self.bundle.source} must be a model of two towers (CLIP, SigLIP) to classify by labels of your own, but "
            "is a BLIP for matching instead: ask it with `multiattn match`"
        )

    def encode_texts(self, texts: Sequence[str]) -> Texts:
        """Encode texts by themselves, to compare pictures with them later; each is cut to what the model reads."""
        return encode_texts(self._model, self._tokenizer, texts, device=self.device)

    def embed_texts(self, texts: Sequence[str]) -> Float[np.ndarray, "r E"]:
        """Return the embeddings of texts, of length 1, float32.

        Raises:
            InputError: There are no texts, or one is blank.
        """
        return self.encode_texts(checked_texts(texts, "texts")).embeddings.cpu().numpy()

    def stream_text_embeddings(
        self,
        texts: Iterable[str | TextInput],
        *,
        tokens: TokenChoice = "pooled",
        normalize: bool = False,
        batch_size: int = 32,
    ) -> Iterator[Embedding | Failure]:
        """Yield the embedding of each text; arguments and errors as for `MatchPipeline.stream_text_embeddings`."""
        check_tokens(tokens, ("pooled",))
        require(batch_size >= 1, "batch_size", must="at least 1", value=batch_size)
        return text_embeddings(texts, self.encode_texts, batch_size=batch_size)

    def similarities(
        self,
        inputs: Iterable[PictureSource],
        *,
        texts: Texts,
        batch_size: int = 8,
        strict: bool = False,
        max_pixels: int = MAX_PIXELS,
    ) -> Iterator[Similarities | Failure]:
        """Yield the cosine of each image with each of many texts, as arrays; arguments as for `stream`."""

        def compute(batch: list[Prepared]) -> list[Similarities]:
            with torch.inference_mode():
                pictures = self._model.encode_pictures(stacked(batch, self.device)).float()
                values = (pictures @ texts.embeddings.T).cpu().numpy()
            return [Similarities(item.file, 0, row) for item, row in zip(batch, values, strict=True)]

        found = stream_pictures(
            inputs, self.bundle.pictures, compute, batch_size=batch_size, strict=strict, max_pixels=max_pixels
        )
        for index, one in enumerate(found):
            yield one if isinstance(one, Failure) else replace(one, index=index)

    @torch.inference_mode()
    def _results(self, batch: list[Prepared], *, texts: Texts) -> list[MatchResult]:
        features = self._model.vision.features(stacked(batch, self.device))  # (b, m, D)
        cosines = (self._model.embed_features(features).float() @ texts.embeddings.T).tolist()
        at_once = max(1, _PAIRS // len(batch))
        parts = []
        for start in range(0, len(texts.texts), at_once):
            tokens, mask = self._model.config.text.padded(texts.tokens[start : start + at_once])
            parts.append(self._model.match(features, tokens.to(self.device), mask.to(self.device)))
        scores = torch.cat(parts, dim=1).float().sigmoid().tolist()  # (b, r)
        return [
            MatchResult(
                file=item.file,
                matches=tuple(map(TextMatch, texts.texts, scores[i], cosines[i])),
                score_kind=self.score_kind,
                damaged=item.damaged,
                remark=item.remark,
            )
            for i, item in enumerate(batch)
        ]
