"""Averaged weights."""

import warnings
from collections.abc import Sequence

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor

from multiattn.checks import require
from multiattn.errors import ModelError

from ..sharding import NAME, is_sharding


class EMA(WeightAveraging):
    """An exponential moving average of the weights: validated, exported and saved in place of the raw weights.

    The decay grows with the number of updates n, as `min(decay, (1 + n) / (10 + n))`, so that the random weights of the
    beginning lose their influence soon, also in a short training.
    Source: TensorFlow's `ExponentialMovingAverage`, `num_updates`.
    """

    def __init__(self, decay: float = 0.999) -> None:
        require(0 <= decay < 1, "decay", must="at least 0 and below 1", value=decay)

        @torch.no_grad()
        def average(averages: Sequence[Tensor], current: Sequence[Tensor], updates: Tensor | int) -> None:
            if averages[0].is_floating_point():
                # the counter lies on the CPU in training: reading one on a GPU waits for all that runs there
                n = int(updates if self._average_model is None else self._average_model.n_averaged)
                torch._foreach_lerp_(list(averages), list(current), 1 - min(decay, (1 + n) / (10 + n)))
            else:
                torch._foreach_copy_(list(averages), list(current))  # counters

        # buffers too: the running statistics of a BatchNorm must be those of the averaged weights, not of the raw ones
        super().__init__(use_buffers=True, multi_avg_fn=average)
        self._is_exported = False  # whether the module has the averages for good

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Copy the weights, on their device.

        Raises:
            ModelError: The weights are divided among processes.
        """
        if is_sharding(trainer):
            raise ModelError(
                f"`trainer.callbacks` must be without EMA where `trainer.strategy` is {NAME}, which divides the "
                "weights among processes. Leave EMA out, or set the strategy to ddp."
            )
        self._is_exported = False
        with warnings.catch_warnings():  # about `configure_model`, which builds the same model on every device here
            warnings.filterwarnings("ignore", "You're using the WeightAveraging callback with a model that overrides")
            super().setup(trainer, pl_module, stage)
        if self._average_model is not None:
            self._average_model.n_averaged = self._average_model.n_averaged.cpu()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Give the module the averages."""
        super().on_train_end(trainer, pl_module)
        self._is_exported = True

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Do the same where nothing was left to train: Lightning then calls no `on_train_end`."""
        if not self._is_exported:
            self.on_train_end(trainer, pl_module)
