"""What several callbacks ask of a trainer."""

import lightning.pytorch as pl


def is_trial(trainer: pl.Trainer) -> bool:
    """Whether the trainer only tries a few batches (`fast_dev_run`), and so writes nothing."""
    return bool(getattr(trainer, "fast_dev_run", False))


def validation_metrics(trainer: pl.Trainer) -> dict[str, float]:
    """The last metrics of the validation split, sorted by name."""
    return {key: float(value) for key, value in sorted(trainer.callback_metrics.items()) if key.startswith("val/")}
