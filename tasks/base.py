"""The base of every training task: the model is built once the data is known, steps compute, metrics are per split.

One step goes: `training_step` -> `shared_step` of the task -> loss, logged by `log_loss`. The task and its data module
exchange the values of `contracts`.
"""

import sys
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, Generic, TypeVar

import lightning.pytorch as pl
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.optim import Optimizer
from torchmetrics import MeanMetric, Metric, MetricCollection

from multiattn.errors import ModelError
from multiattn.inputs import Tokenizer
from multiattn.registry import load_part
from multiattn.weights import ModelBundle

from .hparams import record_arguments
from .loading.datamodule import BaseData, data_of
from .loading.loader import Batch
from .lora import attach, merged_state, rest_statistics
from .optim import Optimization, configure, hyperparameters, set_hyperparameters, training_steps
from .parts import without_dropout
from .seeding import seed_all
from .sharding import divide, gather, is_sharding, shard, whole
from .stateful import StatefulTask

BatchT = TypeVar("BatchT", bound=Batch)
NeedsT = TypeVar("NeedsT")
FactsT = TypeVar("FactsT")

Prediction = tuple[int, dict[str, Any]]
"""What `predict` writes about an item: its index in the split, and the fields of its line."""


class BaseTask(StatefulTask, Generic[BatchT, NeedsT, FactsT]):
    """The training of one task. A subclass gives the model, the loss, the metrics and the step.

    The weights are drawn in `configure_model`, not in the constructor, because the data decides their shape.
    """

    task: str
    """The name of the task in the registry."""

    model: nn.Module
    """The model; None before it is built."""

    from_scratch: bool = True
    """Whether the weights are random before training, so that measuring them needs a checkpoint."""

    labels: tuple[str, ...] = ()
    """A name for each score, once the data is known; empty for a model that writes."""

    tokenizer: Tokenizer | None = None
    """The vocabulary; None before the data has made one, and for a model without."""

    def __init__(
        self,
        *,
        optimization: Optimization | None = None,
        compile: bool = False,
        checkpoint_activations: bool = False,
    ) -> None:
        super().__init__()
        record_arguments(self, logged=True)
        self.optimization = optimization or Optimization()
        self.compile_model, self.checkpoint_activations = compile, checkpoint_activations
        self.decoding: dict[str, Any] = {}
        self._told: set[str] = set()  # splits without a loss, about which the user knows
        self.seed = 0  # of weights and steps; the command line sets it to `seed_everything`
        self._hyperparameters: list[dict[str, Any]] = []  # of the optimizer's groups, by the configuration

    @abstractmethod
    def needs(self) -> NeedsT:
        """What the data module must know: of the options before the model is built, of the model afterwards."""

    @abstractmethod
    def build_model(self, facts: FactsT) -> nn.Module:
        """Build the model from what the data module says."""

    @abstractmethod
    def build_loss(self, facts: FactsT) -> nn.Module:
        """Build the training loss."""

    def build_metrics(self, facts: FactsT) -> MetricCollection:
        """Build the metrics that grow batch by batch, for one split; by default none."""
        return MetricCollection({})

    @abstractmethod
    def shared_step(self, batch: BatchT, split: str) -> Tensor | None:
        """Compute and log the loss of a batch, and its metrics; None for an empty batch."""

    @abstractmethod
    def predict_step(self, batch: BatchT, batch_idx: int) -> list[Prediction]:
        """Predict a batch."""

    @property
    def data(self) -> BaseData[NeedsT, FactsT]:
        """The data module of the running trainer."""
        return data_of(self.trainer)

    @property
    def lr(self) -> float:
        """The learning rate, under the name that Lightning's `Tuner.lr_find` reads and sets."""
        return self.optimization.lr

    @lr.setter
    def lr(self, value: float) -> None:
        self.optimization = replace(self.optimization, lr=value)

    def forward(self, *inputs: Tensor, **options: Any) -> Tensor:
        """Call the model: arguments and result are those of its own `forward`."""
        return self.model(*inputs, **options)  # type: ignore[no-any-return]

    def bundle(self) -> ModelBundle:
        """The trained model on the CPU in eval mode, with all that its directory holds beside the weights."""
        config: Any = self.model.config
        make: Any = type(self.model)
        model = make(without_dropout(config))
        model.load_state_dict({key: whole(value).cpu().float() for key, value in merged_state(self.model).items()})
        return ModelBundle(
            self.task,
            model.eval(),
            self.preprocessing,
            self.labels,
            tokenizer=self.tokenizer,
            decoding=self.decoding,
        )

    def give_weights(self) -> None:
        """Take part where process 0 makes its `bundle` of weights that are divided among processes."""
        for value in merged_state(self.model).values():
            whole(value)

    @cached_property
    def starts_trained(self) -> bool:
        """Whether a trained model, perhaps with new parts, is what a training starts from."""
        return not self.from_scratch

    def fresh_parts(self) -> tuple[str, ...]:
        """The parts of a trained model that start anew, and so learn whole beside adapters."""
        return ()

    def lr_shares(self) -> Mapping[str, float]:
        """The share of the learning rate that a part of the model learns at, by the part's name; 1 for all others."""
        return {}

    def configure_callbacks(self) -> list[pl.Callback]:
        """Add `ModelDirectory` to a trainer without one, so that a training from Python ends in a model, too."""
        make: type[pl.Callback] = load_part("multiattn.tasks.callbacks:ModelDirectory")  # callbacks know tasks
        given: list[pl.Callback] = getattr(self.trainer, "callbacks", [])
        found = any(isinstance(callback, make) for callback in given)
        return [] if found or self.trainer.state.fn != "fit" else [make()]

    def configure_model(self) -> None:
        """Build the model, the loss and the metrics, once; tell the data module about them each time.

        Without a trainer nothing is built: `load_from_checkpoint` calls this before it hands over the state.

        Raises:
            ModelError: The data module is for another task, or the model was built for other data.
        """
        if self._trainer is None:
            return
        data, needs = self.data, self.needs()
        if type(data.needs) is not type(needs):
            raise ModelError(
                f"`data` must be a data module for the task {self.task}, but is {type(data).__name__} instead."
            )
        data.needs = needs
        if self._modules["model"] is None:
            self.build(data.facts())
            data.needs = self.needs()
        elif self._needs_loss:
            facts, known = data.facts(), self.facts_type
            assert known is not None and isinstance(facts, known)
            known.from_state(self._facts).require_same(facts)
            self.loss, self._needs_loss = self.build_loss(facts), False
        for metric in self.modules():
            if isinstance(metric, Metric):
                metric.reset()  # after `validate`, they hold tensors that only inference mode may change
        if is_sharding(self.trainer):
            assert self.device_mesh is not None
            shard(self, self.device_mesh)

    def on_validation_model_eval(self) -> None:
        """Gather weights that are divided among processes."""
        super().on_validation_model_eval()
        gather(self)

    def on_validation_end(self) -> None:
        """Divide them again."""
        divide(self)

    def on_test_model_eval(self) -> None:
        """Gather weights that are divided among processes."""
        super().on_test_model_eval()
        gather(self)

    def on_predict_model_eval(self) -> None:
        """Gather weights that are divided among processes."""
        super().on_predict_model_eval()
        gather(self)

    def build(self, facts: FactsT) -> None:
        """See `StatefulTask`: the model, the loss and the metrics."""
        seed_all(self.seed)
        self.model = self.build_model(facts)
        if (lora := self.optimization.lora) is not None:
            if not self.starts_trained and lora.trained is None:
                raise ModelError(
                    "`optimization.lora` must come with a trained model, whose weights stay as they are, but here they "
                    "start at random. Give `pretrained`, or name in `lora.trained` the parts that learn whole."
                )
            attach(self.model, lora, fresh=self.fresh_parts())
        self.loss = self.build_loss(facts)
        metrics = self.build_metrics(facts)
        # not by the split's name alone: `train` is a method of every module
        self.metrics = nn.ModuleDict({f"{s}_metrics": metrics.clone(prefix=f"{s}/") for s in ("train", "val", "test")})
        # Lightning's own mean over processes is wrong where they have unequal numbers of items: it cuts the mean
        # number down to an integer
        self.mean_losses = nn.ModuleDict({f"{s}_loss": MeanMetric() for s in ("val", "test")})
        if self.facts_type is not None:
            assert isinstance(facts, self.facts_type)
            self._facts = facts.to_state()

    def on_fit_start(self) -> None:
        """Log short epochs, too; compile what is trained."""
        trainer: Any = self.trainer  # Lightning does not declare the attribute
        if trainer.precision == "16-true":
            raise ModelError(
                "`trainer.precision` must be bf16-mixed, 16-mixed, bf16-true or 32-true to train, but is 16-true "
                "instead: weights in fp16 lose most of their updates, and the optimizer's divisions overflow."
            )
        per_epoch, _ = training_steps(trainer, self.data.batches_per_epoch())
        trainer.log_every_n_steps = min(trainer.log_every_n_steps, per_epoch)  # else a short epoch would log nothing
        if self.compile_model:
            self.compile_pass()

    def compile_pass(self) -> None:
        """Compile the pass that is trained; by default all of the model, in place."""
        self.model.compile()

    def on_train_batch_start(self, batch: BatchT, batch_idx: int) -> None:
        """Seed this step (dropout, mixing), so that it depends only on where in the training it is."""
        seed_all(self.seed, self.current_epoch, batch_idx, self.global_rank)

    def training_step(self, batch: BatchT, batch_idx: int) -> Tensor | None:
        """Compute the loss of a training batch."""
        if self.optimization.lora is not None:  # here, for tasks set the mode of parts when a batch starts
            rest_statistics(self.model)
        return self.shared_step(batch, "train")

    def validation_step(self, batch: BatchT, batch_idx: int) -> None:
        """Compute loss and metrics of a validation batch."""
        self.shared_step(batch, "val")

    def test_step(self, batch: BatchT, batch_idx: int) -> None:
        """Compute loss and metrics of a test batch."""
        self.shared_step(batch, "test")

    def log_loss(self, loss: Tensor, split: str, *, size: int) -> None:
        """Log the loss of a batch of `size` items: of each step in training, of the whole split, at its end, elsewhere.

        A batch in which no item has a loss is logged, too: all processes log together, and wait for each other.
        """
        if split == "train":
            self.log("train/loss", loss.detach(), prog_bar=True, batch_size=max(1, size), sync_dist=True)
            return
        mean = self.mean_losses[f"{split}_loss"]
        assert isinstance(mean, MeanMetric)
        mean.update(loss.detach(), weight=size)

    def on_validation_epoch_end(self) -> None:
        """Log the loss of the split."""
        self._log_mean_loss("val")

    def on_test_epoch_end(self) -> None:
        """Log the loss of the split."""
        self._log_mean_loss("test")

    def without_loss(self, split: str) -> str:
        """The message about a split of which no item has a loss."""
        return f"No item that was read has a loss, so that there is no {split}/loss."

    def _log_mean_loss(self, split: str) -> None:
        """Log the mean loss of a split; the mean of nothing is told, once, and not logged."""
        name, mean = f"{split}/loss", self.mean_losses[f"{split}_loss"]
        assert isinstance(mean, MeanMetric)
        with mean.sync_context():  # over all processes
            has_items = float(mean.weight) > 0
        if has_items:
            self.log(name, mean, prog_bar=True)
            return
        mean.reset()
        if self.global_rank == 0 and split not in self._told:
            print(self.without_loss(split), file=sys.stderr, flush=True)
        self._told.add(split)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """The optimizer, with warm-up and cosine over the whole training."""
        steps_per_epoch, total = training_steps(self.trainer, self.data.batches_per_epoch())
        configured = configure(
            self.model,
            self.optimization,
            steps_per_epoch=steps_per_epoch,
            total_steps=total,
            lr_shares=self.lr_shares(),
        )
        optimizer = configured["optimizer"]
        assert isinstance(optimizer, Optimizer)
        sizes = [len(group["params"]) for group in optimizer.param_groups]
        if self._state_groups and sizes != self._state_groups:
            raise ModelError(
                "the state must be of an optimizer with the same groups of parameters, but is of another: "
                "`layer_decay`, a `weight_decay` of 0 and what freezes or slows a part of the model (`lr_share`, "
                "`frozen`) cannot change when a training goes on. Restore them, or train anew from the model's "
                "directory."
            )
        self._hyperparameters = hyperparameters(optimizer)
        return configured

    def on_train_start(self) -> None:
        """Let a changed learning rate, decay or schedule take effect in a training that goes on."""
        for optimizer in self.trainer.optimizers:
            schedulers = [config.scheduler for config in self.trainer.lr_scheduler_configs]
            set_hyperparameters(optimizer, schedulers, self._hyperparameters)
