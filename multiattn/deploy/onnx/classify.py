"""Classification on onnxruntime: the same files in, the same results out as from `ClassifyPipeline`, without torch."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np

from ...checks import require
from ...errors import ModelError
from ...inputs.files import MAX_PIXELS
from ...pipelines.image_results import ClassifyResult, PictureMap, Prediction
from ...pipelines.out_of_domain import far_pictures
from ...pipelines.pictures import PictureSource, Prepared, stream_pictures
from ...pipelines.results import Failure
from ...score_kinds import SCORE_KINDS, ScoreFunction, ScoreKind
from .arrays import sigmoid, softmax
from .directory import ExportedModel
from .maps import METHODS, ClassifierMaps, check_exported


class OnnxClassifier:
    """Classifies images. Safe to call from several threads.

    Args:
        model: The exported model.

    Raises:
        ModelError: A graph is missing or damaged, or the model has no labels.
    """

    def __init__(self, model: ExportedModel) -> None:
        self.bundle = model
        self.labels = tuple(model.config["labels"])
        if not self.labels:
            raise ModelError(f"{model.source} must have labels to classify, but is a model without a head instead")
        stated: ScoreFunction = model.config.get("score_function", "softmax")
        # a softmax over a single output would be 1 for every picture
        self._function: ScoreFunction = "sigmoid" if len(self.labels) == 1 and stated == "softmax" else stated
        self._preprocessing, self._session = model.pictures, model.session("model")

    @property
    def score_kind(self) -> ScoreKind:
        """What the scores are."""
        return SCORE_KINDS[self._function]

    def stream(
        self,
        inputs: Iterable[PictureSource],
        *,
        maps: str | Sequence[str] | None = None,
        map_labels: int = 0,
        top_k: int = 5,
        batch_size: int = 8,
        strict: bool = False,
        max_pixels: int = MAX_PIXELS,
    ) -> Iterator[ClassifyResult | Failure]:
        """Yield the results in the order of the inputs; see `ClassifyPipeline.stream`.

        `map_labels` adds nothing, for no map of these methods depends on a label.

        Raises:
            ModelError: A map method needs torch, or weights that were not exported; or an option is out of range.
        """
        methods = (maps,) if isinstance(maps, str) else tuple(dict.fromkeys(maps or ()))
        for method in methods:
            rule = f"{' or '.join(METHODS)} on onnxruntime"
            require(method in METHODS, "maps", must=rule, value=method)
        require(not methods or map_labels >= 0, "map_labels", must="at least 0", value=map_labels)
        if methods:
            check_exported(methods, self.bundle.config["architecture"], self._session.outputs)
        require(top_k >= 1, "top_k", must="at least 1", value=top_k)
        require(batch_size >= 1, "batch_size", must="at least 1", value=batch_size)
        compute = partial(self._results, top_k=top_k, methods=methods)
        return stream_pictures(
            inputs, self._preprocessing, compute, batch_size=batch_size, strict=strict, max_pixels=max_pixels
        )

    def _results(self, batch: list[Prepared], *, top_k: int, methods: Sequence[str]) -> list[ClassifyResult]:
        found = self._session(images=np.stack([item.pixels for item in batch]))
        scores = self._scores(found["logits"])  # (b, classes)
        marks = far_pictures(found.get("distances", np.zeros(len(batch))).tolist())
        best = np.argsort(-scores, axis=1, kind="stable")[:, :top_k]  # (b, k)
        predictions = [
            tuple(Prediction(self.labels[index], float(row[index])) for index in order)
            for row, order in zip(scores, best.tolist(), strict=True)
        ]
        maps = self._maps(batch, found, predictions, methods) if methods else [()] * len(batch)
        return [
            ClassifyResult(
                file=item.file,
                predictions=of_item,
                maps=mapped,
                damaged=item.damaged,
                remark=item.remark,
                score_kind=self.score_kind,
                out_of_domain=mark,
            )
            for item, of_item, mapped, mark in zip(batch, predictions, maps, marks, strict=True)
        ]

    def _maps(
        self,
        batch: list[Prepared],
        found: Mapping[str, np.ndarray],
        predictions: Sequence[tuple[Prediction, ...]],
        methods: Sequence[str],
    ) -> list[tuple[PictureMap, ...]]:
        config = self.bundle.config["architecture"]
        height, width = batch[0].pixels.shape[1:]
        grid = height // config["patch_size"], width // config["patch_size"]
        weights = {name: one for name, one in found.items() if name not in ("logits", "distances")}
        made = ClassifierMaps(config, grid, weights)
        geometries = [item.geometry for item in batch]
        by_method, stacks = [made.maps(method, geometries) for method in methods], made.stacks(geometries)
        return [
            tuple(
                PictureMap(maps[i], item.picture, item.title, stacks[i], predictions[i], self.score_kind)
                for maps in by_method
            )
            for i, item in enumerate(batch)
        ]

    def _scores(self, logits: np.ndarray) -> np.ndarray:
        if self._function == "softmax":
            return softmax(logits)
        return sigmoid(logits) if self._function == "sigmoid" else logits
