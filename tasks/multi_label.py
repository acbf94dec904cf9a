"""What a classifier of pictures with several labels each, or none, minimizes and measures."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from multiattn.metrics.multi_label import LabelScores, MultiLabelScores, multi_label_scores

from .losses import SmoothedLoss


class MultiLabelLoss(SmoothedLoss):
    """Binary cross-entropy of each label by itself, with label smoothing and a weight for where a picture has it."""

    def __init__(self, *, label_smoothing: float, weights: Tensor | None) -> None:
        super().__init__(label_smoothing=label_smoothing)
        self.weights: Tensor | None
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, logits: Float[Tensor, "b n"], target: Float[Tensor, "b n"]) -> Float[Tensor, ""]:
        """The mean over labels and batch, in float32."""
        smoothed = target * (1 - self.smoothing) + self.smoothing / 2
        weights = self.weights if self.training else None
        return F.binary_cross_entropy_with_logits(logits.float(), smoothed, pos_weight=weights)


class MultiLabelMetric(Metric):
    """`map`, `f1_macro` or `f1_micro` of `multi_label_scores` over a split; NaN where no picture has a label."""

    full_state_update = False
    scores: list[Tensor]
    truth: list[Tensor]

    def __init__(self, figure: str, *, threshold: float) -> None:
        super().__init__()
        self.figure, self.threshold = figure, threshold
        self.add_state("scores", default=[], dist_reduce_fx="cat")
        self.add_state("truth", default=[], dist_reduce_fx="cat")

    def update(self, logits: Tensor, target: Tensor) -> None:
        """Add a batch."""
        self.scores.append(logits.detach().float().sigmoid())
        self.truth.append(target > 0)

    def compute(self) -> Tensor:
        """The figure."""
        value = getattr(self._measured(), self.figure)
        return torch.tensor(float("nan") if value is None else value)

    def by_label(self) -> tuple[LabelScores, ...]:
        """How well each label is told, over all processes, which all take part; none where there is no picture."""
        with self.sync_context():
            return self._measured().labels if len(self.truth) else ()

    def _measured(self) -> MultiLabelScores:
        scores: np.ndarray = dim_zero_cat(self.scores).cpu().numpy()
        return multi_label_scores(scores, dim_zero_cat(self.truth).cpu().numpy(), threshold=self.threshold)


def named_labels(labels: Sequence[str], has: Bool[Tensor, " n"]) -> str:
    """The labels of a picture in a text."""
    return ", ".join(labels[i] for i in has.nonzero()[:, 0].tolist())
