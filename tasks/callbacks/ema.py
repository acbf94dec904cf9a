"""Averaged weights."""

from collections.abc import Mapping
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from multiattn.checks import require
from multiattn.errors import ModelError

from ..sharding import gather, is_sharding, own_part, writes_whole_states
from ..states import TRAINED

_AVERAGING = "averaging_state"  # Lightning's key, with the number of updates


class EMA(Callback):
    """An exponential moving average of the weights: validated, exported and saved in place of the raw weights.

    The decay grows with the number of updates n, as `min(decay, (1 + n) / (10 + n))`, so that the random weights of the
    beginning lose their influence soon, also in a short training. Running statistics are averaged like weights.

    Averages of weights in half precision are kept in fp32, where a step's share of a difference is not lost.
    Where weights are divided among processes, each process averages its part. A state has the averages as its
    `state_dict`, and the weights that are trained beside them.
    Source: TensorFlow's `ExponentialMovingAverage`, `num_updates`; the keys of a state are those of Lightning's
    `WeightAveraging`, which copies the whole module, and so cannot average divided weights.
    """

    def __init__(self, decay: float = 0.999) -> None:
        require(0 <= decay < 1, "decay", must="at least 0 and below 1", value=decay)
        self.decay = decay
        self._averages: dict[str, Tensor] = {}  # by the keys of the module's `state_dict`; empty before the first step
        self._parked: dict[str, Tensor] = {}  # weights of half precision, while the module has their averages
        self._updates = 0
        self._seen_step = 0
        self._is_exported = False  # whether the module has the averages for good

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Begin anew.

        Raises:
            ModelError: The weights are divided among processes, but states are not.
        """
        if is_sharding(trainer) and writes_whole_states(trainer):
            raise ModelError(
                "`trainer.strategy.save_distributed_checkpoint` must be true with EMA, but is false instead. Set it, "
                "or leave EMA out."
            )
        if stage == "fit":
            self._averages, self._updates, self._seen_step, self._is_exported = {}, 0, 0, False
            self._parked = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Move averages that were loaded to the device of the weights."""
        self._averages = {name: average.to(pl_module.device) for name, average in self._averages.items()}

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Average after each step of the optimizer."""
        if trainer.global_step > self._seen_step:
            self._seen_step = trainer.global_step
            self.update(pl_module)

    @torch.no_grad()
    def update(self, module: torch.nn.Module) -> None:
        """Take a step's weights into the averages; the first ones are copied."""
        state = module.state_dict()
        if self._averages:
            share = 1 - min(self.decay, (1 + self._updates) / (10 + self._updates))
            pairs = [(own_part(average), own_part(state[name])) for name, average in self._averages.items()]
            floats = [pair for pair in pairs if pair[0].is_floating_point()]
            for average, value in (pair for pair in pairs if not pair[0].is_floating_point()):
                average.copy_(value)  # a counter
            torch._foreach_lerp_([average for average, _ in floats], [_wide(value) for _, value in floats], share)
        else:
            self._averages = {name: _wide(value.clone()) for name, value in state.items()}
        self._updates += 1

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Give the module the averages, and keep the weights that are trained in their place."""
        self._swap(pl_module)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Do the reverse."""
        self._swap(pl_module)

    @torch.no_grad()
    def _swap(self, module: pl.LightningModule) -> None:
        if not self._averages:
            return
        state = module.state_dict()
        for name, average in self._averages.items():
            one, two = own_part(average), own_part(state[name])
            if one.dtype != two.dtype:  # the average would not come back whole from the module
                parked = self._parked.pop(name, None)
                if parked is None:
                    self._parked[name] = two.clone()
                two.copy_(one if parked is None else parked)
                continue
            before = two.clone()
            two.copy_(one)
            one.copy_(before)
        gather(module)  # which `state_dict` has divided again

    @torch.no_grad()
    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Give the module the averages."""
        state = pl_module.state_dict() if self._averages else {}
        for name, average in self._averages.items():
            own_part(state[name]).copy_(own_part(average))
        self._is_exported = True

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Do the same where nothing was left to train: Lightning then calls no `on_train_end`."""
        if not self._is_exported:
            self.on_train_end(trainer, pl_module)

    def state_dict(self) -> dict[str, Any]:
        """The step of the last update."""
        return {"latest_update_step": self._seen_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The reverse of `state_dict`."""
        self._seen_step = state_dict["latest_update_step"]

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Save the averages as the weights, and those that are trained beside them."""
        if self._averages:
            checkpoint[TRAINED] = checkpoint["state_dict"]
            checkpoint["state_dict"] = dict(self._averages)
            checkpoint[_AVERAGING] = {"n_averaged": torch.tensor(self._updates)}

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: Mapping[str, Any]
    ) -> None:
        """Take the averages of a state, whose weights the module has by now, and give the module those it trains.

        The averages of a state without begin at its weights.
        """
        if trainer.state.fn == "fit" and TRAINED in checkpoint:
            self._averages = {name: _wide(value.clone()) for name, value in checkpoint["state_dict"].items()}
            self._updates = int(checkpoint[_AVERAGING]["n_averaged"])
            pl_module.load_state_dict(checkpoint[TRAINED])


def _wide(value: Tensor) -> Tensor:
    """Return a value of half precision in fp32, and another as it is."""
    return value.float() if value.dtype in (torch.bfloat16, torch.float16) else value
