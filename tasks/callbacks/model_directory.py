"""The directory of the trained model."""

import sys
from pathlib import Path
from typing import Literal

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from multiattn.registry import task_spec
from multiattn.weights import save_bundle
from multiattn.weights.tensor_files import load_pickled

from ..base import BaseTask
from ..loading.datamodule import data_of
from ..sharding import is_sharding, load_weights
from .common import is_trial, validation_metrics


class ModelDirectory(Callback):
    """Write the trained model to `RUN/model`, for the task's command and `multiattn.load`."""

    def __init__(self, weights: Literal["best", "final"] = "best", half: bool = False) -> None:
        """Choose the weights.

        Args:
            weights: `best`: those of the checkpoint with the best monitored value, where the trainer has such a
                callback. `final`: those of the end, for which the validation split decides about nothing.
            half: Store them in float16.
        """
        self.weights, self.half = weights, half

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the directory; the module has the averaged weights by now."""
        assert isinstance(pl_module, BaseTask)
        if is_trial(trainer) or not (trainer.is_global_zero or is_sharding(trainer)):
            return
        best = self._best(trainer)
        if best is not None and Path(best).is_dir():
            load_weights(pl_module, Path(best))
        elif best is not None:
            pl_module.load_state_dict(load_pickled(Path(best), holds="its `state_dict`")["state_dict"])
        if not trainer.is_global_zero:
            pl_module.give_weights()
            return
        directory = Path(trainer.default_root_dir) / "model"
        bundle = pl_module.bundle()
        bundle.card = {
            **data_of(trainer).card(),
            "epochs": trainer.current_epoch,
            "steps": trainer.global_step,
            "weights": "final" if best is None else "best",
            "last_validation": {key: round(value, 6) for key, value in validation_metrics(trainer).items()},
        }
        save_bundle(bundle, directory, dtype=torch.float16 if self.half else torch.float32)
        command = f"multiattn {bundle.task} {task_spec(bundle.task).input} --model {directory}"
        print(f"The model is in {directory}. Try it: {command}", file=sys.stderr)

    def _best(self, trainer: pl.Trainer) -> str | None:
        if self.weights == "final":
            return None
        callbacks = (c for c in trainer.checkpoint_callbacks if isinstance(c, ModelCheckpoint) and c.monitor)
        return next((c.best_model_path for c in callbacks if c.best_model_path), None)
