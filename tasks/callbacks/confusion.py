"""Accuracies by class, and which classes are taken for which."""

from pathlib import Path

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback
from torchmetrics import MetricCollection

from multiattn.metrics.classes import class_scores
from multiattn.writing import write_json

from ..base import BaseTask
from ..metrics import MacroAccuracy
from .common import is_trial


class ClassScores(Callback):
    """Write `RUN/confusion-SPLIT.json` after each validation and test of a classifier.

    It has `epoch` (from 0) and `step`, `labels`, and `macro_accuracy`, `per_class` and `confusion` as `multiattn
    evaluate classify --format json` has them. A classifier of more than 1000 classes, or of several labels for an
    image, has none.
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
        counts = dict(metrics.items()).get(f"{prefix}/macro_accuracy")
        if not isinstance(counts, MacroAccuracy) or is_trial(trainer):
            return
        matrix = counts.confusion()  # in all processes
        if matrix is None or not trainer.is_global_zero:
            return
        pairs = {
            (truth, label): count
            for truth, row in zip(task.labels, matrix, strict=True)
            for label, count in zip(task.labels, row, strict=True)
            if count
        }
        found = {"epoch": trainer.current_epoch, "step": trainer.global_step, "labels": list(task.labels)}
        write_json(Path(trainer.default_root_dir) / f"confusion-{split}.json", found | class_scores(pairs))
