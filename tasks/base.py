"""What every task shares: the model is built once the data is known, steps compute, metrics are kept for each split."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

import lightning.pytorch as pl
from torch import Tensor, nn
from torchmetrics import MeanMetric, MetricCollection

from multiattn.errors import ModelError
from multiattn.inputs import AudioPreprocessing, ImagePreprocessing
from multiattn.weights import ModelBundle

from .optim import Optimization, configure
from .seeding import seed_all


class BaseTask(pl.LightningModule, ABC):
    """One application's training, in three parts to fill in: the model, the loss, the metrics.

    The weights are never drawn before `configure_model`, for the data decides about their shape.
    """

    preprocessing: ImagePreprocessing | AudioPreprocessing
    """The way from a file to the model's input."""

    from_scratch: bool = True
    """Whether the weights are random before training: then they cannot be measured without a state."""

    def __init__(self, *, optimization: Optimization | None = None, compile: bool = False) -> None:
        super().__init__()
        self.optimization = optimization or Optimization()
        self.compile_model = compile
        self.seed = 0  # of weights and steps; the command line sets it to `seed_everything`
        self.model: nn.Module | None = None

    @abstractmethod
    def build_model(self, data: Any) -> nn.Module:
        """The model, for what the data module says of its data."""

    @abstractmethod
    def build_loss(self, data: Any) -> nn.Module:
        """The training loss."""

    @abstractmethod
    def build_metrics(self, data: Any) -> MetricCollection:
        """The metrics of one split."""

    @abstractmethod
    def shared_step(self, batch: Any, split: str) -> Tensor | None:
        """The loss of a batch, after metrics and loss have been logged; `None` for an empty batch."""

    @abstractmethod
    def bundle(self) -> ModelBundle:
        """The model as a directory that `multiattn` loads has it."""

    @abstractmethod
    def prediction_lines(self, outputs: Any) -> Iterator[tuple[int, dict[str, Any]]]:
        """What `predict_step` gave for a batch: for each item its place in the split, and what to write about it."""

    def weights_now(self) -> dict[str, Tensor]:
        """The model's weights as they are now, on the CPU in float32."""
        assert self.model is not None
        return {key: value.detach().cpu().float() for key, value in self.model.state_dict().items()}

    def lr_shares(self) -> Mapping[str, float]:
        """By the name of a part of the model, the share of the learning rate that it learns at; 1 for all others."""
        return {}

    def configure_model(self) -> None:
        """Build the parts, once."""
        if self.model is not None:
            return
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        seed_all(self.seed)
        self.model = self.build_model(data)
        self.loss = self.build_loss(data)
        metrics = self.build_metrics(data)
        # not by the split's name alone: `train` is a method of every module
        self.metrics = nn.ModuleDict({f"{s}_metrics": metrics.clone(prefix=f"{s}/") for s in ("train", "val", "test")})
        # Lightning's own mean over processes is wrong where they have unequal numbers of items: it cuts the mean
        # number down to an integer
        self.mean_losses = nn.ModuleDict({f"{s}_loss": MeanMetric() for s in ("val", "test")})

    def on_fit_start(self) -> None:
        """Compile in place, after averages were copied from the model and before its first step."""
        if self.compile_model:
            assert self.model is not None
            self.model.compile()

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Make what this step draws (dropout, mixing) depend on where in the training it is and on nothing before."""
        del batch
        seed_all(self.seed, self.current_epoch, batch_idx, self.global_rank)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor | None:
        """The loss to go down."""
        del batch_idx
        return self.shared_step(batch, "train")

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Loss and metrics of the validation split."""
        del batch_idx
        self.shared_step(batch, "val")

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Loss and metrics of the test split."""
        del batch_idx
        self.shared_step(batch, "test")

    def log_loss(self, loss: Tensor, split: str, *, size: int) -> None:
        """Log the loss of a batch of `size` items: of each step in training, of the whole split elsewhere.

        A batch in which no item has a loss is logged, too: the processes join what they log, and wait for each other.
        """
        if split == "train":
            self.log("train/loss", loss.detach(), prog_bar=True, batch_size=max(1, size), sync_dist=True)
            return
        mean = self.mean_losses[f"{split}_loss"]
        mean.update(loss.detach(), weight=size)
        self.log(f"{split}/loss", mean, prog_bar=True, batch_size=max(1, size))

    def configure_optimizers(self) -> dict[str, Any]:
        """AdamW with warm-up and cosine over the whole training."""
        assert self.model is not None
        steps_per_epoch, total = self._steps()
        return configure(
            self.model,
            self.optimization,
            steps_per_epoch=steps_per_epoch,
            total_steps=total,
            lr_shares=self.lr_shares(),
        )

    def _steps(self) -> tuple[float, int]:
        """Optimizer steps an epoch and in all.

        Not `Trainer.estimated_stepping_batches`: that makes the training loader before the checkpoint is read, and
        Lightning then never hands the loader its state.
        """
        trainer = self.trainer
        batches: float = trainer.datamodule.batches_per_epoch()  # type: ignore[attr-defined]
        limit = trainer.limit_train_batches
        batches = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
        per_epoch = max(1, math.ceil(batches / trainer.accumulate_grad_batches))
        limits = []
        if trainer.max_epochs is not None and trainer.max_epochs >= 0:
            limits.append(per_epoch * trainer.max_epochs)
        if trainer.max_steps >= 0:
            limits.append(trainer.max_steps)
        if not limits:
            raise ModelError(
                "`trainer.max_epochs` or `trainer.max_steps` must say when training ends: set one of them."
            )
        return per_epoch, min(limits)
