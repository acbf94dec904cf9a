"""The match pipeline: pictures and texts in, how well they fit each other out; and labels of one's own for pictures.

The way of a text: the tokenizer -> the text tower, once for all pictures. The way of a picture: `read_image` ->
`ImagePreprocessing` -> the picture tower -> its similarity to each text -> a softmax over the texts, or a sigmoid.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import overload

import torch
from jaxtyping import Float
from torch import Tensor

from ..checks import require
from ..errors import InputError
from ..inputs import ImageSource
from ..inputs.files import MAX_PIXELS
from ..models import SCORE_KINDS, ScoreKind, TwoTowers, scores_of
from ..models.text_classifier import with_texts
from .base import stacked
from .classify import ClassifyPipeline
from .explained_match import MatchExplainer
from .image_results import ClassifyResult
from .map_request import MapRequest
from .match_base import ComparesTexts
from .match_results import MatchResult, TextMatch
from .match_texts import TEMPLATE, Texts, checked_texts, prompts
from .pictures import PictureSource, Prepared, one_or_all, stream_pictures
from .questions import quoted
from .results import Failure


class MatchPipeline(ComparesTexts[TwoTowers]):
    """Says how well texts fit images. It has no state besides the model: safe to call from several threads.

    Args:
        bundle: The model with its preprocessing and tokenizer; the model is moved to `device`.
        device: As for `multiattn.load`.
        precision: As for `multiattn.load`. In another than fp32 the bundle's model itself is changed.

    Raises:
        ModelError: The model is for another task, no image has the channels that it reads, or there is no such device.
    """

    kind = TwoTowers

    @property
    def towers(self) -> TwoTowers:
        """The model."""
        return self._model

    @property
    def score_kind(self) -> ScoreKind:
        """What the scores of its results are."""
        return SCORE_KINDS[self._model.config.scores]

    @overload
    def __call__(  # type: ignore[overload-overlap]  # a str is a sequence of str too, but is one path here
        self,
        inputs: ImageSource,
        texts: Sequence[str],
        *,
        maps: str | Sequence[str] | None = ...,
        check: bool = ...,
        target: str | None = ...,
        map_labels: int = ...,
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
        maps: str | Sequence[str] | None = ...,
        check: bool = ...,
        target: str | None = ...,
        map_labels: int = ...,
        batch_size: int = ...,
        strict: bool = ...,
        max_pixels: int = ...,
    ) -> list[MatchResult | Failure]: ...

    def __call__(
        self,
        inputs: ImageSource | Sequence[ImageSource],
        texts: Sequence[str],
        *,
        maps: str | Sequence[str] | None = None,
        check: bool = False,
        target: str | None = None,
        map_labels: int = 0,
        batch_size: int = 8,
        strict: bool = False,
        max_pixels: int = MAX_PIXELS,
    ) -> MatchResult | list[MatchResult | Failure]:
        """Compare one image, or each of a list, with texts.

        Args:
            inputs: An image, or a list or tuple of images, of any sizes.
            texts: The texts; of one that is longer than the model's text tower, the beginning.
            maps: Names of map methods, e.g. "relevance" or ["relevance", "attention"], or "all": of the text that fits
                best, where the picture and which words made it fit.
            check: Whether to judge each map, by 24 forward passes more, 12 without patches and 12 without words:
                `result.verdicts`. Without `maps`, the map by the default method is judged.
            target: The text that maps explain; the best of each image where None. Without `maps`, the map by the
                default method.
            map_labels: For how many of the best texts pages have a map, chosen by a click.
            batch_size: Number of images to compute at once.
            strict: Whether to refuse damaged images; else what can be read is used, and the result is marked `damaged`.
            max_pixels: The most pixels of an image that is decoded whole, 9 bytes of memory each; see `read_image`.

        Returns:
            One result for one image; for a list, a list of results in its order, with a `Failure` for each input that
            cannot be used.

        Raises:
            InputError: The one image or the texts cannot be used, `target` is none of them, or a check has a single
                text, and a model whose probabilities are shares.
            ModelError: An unknown map method, or a `batch_size` below 1.
        """
        stream = partial(
            self.stream,
            texts=texts,
            maps=maps,
            check=check,
            target=target,
            map_labels=map_labels,
            batch_size=batch_size,
            strict=strict,
            max_pixels=max_pixels,
        )
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

        `inputs` may be endless: it is read no further ahead than two batches. Arguments as for the call; `texts` may
        be what `encode_texts` returned.
        """
        require(batch_size >= 1, "batch_size", must="at least 1", value=batch_size)
        encoded = texts if isinstance(texts, Texts) else self.encode_texts(checked_texts(texts, "texts"))
        request = self._request(encoded, maps, check, target, map_labels)
        explainer = MatchExplainer(self.towers, ZeroShotClassifier(self, encoded.texts, encoded, 1), encoded, request)
        compute = partial(self._results, texts=encoded, explainer=explainer)
        return stream_pictures(
            inputs, self.bundle.pictures, compute, batch_size=batch_size, strict=strict, max_pixels=max_pixels
        )

    def classify(
        self,
        inputs: ImageSource | Sequence[ImageSource],
        labels: Sequence[str],
        *,
        template: str | Sequence[str] = TEMPLATE,
        maps: str | Sequence[str] | None = None,
        check: bool = False,
        top_k: int = 5,
        batch_size: int = 8,
        strict: bool = False,
        max_pixels: int = MAX_PIXELS,
    ) -> ClassifyResult | list[ClassifyResult | Failure]:
        """Classify one image, or each of a list, by labels of the caller's own.

        `zero_shot` returns the classifier, for further images and further options.

        Args:
            inputs: As for the call.
            labels: The labels, as they stand in the template: "a cat".
            template: The text around a label, with {} in its place; of several, the embeddings are averaged.
            maps: As for a classifier.
            check: As for a classifier.
            top_k: Number of labels for each image; at most as many as there are.
            batch_size: As for the call.
            strict: As for the call.
            max_pixels: As for the call.

        Returns:
            As a classifier does.
        """
        classifier = self.zero_shot(labels, template=template)
        stream = partial(
            classifier.stream,
            maps=maps,
            check=check,
            top_k=top_k,
            batch_size=batch_size,
            strict=strict,
            max_pixels=max_pixels,
        )
        return one_or_all(inputs, stream)

    def zero_shot(self, labels: Sequence[str], *, template: str | Sequence[str] = TEMPLATE) -> "ZeroShotClassifier":
        """Return a classifier with labels of the caller's own, which are encoded here, once.

        Args:
            labels: The labels, as they stand in the template: "a cat".
            template: The text around a label, with {} in its place; of several, the embeddings are averaged.

        Raises:
            InputError: There are no labels, one is blank or there twice, or a template has not one {}; or there is one
                label, and a model whose probabilities are shares, of which it would have all.

        Source: Radford et al. 2021, section 3.1.4, the ensemble of prompts.
        """
        templates = [template] if isinstance(template, str) else list(template)
        names = checked_texts(labels, "labels")
        if len(names) == 1 and self.score_kind == "probability":
            raise InputError(
                "`labels` must be at least two for a model whose probabilities are shares of all labels, but are "
                f"{quoted(names[0])} alone instead: add what it might be otherwise"
            )
        texts = self.encode_texts(prompts(names, templates))
        return ZeroShotClassifier(self, tuple(names), texts, len(templates))

    def compared(self, batch: list[Prepared], texts: Texts) -> Float[Tensor, "b r"]:
        """Return the logits of prepared pictures with texts."""
        return self.logits(batch, texts.embeddings)

    def logits(self, batch: list[Prepared], texts: Float[Tensor, "r E"]) -> Float[Tensor, "b r"]:
        """Return the logits of prepared pictures with the embeddings of texts, float32."""
        with torch.inference_mode():
            pictures = self._model.encode_pictures(stacked(batch, self.device)).float()
            return self._model.logits(pictures, texts).float()

    def scores(self, logits: Float[Tensor, "b r"]) -> Float[Tensor, "b r"]:
        """Return probabilities: a softmax over the texts, or a sigmoid of each."""
        return scores_of(logits, self._model.config.scores)

    def _request(
        self, texts: Texts, maps: str | Sequence[str] | None, check: bool, target: str | None, map_labels: int
    ) -> MapRequest:
        first = self.bundle.first_map_method
        request = MapRequest.of("match", maps, check=check, first=first, wanted=target is not None)
        require(map_labels >= 0, "map_labels", must="at least 0", value=map_labels)
        if target is not None and target not in texts.texts:
            raise InputError(f"`target` must be one of the texts, but is {quoted(target)} instead: add it to them")
        if request.check and len(texts.texts) == 1 and self.score_kind == "probability":
            raise InputError(
                "`check` needs two texts or more for a model whose probabilities are shares of all texts, but there is "
                "one, whose probability cannot fall: add what the picture might be otherwise"
            )
        index = None if target is None else texts.texts.index(target)
        return replace(request, target=index, labels=map_labels)

    def _results(self, batch: list[Prepared], *, texts: Texts, explainer: MatchExplainer) -> list[MatchResult]:
        with torch.no_grad():
            pictures = self._model.encode_pictures(stacked(batch, self.device)).float()  # (b, E)
            logits = self._model.logits(pictures, texts.embeddings).float()  # (b, r)
            scores = self.scores(logits).tolist()
            similarities = self._model.similarities(logits).tolist()
        shown = explainer(batch, pictures, logits)
        return [
            MatchResult(
                file=item.file,
                matches=tuple(map(TextMatch, texts.texts, scores[i], similarities[i])),
                score_kind=self.score_kind,
                words=explainer.words(shown[i]),
                maps=shown[i],
                damaged=item.damaged,
                remark=item.remark,
                verdicts=tuple(one.checked for one in shown[i] if one.checked is not None),
            )
            for i, item in enumerate(batch)
        ]


class ZeroShotClassifier(ClassifyPipeline):
    """Classifies images by labels of the caller's own, as a `ClassifyPipeline`; made by `MatchPipeline.zero_shot`.

    Args:
        match: The pipeline with the model, whose weights are shared.
        labels: The labels.
        texts: Their prompts, encoded, those of one label together.
        num_templates: The number of prompts of a label.
    """

    def __init__(self, match: MatchPipeline, labels: tuple[str, ...], texts: Texts, num_templates: int) -> None:
        self.texts = texts
        bundle = replace(
            match.bundle,
            task="classify",
            model=with_texts(match.towers, texts.embeddings, num_templates),
            labels=labels,
            score_function=match.towers.config.scores,
            tokenizer=None,
            maps={},
        )
        super().__init__(bundle, device=match.device)
