"""What several callbacks ask of a trainer."""

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback


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
