"""The classification pipeline: images in, labels with their scores and attention maps out.

The way of one image: `read_image` -> `ImagePreprocessing` -> the model -> softmax, or what the model states instead ->
the best labels; and with maps `explain`, for the best label or the one that is asked for.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import zip_longest
from typing import overload

import torch
from torch import Tensor

from ..blocks import applied
from ..checks import require
from ..errors import ModelError
from ..inputs import ImageSource
from ..inputs.files import MAX_PIXELS
from ..maps import BY_CLASS, AttentionMap, Checked, attention_stack, explain, patch_sinks, sink_tap
from ..models import ViT, scores_of
from ..models.domain import distances_of
from ..score_kinds import SCORE_KINDS, ScoreKind
from ..weights import ModelBundle
from .base import Pipeline, check_channels, stacked
from .embedding import EmbedsPictures
from .image_results import ClassifyResult, PictureMap, Prediction
from .map_request import MapRequest
from .out_of_domain import far_pictures
from .pictures import PictureSource, Prepared, one_or_all, stream_pictures
from .precision import Precision
from .results import Failure
from .targets import Label, check_by_class, contrast
from .verdicts import check_score_function, of_label


class ClassifyPipeline(EmbedsPictures, Pipeline[ViT]):
    """Classifies images and shows where the model looked. It has no state besides the model: safe in several threads.

    A model without a head embeds only.

    Args:
        bundle: The model with its preprocessing and labels; the model is moved to `device`.
        device: As for `multiattn.load`.
        precision: As for `multiattn.load`. In another than fp32 the bundle's model itself is changed.

    Raises:
        ModelError: The model is for another task, or no image has the channels that it reads; or the device does not
            exist.
    """

    def __init__(
        self, bundle: ModelBundle, *, device: str | torch.device = "auto", precision: Precision | None = None
    ) -> None:
        model = bundle.require(ViT)
        check_channels(model.config, bundle.pictures, source=bundle.source)
        super().__init__(bundle, model, device=device, precision=precision)

    @property
    def vision(self) -> ViT:
        """The vision transformer."""
        return self._model

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the model's outputs."""
        return self.bundle.labels

    @property
    def score_kind(self) -> ScoreKind:
        """What the scores of its results are."""
        return SCORE_KINDS[self.bundle.score_function]

    @overload
    def __call__(  # type: ignore[overload-overlap]  # a str is a sequence of str too, but is one path here
        self,
        inputs: ImageSource,
        *,
        maps: str | Sequence[str] | None = ...,
        check: bool = ...,
        target: Label | None = ...,
        versus: Label | None = ...,
        map_labels: int = ...,
        top_k: int = ...,
        batch_size: int = ...,
        strict: bool = ...,
        max_pixels: int = ...,
    ) -> ClassifyResult: ...

    @overload
    def __call__(
        self,
        inputs: Sequence[ImageSource],
        *,
        maps: str | Sequence[str] | None = ...,
        check: bool = ...,
        target: Label | None = ...,
        versus: Label | None = ...,
        map_labels: int = ...,
        top_k: int = ...,
        batch_size: int = ...,
        strict: bool = ...,
        max_pixels: int = ...,
    ) -> list[ClassifyResult | Failure]: ...

    def __call__(
        self,
        inputs: ImageSource | Sequence[ImageSource],
        *,
        maps: str | Sequence[str] | None = None,
        check: bool = False,
        target: Label | None = None,
        versus: Label | None = None,
        map_labels: int = 0,
        top_k: int = 5,
        batch_size: int = 8,
        strict: bool = False,
        max_pixels: int = MAX_PIXELS,
    ) -> ClassifyResult | list[ClassifyResult | Failure]:
        """Classify one image, or each of a list.

        Args:
            inputs: An image, or a list or tuple of images, of any sizes.
            maps: Names of map methods, e.g. "relevance" or ["relevance", "attention"], or "all".
            check: Whether to judge each map, by 12 forward passes more: `result.verdicts`. Without `maps`, the map by
                the default method is judged.
            target: The label that maps explain, by its name or its number; the best of each image where None. Without
                `maps`, the map by the default method.
            versus: Another label: maps explain why `target` and not this one, the difference of the two scores. Without
                `target`: why the best other label.
            map_labels: For how many of the best labels pages have a map, chosen by a click. Each costs as much as the
                maps of the first, for the methods whose map depends on the label.
            top_k: Number of labels for each image; at most as many as the model has.
            batch_size: Number of images to compute at once.
            strict: Whether to refuse damaged images; else what can be read is used, and the result is marked `damaged`.
            max_pixels: The most pixels of an image that is decoded whole, 9 bytes of memory each; see `read_image`.

        Returns:
            One result for one image; for a list, a list of results in its order, with a `Failure` for each input that
            cannot be used.

        Raises:
            InputError: The one image cannot be used.
            ModelError: An unknown map method or label, a `top_k` or `batch_size` below 1, a check of a regression's
                maps, or a label for methods whose map is the same for every label.
        """
        return one_or_all(
            inputs,
            partial(
                self.stream,
                maps=maps,
                check=check,
                target=target,
                versus=versus,
                map_labels=map_labels,
                top_k=top_k,
                batch_size=batch_size,
                strict=strict,
                max_pixels=max_pixels,
            ),
        )

    def stream(
        self,
        inputs: Iterable[PictureSource],
        *,
        maps: str | Sequence[str] | None = None,
        check: bool = False,
        target: Label | None = None,
        versus: Label | None = None,
        map_labels: int = 0,
        top_k: int = 5,
        batch_size: int = 8,
        strict: bool = False,
        max_pixels: int = MAX_PIXELS,
    ) -> Iterator[ClassifyResult | Failure]:
        """Yield the results that a call with a list returns, each batch as soon as it is done.

        `inputs` may be endless: it is read no further ahead than two batches. Arguments as for the call.
        """
        self.check_head()
        request = self._request(maps, check, target, versus, map_labels)
        if request.check:
            check_score_function(self.bundle.score_function, source=self.bundle.source)
        require(top_k >= 1, "top_k", must="at least 1", value=top_k)
        require(batch_size >= 1, "batch_size", must="at least 1", value=batch_size)
        compute = partial(self.explained, request=request, top_k=top_k)
        return stream_pictures(
            inputs, self.bundle.pictures, compute, batch_size=batch_size, strict=strict, max_pixels=max_pixels
        )

    def check_head(self) -> None:
        """Check that the model can classify.

        Raises:
            ModelError: It has no head.
        """
        if not self.labels or self._model.head is None:
            raise ModelError(
                f"{self.bundle.source} must have labels to classify, but is a model without a head instead: `multiattn "
                "embed` gives its features; `multiattn fit --config configs/classify/finetune.yaml` trains a head"
            )

    def _request(
        self,
        maps: str | Sequence[str] | None,
        check: bool,
        target: Label | None,
        versus: Label | None,
        map_labels: int,
    ) -> MapRequest:
        index, other = contrast(target, versus, self.labels, source=self.bundle.source or "the model")
        wanted = index is not None or other is not None
        request = MapRequest.of("classify", maps, check=check, first=self.bundle.first_map_method, wanted=wanted)
        if wanted:
            check_by_class(request.methods, name="versus" if index is None else "target")
        require(map_labels >= 0, "map_labels", must="at least 0", value=map_labels)
        return replace(request, target=index, versus=other, labels=map_labels)

    def explained(self, batch: list[Prepared], *, request: MapRequest, top_k: int) -> list[ClassifyResult]:
        """Return the results for prepared images."""
        images = stacked(batch, self.device)
        with torch.inference_mode():
            size = (images.shape[-2], images.shape[-1])
            tap = sink_tap(self._model, size, of="forward") if request.methods else None
            pooled = self._model.pooled(images, tap=tap)  # (b, D)
            scores = scores_of(applied(self._model.head, pooled), self.bundle.score_function)  # (b, classes)
            marks = far_pictures(distances_of(self._domain, pooled[:, None]))
            best, classes = scores.topk(min(top_k, scores.shape[-1]))  # (b, k)
        rows = zip(best.tolist(), classes.tolist(), strict=True)
        predictions = [
            tuple(Prediction(self.labels[index], score) for score, index in zip(*row, strict=True)) for row in rows
        ]
        targets = [request.target if request.target is not None else first for first in _best(scores, request.versus)]
        versus = None if request.versus is None else [request.versus] * len(batch)
        geometries = [item.geometry for item in batch]
        maps_of = partial(explain, self._model, images, geometries=geometries, labels=self.labels)
        by_method = [maps_of(method=method, target=targets, versus=versus) for method in request.methods]
        ranks = classes[:, : request.labels].T.tolist()
        of_labels = [
            [
                maps if versus is None and of_rank == targets else maps_of(method=method, target=of_rank)
                for of_rank in (ranks if method in BY_CLASS else ())
            ]
            for method, maps in zip(request.methods, by_method, strict=True)
        ]
        stacks = attention_stack(self._model, images, geometries) if request.methods else []
        verdicts = [
            self._checked(images[i], [maps[i] for maps in by_method], targets[i], request) for i in range(len(batch))
        ]
        sinks = patch_sinks(tap, self._model.grid(size), len(batch))
        return [
            ClassifyResult(
                file=item.file,
                predictions=predictions[i],
                maps=tuple(
                    PictureMap(
                        maps[i],
                        item.picture,
                        item.title,
                        stacks[i],
                        predictions[i],
                        self.score_kind,
                        checked=checked,
                        sinks=sinks[i],
                        by_label=tuple(of_rank[i] for of_rank in each),
                    )
                    for maps, each, checked in zip_longest(by_method, of_labels, verdicts[i])
                ),
                damaged=item.damaged,
                remark=item.remark,
                score_kind=self.score_kind,
                out_of_domain=marks[i],
                verdicts=tuple(verdicts[i]),
            )
            for i, item in enumerate(batch)
        ]

    def _checked(self, image: Tensor, maps: list[AttentionMap], target: int, request: MapRequest) -> list[Checked]:
        if not request.check:
            return []
        function = self.bundle.score_function
        return of_label(self._model, image, maps, target=target, versus=request.versus, score_function=function)


def _best(scores: Tensor, versus: int | None) -> list[int]:
    """Return the best label of each picture; with `versus`, the best of the others."""
    if versus is not None:
        scores = scores.index_fill(1, torch.tensor([versus], device=scores.device), -torch.inf)
    return [int(index) for index in scores.argmax(dim=1)]
