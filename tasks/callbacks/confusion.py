"""Accuracies by class, and which classes are taken for which."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback
from torchmetrics import MetricCollection

from multiattn.metrics.classes import class_scores
from multiattn.writing import write_json

from ..base import BaseTask
from ..metrics import MacroAccuracy
from ..multi_label import MultiLabelMetric
from .common import is_trial


class ClassScores(Callback):
    """Write `RUN/confusion-SPLIT.json` after each validation and test of a classifier.

    It has `epoch` (from 0) and `step`, `labels`, and `macro_accuracy`, `per_class` and `confusion` as `multiattn
    evaluate classify --format json` has them. A classifier of more than 1000 classes has none. Where an image has
    several labels or none, there are `threshold` and `per_label`: what that command has under `labels`, by the label.
    """

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write that of the validation split."""
        self._write(trainer, pl_module, "val", "validation")

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write that of the test split."""
        self._write(trainer, pl_module, "test", "test")

    def _write(self, trainer: pl.Trainer, task: pl.LightningModule, prefix: str, split: str) -> None:
        assert isinstance(task, BaseTask)
        metrics = task.metrics[f"{prefix}_metrics"]
        assert isinstance(metrics, MetricCollection)
        by_name = dict(metrics.items())
        counts, several = by_name.get(f"{prefix}/macro_accuracy"), by_name.get(f"{prefix}/map")
        scores: dict[str, Any] | None = None
        if is_trial(trainer):
            return
        if isinstance(counts, MacroAccuracy):  # in all processes
            scores = _of_classes(task.labels, counts)
        elif isinstance(several, MultiLabelMetric) and (found := several.by_label()):
            by_label = {name: asdict(one) for name, one in zip(task.labels, found, strict=True)}
            scores = {"threshold": several.threshold, "per_label": by_label}
        if scores is None or not trainer.is_global_zero:
            return
        of = {"epoch": trainer.current_epoch, "step": trainer.global_step, "labels": list(task.labels)}
        write_json(Path(trainer.default_root_dir) / f"confusion-{split}.json", of | scores)


def _of_classes(labels: Sequence[str], counts: MacroAccuracy) -> dict[str, Any] | None:
    """The scores by class, and how often each pair of them was met; None of too many classes."""
    matrix = counts.confusion()
    if matrix is None:
        return None
    return class_scores(
        {
            (truth, label): count
            for truth, row in zip(labels, matrix, strict=True)
            for label, count in zip(labels, row, strict=True)
            if count
        }
    )
