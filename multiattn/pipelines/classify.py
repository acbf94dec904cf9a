"""The classification pipeline: pictures in, labels with their scores and attention maps out.

The way of one picture: `load_image` -> `ImagePreprocessing` -> the model -> softmax -> the best labels, and, where maps
are asked for, `explain` for the label that came out.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple, cast, overload

import torch
from PIL import Image
from torch import Tensor

from ..errors import InputError, ModelError
from ..inputs import Geometry, ImageSource, load_image
from ..maps import METHODS, AttentionMap, attention_stack, explain
from ..models import ViT
from ..weights import ModelBundle
from .device import find_device
from .results import ClassifyResult, Failure, PictureMap, Prediction

_READERS = 4  # threads that decode and resize while the model computes: PIL gives the interpreter's lock back meanwhile


class Classifier:
    """Classifies pictures and shows where the model looked. Holds no state besides the model: safe in several threads.

    Args:
        bundle: The model with its preprocessing and labels; the model is moved to `device`.
        device: As for `multiattn.load`.

    Raises:
        ModelError: The model is of another task, has no labels or reads no colour pictures, or the device is not there.
    """

    def __init__(self, bundle: ModelBundle, *, device: str | torch.device = "auto") -> None:
        if bundle.task != "classify" or not isinstance(bundle.model, ViT):
            raise ModelError(f"{bundle.source}: the model's task must be 'classify', but is {bundle.task!r} instead.")
        if not bundle.labels or bundle.model.head is None:
            raise ModelError(
                f"{bundle.source} must have labels, but is a model without a head instead: fine-tune it first, with "
                "`multiattn fit --config configs/classify/finetune.yaml`."
            )
        channels = bundle.model.config.in_channels
        if channels != 3:
            raise ModelError(
                f"{bundle.source}: the model's `in_channels` must be 3 (red, green and blue), but is {channels} "
                "instead: use or fine-tune a model for colour pictures."
            )
        self.device = find_device(device)
        self.bundle = bundle
        self._model = bundle.model.to(self.device).eval()

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
        (result,) = self.stream([one], maps=maps, top_k=top_k, batch_size=batch_size)
        if isinstance(result, Failure):
            raise result.error
        return result

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
        methods = _chosen_methods(maps)
        for name, value in (("top_k", top_k), ("batch_size", batch_size)):
            if value < 1:
                raise ModelError(f"`{name}` must be at least 1, but is {value} instead.")
        return self._stream(inputs, methods, top_k, batch_size)

    def _stream(
        self, inputs: Iterable[ImageSource], methods: tuple[str, ...], top_k: int, batch_size: int
    ) -> Iterator[ClassifyResult | Failure]:
        # a generator of its own, so that `stream` raises wrong arguments at the call and not at the first result
        with ThreadPoolExecutor(_READERS, thread_name_prefix="multiattn-read") as pool:
            waiting: deque[Future[_Prepared | Failure]] = deque()
            source = iter(inputs)
            try:
                while True:
                    ahead = 2 * batch_size - len(waiting)
                    waiting.extend(pool.submit(self._prepare, picture) for picture in islice(source, ahead))
                    batch = [waiting.popleft().result() for _ in range(min(batch_size, len(waiting)))]
                    if not batch:
                        return
                    yield from self._classify(batch, methods, top_k)
            finally:
                for future in waiting:  # the caller stopped early
                    future.cancel()

    def _prepare(self, picture: ImageSource) -> "_Prepared | Failure":
        file = str(picture) if isinstance(picture, str | Path) else None
        try:
            upright = load_image(picture)
            pixels, geometry = self.bundle.preprocessing(upright)  # (3, h, w)
        except InputError as error:
            return Failure(file, error)
        return _Prepared(file, upright, pixels, geometry)

    def _classify(
        self, batch: "list[_Prepared | Failure]", methods: tuple[str, ...], top_k: int
    ) -> Iterator[ClassifyResult | Failure]:
        good = [item for item in batch if isinstance(item, _Prepared)]
        done = iter(self._results(good, methods, top_k) if good else ())
        for item in batch:
            yield item if isinstance(item, Failure) else next(done)

    def _results(self, batch: "list[_Prepared]", methods: tuple[str, ...], top_k: int) -> list[ClassifyResult]:
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
                    PictureMap(of_method[i], item.picture, _title(item.file), predictions[i], stacks[i])
                    for of_method in found
                ),
            )
            for i, item in enumerate(batch)
        ]


class _Prepared(NamedTuple):
    """A picture that is ready for the model."""

    file: str | None
    picture: Image.Image
    pixels: Tensor  # (3, h, w)
    geometry: Geometry


def _title(file: str | None) -> str:
    return "picture" if file is None else Path(file).name


def _chosen_methods(maps: str | Sequence[str] | None) -> tuple[str, ...]:
    if maps is None:
        return ()
    asked = (maps,) if isinstance(maps, str) else tuple(maps)
    if "all" in asked:
        return tuple(METHODS)
    for name in asked:
        if name not in METHODS:
            raise ModelError(f"`maps` must be of {', '.join(METHODS)} or all, but is {name!r} instead.")
    return tuple(dict.fromkeys(asked))  # each once, in the order asked for
