"""The accuracies that a training logs, question by question."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from multiattn.metrics.vqa import agreement, is_exact


class MeanOfAnswers(Metric):
    """The mean of what each answer gets, over the questions of all processes."""

    full_state_update = False

    def __init__(self, score: Callable[[str, Sequence[str]], float]) -> None:
        """Start with none.

        Args:
            score: What an answer gets, given what people answered; 0 to 1.
        """
        super().__init__()
        self._score = score
        self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("questions", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, answers: Sequence[str], given: Sequence[Sequence[str]]) -> None:
        """Take up answers to questions, and what people answered to them."""
        self.total += sum(float(self._score(answer, people)) for answer, people in zip(answers, given, strict=True))
        self.questions += len(answers)

    def compute(self) -> Tensor:
        """The mean."""
        return self.total / self.questions  # type: ignore[no-any-return, operator]


def answer_metrics() -> MetricCollection:
    """`accuracy` and `vqa_accuracy`, as `multiattn.metrics.vqa` defines them."""
    # torchmetrics would take two of one kind for the same one where they begin alike
    return MetricCollection(
        {"accuracy": MeanOfAnswers(is_exact), "vqa_accuracy": MeanOfAnswers(agreement)}, compute_groups=False
    )
