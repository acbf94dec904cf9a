"""Lines of progress, for runs whose standard error is not a terminal."""

import resource
import sys
import time
from datetime import timedelta
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback

from multiattn.checks import require

from .common import MeanLoss, batch_loss, learning_rate, validation_metrics


class EpochLines(Callback):
    """A line every so often and one after each validation, for runs whose standard error is not a terminal."""

    def __init__(self, every_n_seconds: float = 30.0) -> None:
        """Set how often to print.

        Args:
            every_n_seconds: Seconds between two lines within an epoch; 0 for a line after each step.
        """
        require(every_n_seconds >= 0, "every_n_seconds", must="at least 0", value=every_n_seconds)
        self.every_n_seconds = every_n_seconds
        self._is_shown = False
        self._start = self._last = time.monotonic()
        self._start_step = self._last_step = 0
        self._items = 0  # since the last line, in this process
        self._epoch = MeanLoss()
        self._since = MeanLoss()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._is_shown = trainer.is_global_zero and not sys.stderr.isatty()
        self._start = self._last = time.monotonic()
        self._start_step = self._last_step = trainer.global_step
        self._items, self._epoch, self._since = 0, MeanLoss(), MeanLoss()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Print a line where it is time."""
        if (loss := batch_loss(trainer, outputs)) is not None:
            self._epoch.add(loss)
            self._since.add(loss)
        self._items += len(batch.indices)
        now = time.monotonic()
        if not self._is_shown or now - self._last < self.every_n_seconds or trainer.global_step == self._last_step:
            return
        print(self._line(trainer, pl_module, now), file=sys.stderr, flush=True)
        self._last, self._last_step, self._items, self._since = now, trainer.global_step, 0, MeanLoss()

    def _line(self, trainer: pl.Trainer, pl_module: pl.LightningModule, now: float) -> str:
        step, total = trainer.global_step, trainer.estimated_stepping_batches
        pace = (now - self._start) / (step - self._start_step)
        end = ""
        if total != float("inf"):
            end = f"/{total:.0f}, {timedelta(seconds=round(pace * max(0, total - step)))} left"
        items = self._items * trainer.world_size / max(now - self._last, 1e-9)
        return (
            f"step {step}{end}: train/loss {self._since.value():.4f}, lr {learning_rate(trainer):.3g}, "
            f"{items:.4g} items/s, {_memory(pl_module.device):.1f} GB"
        )

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Print the line of an epoch; its `train/loss` is the mean over the batches of the first process."""
        if not self._is_shown or trainer.state.fn != "fit":
            return
        values = {"train/loss": self._epoch.value()} if self._epoch.count else {}
        shown = (f"{name} {value:.4f}" for name, value in (values | validation_metrics(trainer)).items())
        spikes = int(trainer.callback_metrics.get("train/spikes", 0))
        print(
            f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}, step {trainer.global_step}: {', '.join(shown)}"
            f"{f', {spikes} spikes so far' if spikes else ''} ({time.monotonic() - self._start:.0f} s)",
            file=sys.stderr,
            flush=True,
        )
        self._epoch = MeanLoss()


def _memory(device: torch.device) -> float:
    """The largest memory so far in 1e9 bytes: of the GPU that is used, or of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
