"""What a classifier of pictures with several labels each, or none, minimizes and measures."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from multiattn.metrics.multi_label import multi_label_scores

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
        scores: np.ndarray = dim_zero_cat(self.scores).cpu().numpy()
        found = multi_label_scores(scores, dim_zero_cat(self.truth).cpu().numpy(), threshold=self.threshold)
        value = getattr(found, self.figure)
        return torch.tensor(float("nan") if value is None else value)
