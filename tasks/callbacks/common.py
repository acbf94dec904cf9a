"""What several callbacks ask of a trainer."""

from collections.abc import Mapping
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback
from torch import Tensor


def is_trial(trainer: pl.Trainer) -> bool:
    """Whether the trainer only tries a few batches (`fast_dev_run`), and so writes nothing."""
    return bool(getattr(trainer, "fast_dev_run", False))


def validation_metrics(trainer: pl.Trainer) -> dict[str, float]:
    """The last metrics of the validation split, sorted by name."""
    return {key: float(value) for key, value in sorted(trainer.callback_metrics.items()) if key.startswith("val/")}


def callbacks_of(trainer: pl.Trainer) -> list[Callback]:
    """The callbacks of a trainer, which Lightning sets without declaring them."""
    return list(getattr(trainer, "callbacks", ()))


def log_interval(trainer: pl.Trainer) -> int:
    """Steps between two that are logged."""
    return max(1, int(getattr(trainer, "log_every_n_steps", 1)))


def batch_loss(trainer: pl.Trainer, outputs: Any) -> Tensor | None:
    """The loss of a training batch, from what `on_train_batch_end` gets; None where no item has one."""
    loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
    return None if loss is None else loss.detach() * trainer.accumulate_grad_batches  # Lightning has divided it


def learning_rate(trainer: pl.Trainer) -> float:
    """The largest learning rate of any parameters."""
    return max(float(group["lr"]) for optimizer in trainer.optimizers for group in optimizer.param_groups)


class MeanLoss:
    """The mean of losses, which is computed on their device."""

    def __init__(self) -> None:
        self.total: Tensor | None = None
        self.count = 0

    def add(self, loss: Tensor) -> None:
        """Add the loss of a batch."""
        self.total = loss.float() if self.total is None else self.total + loss
        self.count += 1

    def value(self) -> float:
        """The mean; NaN of none."""
        return float("nan") if self.total is None else float(self.total) / self.count
