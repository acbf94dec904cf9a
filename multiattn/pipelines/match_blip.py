"""The match pipeline of BLIP, which reads each text once more for each picture, while it attends to it.

The way of a text: the tokenizer -> the text encoder, by itself, once for all pictures: its embedding. The way of a
picture: `read_image` -> `ImagePreprocessing` -> the vision transformer -> its similarity to each embedding; and the
text encoder once more for each text, whose score it is that both belong together.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import NoReturn, overload

import torch
from jaxtyping import Float
from torch import Tensor

from ..checks import require
from ..errors import ModelError
from ..inputs import ImageSource
from ..inputs.files import MAX_PIXELS
from ..models import BlipMatcher, ScoreKind
from .base import stacked
from .match_base import ComparesTexts
from .match_results import MatchResult, TextMatch
from .match_texts import Texts, checked_texts
from .pictures import PictureSource, Prepared, one_or_all, stream_pictures
from .results import Failure

_PAIRS = 64
"""Pairs of a picture and a text that are read at once: bounds the memory for any number of texts."""


class BlipMatchPipeline(ComparesTexts[BlipMatcher]):
    """Says how well texts fit images, by BLIP. It has no state besides the model: safe to call from several threads.

    Args:
        bundle: The model with its preprocessing and tokenizer; the model is moved to `device`.
        device: As for `multiattn.load`.
        precision: As for `multiattn.load`. In another than fp32 the bundle's model itself is changed.

    Raises:
        ModelError: The model is another, no image has the channels that it reads, or there is no such device.
    """

    kind = BlipMatcher

    score_kind: ScoreKind = "independent probability"
    """What the scores of its results are."""

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

    def compared(self, batch: list[Prepared], texts: Texts) -> Float[Tensor, "b r"]:
        """Return the cosines of prepared pictures with texts."""
        with torch.inference_mode():
            pictures = self._model.encode_pictures(stacked(batch, self.device)).float()
            return pictures @ texts.embeddings.T

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
