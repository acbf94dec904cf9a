"""Classification on onnxruntime: the same files in, the same results out as from `ClassifyPipeline`, without torch."""

from collections.abc import Iterable, Iterator
from functools import partial

import numpy as np

from ...checks import require
from ...errors import ModelError
from ...inputs.files import MAX_PIXELS
from ...pipelines.image_results import ClassifyResult, Prediction
from ...pipelines.out_of_domain import far_pictures
from ...pipelines.pictures import PictureSource, Prepared, stream_pictures
from ...pipelines.results import Failure
from ...score_kinds import SCORE_KINDS, ScoreFunction, ScoreKind
from .arrays import sigmoid, softmax
from .directory import ExportedModel


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
        maps: None = None,
        map_labels: int = 0,
        top_k: int = 5,
        batch_size: int = 8,
        strict: bool = False,
        max_pixels: int = MAX_PIXELS,
    ) -> Iterator[ClassifyResult | Failure]:
        """Yield the results in the order of the inputs; see `ClassifyPipeline.stream`."""
        require(top_k >= 1, "top_k", must="at least 1", value=top_k)
        require(batch_size >= 1, "batch_size", must="at least 1", value=batch_size)
        compute = partial(self._results, top_k=top_k)
        return stream_pictures(
            inputs, self._preprocessing, compute, batch_size=batch_size, strict=strict, max_pixels=max_pixels
        )

    def _results(self, batch: list[Prepared], *, top_k: int) -> list[ClassifyResult]:
        found = self._session(images=np.stack([item.pixels for item in batch]))
        scores = self._scores(found["logits"])  # (b, classes)
        marks = far_pictures(found.get("distances", np.zeros(len(batch))).tolist())
        best = np.argsort(-scores, axis=1, kind="stable")[:, :top_k]  # (b, k)
        return [
            ClassifyResult(
                file=item.file,
                predictions=tuple(Prediction(self.labels[index], float(row[index])) for index in order),
                damaged=item.damaged,
                remark=item.remark,
                score_kind=self.score_kind,
                out_of_domain=mark,
            )
            for item, row, order, mark in zip(batch, scores, best.tolist(), marks, strict=True)
        ]

    def _scores(self, logits: np.ndarray) -> np.ndarray:
        if self._function == "softmax":
            return softmax(logits)
        return sigmoid(logits) if self._function == "sigmoid" else logits
