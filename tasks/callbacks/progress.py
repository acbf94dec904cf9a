"""Lines of progress, for runs whose standard error is not a terminal."""

import sys
import time

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback

from .common import validation_metrics


class EpochLines(Callback):
    """One line after each validation, for runs whose standard error is not a terminal."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._start = time.monotonic()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Print the line."""
        if not trainer.is_global_zero or trainer.state.fn != "fit":
            return
        shown = (f"{name} {value:.4f}" for name, value in validation_metrics(trainer).items())
        print(
            f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}, step {trainer.global_step}: {', '.join(shown)} "
            f"({time.monotonic() - self._start:.0f} s)",
            file=sys.stderr,
            flush=True,
        )
