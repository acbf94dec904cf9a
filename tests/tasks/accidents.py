"""A callback for tests that sends this process a signal at a step, as a person or a scheduler would."""

import os
import signal
from typing import Any

import lightning.pytorch as pl


class SignalAt(pl.Callback):
    def __init__(self, step: int, name: str) -> None:
        self.step, self.signal = step, signal.Signals[name]

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step == self.step:
            os.kill(os.getpid(), self.signal)
