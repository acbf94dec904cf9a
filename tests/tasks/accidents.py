"""A callback for tests that sends this process a signal at a step, as a person or a scheduler would."""

import os
import signal
from typing import Any

import lightning.pytorch as pl


class SignalAt(pl.Callback):
    def __init__(self, step: int, name: str, rank: int | None = None) -> None:
        self.step, self.signal, self.rank = step, signal.Signals[name], rank

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step == self.step and self.rank in (None, trainer.global_rank):
            os.kill(os.getpid(), self.signal)
