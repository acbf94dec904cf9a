"""The classification pipeline: pictures in, labels with their scores and attention maps out.

The way of one picture: `load_image` -> `ImagePreprocessing` -> the model -> softmax -> the best labels, and, where maps
are asked for, `explain` for the label that came out.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import cast, overload

import torch

from ..errors import ModelError
from ..inputs import ImageSource
from ..maps import METHODS, AttentionMap, attention_stack, explain
from ..models import ViT
from ..weights import ModelBundle
from .base import Prepared, check_at_least_one, check_color, chosen_methods, stream_pictures, the_only
from .device import find_device
from .results import ClassifyResult, Failure, PictureMap, Prediction


class ClassifyPipeline:
    """Classifies pictures and shows where the model looked. Holds no state besides the model: safe in several threads.

    Args:
        bundle: The model with its preprocessing and labels; the model is moved to `device`.
        device: As for `multiattn.load`.

    Raises:
        ModelError: The model is of another task, has no labels or reads no color pictures, or the device is not there.
    """

    def __init__(self, bundle: ModelBundle, *, device: str | torch.device = "auto") -> None:
        model = bundle.require(ViT)
        if not bundle.labels or model.head is None:
            raise ModelError(
                f"{bundle.source} must have labels, but is a model without a head instead: fine-tune it first, with "
                "`multiattn fit --config configs/classify/finetune.yaml`."
            )
        check_color(model.config, source=bundle.source)
        self.device = find_device(device)
        self.bundle = bundle
        self._model = model.to(self.device).eval()

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the classes the model can tell apart, in the order of its outputs."""
        return self.bundle.labels

    @overload
    def __call__(  # type: ignore[overload-overlap]  # a str is a sequence of str too, but is one path here
        self, inputs: ImageSource, *, maps: str | Sequence[str] | None = ..., top_k: int = ..., batch_size: int = ...
    ) -> ClassifyResult: ...

    @overload
    def __call__(
        self,
        inputs: Sequence[ImageSource],
        *,
        maps: str | Sequence[str] | None = ...,
        top_k: int = ...,
        batch_size: int = ...,
    ) -> list[ClassifyResult | Failure]: ...

    def __call__(
        self,
        inputs: ImageSource | Sequence[ImageSource],
        *,
        maps: str | Sequence[str] | None = None,
        top_k: int = 5,
        batch_size: int = 8,
    ) -> ClassifyResult | list[ClassifyResult | Failure]:
        """Classifies one picture, or each of a list.

        Args:
            inputs: A picture, or a list or tuple of them, of any sizes.
            maps: Names of map methods, e.g. "rollout" or ["attention", "relevance"], or "all".
            top_k: How many labels to give; a model that knows fewer gives all it knows.
            batch_size: Pictures to compute at once.

        Returns:
            One result for one picture; for a list, a list of results in its order, where an input that could not be
            used is a `Failure` (its `error` says why) and does not keep the others from being done.

        Raises:
            InputError: The one picture cannot be used.
            ModelError: An unknown map method, or a `top_k` or `batch_size` below 1.
        """
        if isinstance(inputs, list | tuple):
            return list(self.stream(inputs, maps=maps, top_k=top_k, batch_size=batch_size))
        one = cast(ImageSource, inputs)  # any other sequence is one input, which `load_image` refuses by its type
        return the_only(self.stream([one], maps=maps, top_k=top_k, batch_size=batch_size))

    def stream(
        self,
        inputs: Iterable[ImageSource],
        *,
        maps: str | Sequence[str] | None = None,
        top_k: int = 5,
        batch_size: int = 8,
    ) -> Iterator[ClassifyResult | Failure]:
        """As calling the pipeline with a list, but lazy: gives the results in order, each batch as soon as it is done.

        Reads `inputs` no further ahead than two batches, so that it may be endless. Arguments as for the call.
        """
        methods = chosen_methods(maps, METHODS)
        check_at_least_one("top_k", top_k)
        check_at_least_one("batch_size", batch_size)
        compute = partial(self._results, methods=methods, top_k=top_k)
        return stream_pictures(inputs, self.bundle.pictures, compute, batch_size=batch_size)

    def _results(self, batch: list[Prepared], *, methods: tuple[str, ...], top_k: int) -> list[ClassifyResult]:
        images = torch.stack([item.pixels for item in batch]).to(self.device)  # (b, 3, h, w)
        with torch.inference_mode():
            scores = self._model(images).float().softmax(dim=-1)  # (b, classes)
            best, classes = scores.topk(min(top_k, scores.shape[-1]))  # (b, k)
        rows = zip(best.tolist(), classes.tolist(), strict=True)
        predictions = [
            tuple(Prediction(self.labels[index], score) for score, index in zip(*row, strict=True)) for row in rows
        ]
        found: list[list[AttentionMap]] = []
        stacks: list[AttentionMap] = []
        if methods:
            targets = [int(index) for index in classes[:, 0]]
            geometries = [item.geometry for item in batch]
            for method in methods:
                found.append(
                    explain(
                        self._model, images, method=method, target=targets, geometries=geometries, labels=self.labels
                    )
                )
            stacks = attention_stack(self._model, images, geometries)
        return [
            ClassifyResult(
                file=item.file,
                predictions=predictions[i],
                maps=tuple(
                    PictureMap(of_method[i], item.picture, item.title, predictions[i], stacks[i]) for of_method in found
                ),
            )
            for i, item in enumerate(batch)
        ]
