"""The end of a training whose loss is not finite any more."""

from collections.abc import Mapping
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from multiattn.checks import require
from multiattn.errors import ModelError

from ..sharding import own_part
from ..states import RunStates, remove_state
from .common import is_trial, log_interval

_SMOOTHING = 0.02
"""Weight of a batch in the running mean and variance of the loss."""

_SETTLING = 50
"""Batches before the first that can be a spike."""


class Divergence(Callback):
    """Ends a training after some losses in a row that are not finite, counts spikes, and logs the gradient's norm.

    The losses are counted on the device. The host reads the counts at the logging interval and before a state is saved,
    on a CPU after each batch. Logged are `train/grad_norm`, before clipping, and `train/spikes`, the losses so far that
    lay above the running mean by more than `spike` standard deviations.
    """

    def __init__(self, non_finite: int = 3, spike: float = 6.0) -> None:
        """Set the limits.

        Args:
            non_finite: Losses in a row that are NaN or infinite and end the training.
            spike: Standard deviations above the running mean of the loss.
        """
        require(non_finite >= 1, "non_finite", must="at least 1", value=non_finite)
        require(spike > 0, "spike", must="above 0", value=spike)
        self.non_finite, self.spike = non_finite, spike
        # losses in a row that are not finite, the step of the first of them, spikes, batches, mean and variance
        self._counts = [0.0] * 6
        self._on_device: Tensor | None = None

    def state_dict(self) -> dict[str, Any]:
        """The counts."""
        return {"counts": self._read()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting."""
        self._counts, self._on_device = list(state_dict["counts"]), None

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the loss of a batch; end the training where too many in a row are not finite.

        Raises:
            ModelError: The training has diverged.
        """
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if loss is not None:
            self._count(loss.detach(), trainer.global_step)
        if pl_module.device.type == "cpu" or (batch_idx + 1) % log_interval(trainer) == 0:
            self.check(trainer, pl_module)
            pl_module.log("train/spikes", self._counts[2], batch_size=1)

    def _count(self, loss: Tensor, step: int) -> None:
        if self._on_device is None:
            self._on_device = torch.tensor(self._counts, device=loss.device)
        row, first, spikes, batches, mean, variance = self._on_device.unbind()
        is_finite = torch.isfinite(loss)
        above = torch.where(is_finite, loss.float() - mean, 0.0)
        is_spike = (batches >= _SETTLING) & (above > self.spike * variance.sqrt())
        weight = torch.maximum(1 / (batches + 1), torch.full_like(batches, _SMOOTHING)) * is_finite
        self._on_device = torch.stack(
            [
                (row + 1) * ~is_finite,
                torch.where(is_finite | (row > 0), first, float(step)),
                spikes + is_spike,
                batches + is_finite,
                mean + weight * above,
                (1 - weight) * (variance + weight * above.square()),
            ]
        )

    def _read(self) -> list[float]:
        if self._on_device is not None:
            self._counts = self._on_device.tolist()
        return self._counts

    def check(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> bool:
        """Read the counts.

        Returns:
            Whether the last loss of every process is finite.

        Raises:
            ModelError: The training has diverged, in any process.
        """
        row, first, *_ = self._read()
        has_ended = row >= self.non_finite
        if trainer.world_size > 1:
            has_ended = trainer.strategy.reduce_boolean_decision(has_ended, all=False)
        if has_ended:
            raise self._diverged(trainer, pl_module, int(first))
        if trainer.world_size > 1:
            return trainer.strategy.reduce_boolean_decision(row == 0)
        return row == 0

    def is_sound(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> bool:
        """Whether a state may be saved: the last loss and all weights are finite, in every process."""
        is_finite = self.check(trainer, pl_module)
        with torch.no_grad():
            sums = [own_part(weight).sum(dtype=torch.float32) for weight in pl_module.parameters()]
            own = bool(torch.stack([total.to(pl_module.device) for total in sums]).isfinite().all())
        if trainer.world_size > 1:
            own = trainer.strategy.reduce_boolean_decision(own)
        return is_finite and own

    def _diverged(self, trainer: pl.Trainer, pl_module: pl.LightningModule, step: int) -> ModelError:
        kept = ""
        if not is_trial(trainer):
            states = RunStates(trainer.default_root_dir)
            # from the weights of the state before this step came a loss that is not finite
            last = states.at(step - 1)
            if trainer.is_global_zero and last in states.all() and len(states.all()) > 1:
                remove_state(last)
            trainer.strategy.barrier("divergence")
            kept = f" The last state before it is {states.newest()}." if states.newest() else " No state was saved yet."
        rates = [group["lr"] for optimizer in trainer.optimizers for group in optimizer.param_groups]
        return ModelError(
            f"the training has diverged: its loss was not finite {self.non_finite} times in a row, from step {step} "
            f"on.{kept} Lower `model.optimization.lr` (the rate is {max(rates, default=0.0):g} now), or set "
            "`trainer.gradient_clip_val`; the same command then goes on."
        )

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Log the norm of the whole gradient in the steps that are logged."""
        if (trainer.global_step + 1) % log_interval(trainer):
            return
        gradients = [weight.grad for weight in pl_module.parameters() if weight.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        full = getattr(norm, "full_tensor", None)  # of a gradient in parts, on several devices
        pl_module.log("train/grad_norm", norm if full is None else full(), batch_size=1)
