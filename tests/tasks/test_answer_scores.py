"""The accuracies that a training logs."""

import pytest
import torch
from multiattn.tasks.answer_scores import answer_metrics

from multiattn.metrics.vqa import answer_scores

ANSWERS = ["red", "2", "no", "cat", "dog"]
GIVEN = [["red"] * 10, ["two"] * 3 + ["3"] * 7, ["yes"], ["Cat."], ["dog", "dog", "cat"]]


def test_they_are_means_over_all_questions_however_these_come() -> None:
    metrics = answer_metrics().clone(prefix="val/")
    for part in (slice(0, 1), slice(1, 4), slice(4, 4), slice(4, 5)):  # whose first batches score the same twice
        metrics.update(ANSWERS[part], GIVEN[part])
    assert metrics["accuracy"].total.dtype == torch.float32  # no accelerator lacks it
    expected = answer_scores(ANSWERS, GIVEN, ["all"] * 5)
    assert expected.accuracy != expected.vqa_accuracy
    assert {name: float(value) for name, value in metrics.compute().items()} == {
        "val/accuracy": pytest.approx(expected.accuracy),
        "val/vqa_accuracy": pytest.approx(expected.vqa_accuracy),
    }
