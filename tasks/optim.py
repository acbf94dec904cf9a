"""The optimizer of all tasks: AdamW or another by name, layer-wise decay of the rate, warm-up and cosine by step."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from inspect import signature
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import GradientAccumulationScheduler
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from timm.optim._optim_factory import create_optimizer_v2, get_optimizer_info, list_optimizers
from timm.optim._param_groups import param_groups_layer_decay, param_groups_weight_decay
from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from multiattn.checks import require, require_each
from multiattn.errors import ModelError, reason_of

from .lora import LoRA

_OF_GROUPS = frozenset(
    name
    for name in signature(create_optimizer_v2).parameters
    if name not in ("model_or_params", "opt", "lr", "momentum", "foreach", "kwargs")
)
"""Arguments of timm's function by which it makes groups of weights; given groups, it ignores them."""


@dataclass(frozen=True)
class Optimization:
    """The optimizer's hyperparameters. Every value can be set in the YAML under `model.init_args.optimization`."""

    lr: float = 1e-3
    """Learning rate of the last layer at the end of the warm-up."""

    weight_decay: float = 0.05
    """Weight decay of matrices; biases, norms and position tables have none."""

    betas: tuple[float, float] = (0.9, 0.999)
    """Decay of AdamW's averages of the gradient and of its square."""

    layer_decay: float = 1.0
    """Each layer learns at this share of the rate of the one above it; below 1 for fine-tuning, e.g. 0.75."""

    warmup_epochs: float = 1.0
    """Epochs over which the learning rate grows linearly from 0; at most half of the training."""

    final_lr_share: float = 0.01
    """Learning rate at the end of the cosine, as a share of `lr`."""

    optimizer: str = "adamw"
    """`adamw` is torch's; any other name is one of timm's optimizers (`timm.optim.list_optimizers()`): `sgd`, `lamb`,
    `lion`, `muon`, ..."""

    optimizer_options: dict[str, Any] | None = None
    """Further arguments of another optimizer, e.g. `momentum`."""

    lora: LoRA | None = None
    """Learn adapters beside the weights of a trained model, instead of the weights; needs `pip install
    multiattn[lora]`."""

    def __post_init__(self) -> None:
        """Raise ModelError where a value is out of range."""
        rates = {"lr": self.lr, "weight_decay": self.weight_decay, "warmup_epochs": self.warmup_epochs}
        require_each(rates, finite=True)
        require(all(0 <= beta < 1 for beta in self.betas), "betas", must="at least 0 and below 1", value=self.betas)
        require(0 < self.layer_decay <= 1, "layer_decay", must="above 0 and up to 1", value=self.layer_decay)
        require(0 <= self.final_lr_share <= 1, "final_lr_share", must="from 0 to 1", value=self.final_lr_share)
        if self.optimizer != "adamw":
            _require_known(self.optimizer)
        elif self.optimizer_options:
            raise ModelError("`optimizer_options` must come with another `optimizer` than adamw. Leave them out.")


def lr_factor(step: int, *, warmup_steps: int, total_steps: int, final: float) -> float:
    """The learning rate of a step (from 0) as a share of the highest: linear warm-up, then half a cosine to `final`.

    Source: Loshchilov & Hutter 2017, without restarts.
    """
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    progress = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * progress))


def configure(
    model: nn.Module,
    optimization: Optimization,
    *,
    steps_per_epoch: float,
    total_steps: int,
    lr_shares: Mapping[str, float] | None = None,
) -> OptimizerLRSchedulerConfig:
    """Make AdamW and its schedule for a model, as Lightning's `configure_optimizers` returns them.

    Args:
        model: With timm's `group_matcher` and `no_weight_decay`.
        optimization: The hyperparameters.
        steps_per_epoch: Optimizer steps per epoch.
        total_steps: Optimizer steps of the whole training.
        lr_shares: The share of the learning rate of a part of the model, or of a weight, by its name, e.g. `encoder`.

    Raises:
        ModelError: Nothing of the model learns, or there is no such optimizer.
    """
    no_decay: set[str] = getattr(model, "no_weight_decay", set)()
    if optimization.layer_decay < 1:
        groups = param_groups_layer_decay(
            model,
            weight_decay=optimization.weight_decay,
            no_weight_decay_list=no_decay,
            layer_decay=optimization.layer_decay,
        )
        for group in groups:
            group["lr"] = optimization.lr * group.pop("lr_scale")
    else:
        groups = param_groups_weight_decay(model, optimization.weight_decay, no_weight_decay_list=no_decay)
    if not any(group["params"] for group in groups):
        raise ModelError(
            "a model must have something to learn, but all of its weights are frozen. Let a part learn: see `lr_share` "
            "and `frozen`."
        )
    for part, share in (lr_shares or {}).items():
        groups = _slowed(groups, _inside(model, part), share, lr=optimization.lr)
    optimizer = _optimizer(groups, optimization)
    warmup_steps = min(round(optimization.warmup_epochs * steps_per_epoch), total_steps // 2)
    factor = partial(lr_factor, warmup_steps=warmup_steps, total_steps=total_steps, final=optimization.final_lr_share)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": LambdaLR(optimizer, factor), "interval": "step"}}


def training_steps(trainer: pl.Trainer, batches: float) -> tuple[int, int]:
    """Optimizer steps of the first epoch, and of the whole training.

    Not `Trainer.estimated_stepping_batches`: that makes the training loader before the checkpoint is read, and
    Lightning then never hands the loader its state.

    Args:
        trainer: Says when the training ends.
        batches: Training batches of an epoch, in each process.

    Raises:
        ModelError: It does not.
    """
    limit = trainer.limit_train_batches
    batches = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
    callbacks = getattr(trainer, "callbacks", ())  # which Lightning does not declare
    schedule = next((one for one in callbacks if isinstance(one, GradientAccumulationScheduler)), None)

    def steps(epoch: int) -> int:
        accumulated = schedule.get_accumulate_grad_batches(epoch) if schedule else trainer.accumulate_grad_batches
        return max(1, math.ceil(batches / accumulated))

    limits = []
    if trainer.max_epochs is not None and trainer.max_epochs >= 0:
        limits.append(sum(map(steps, range(trainer.max_epochs))) if schedule else steps(0) * trainer.max_epochs)
    if trainer.max_steps >= 0:
        limits.append(trainer.max_steps)
    if not limits:
        raise ModelError("`trainer.max_epochs` or `trainer.max_steps` must say when training ends: set one of them.")
    return steps(0), min(limits)


def hyperparameters(optimizer: Optimizer) -> list[dict[str, Any]]:
    """The values of an optimizer's groups, without their parameters."""
    return [{name: value for name, value in group.items() if name != "params"} for group in optimizer.param_groups]


def set_hyperparameters(
    optimizer: Optimizer, schedulers: Sequence[object], values: Sequence[Mapping[str, Any]]
) -> None:
    """Give an optimizer that resumes its values from the configuration, in place of those that its state had.

    Torch keeps learning rates, betas and weight decay in the state of an optimizer, and the highest rates in that of
    the schedule: a changed one would have no effect. The rate is that of the schedule's current step.

    Args:
        optimizer: With the groups of the state.
        schedulers: Its schedules; those of `configure` are treated.
        values: The values of each group, as `hyperparameters` returned them before the state was loaded.
    """
    for group, new in zip(optimizer.param_groups, values, strict=True):
        group.update(new)
    for scheduler in schedulers:
        if isinstance(scheduler, LambdaLR) and scheduler.optimizer is optimizer:
            scheduler.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
            for group, base, factor in zip(
                optimizer.param_groups, scheduler.base_lrs, scheduler.lr_lambdas, strict=True
            ):
                group["lr"] = base * factor(scheduler.last_epoch)
            scheduler._last_lr = [group["lr"] for group in optimizer.param_groups]


def _require_known(name: str) -> None:
    """Raise ModelError unless timm makes an optimizer of this name that one backward pass is enough for."""
    known = [one for one in map(str, list_optimizers()) if not get_optimizer_info(one).second_order]
    if name not in known:
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else "`timm.optim.list_optimizers()` lists them."
        raise ModelError(f"`optimizer` must be one of timm's optimizers, but is {name!r} instead: {hint}")


def _optimizer(groups: list[dict[str, Any]], optimization: Optimization) -> Optimizer:
    """The optimizer of these groups.

    Raises:
        ModelError: It does not take the options, or needs a package that is not installed.
    """
    name, options = optimization.optimizer, dict(optimization.optimizer_options or {})
    if name == "adamw":
        return AdamW(groups, lr=optimization.lr, betas=optimization.betas)
    refused = [one for one in options if one in _OF_GROUPS]
    if refused:
        raise ModelError(
            f"`optimizer_options` must be arguments of {name} itself, but has `{refused[0]}` instead, which is about "
            "groups of weights. Leave it out: `optimization` makes the groups, by its `layer_decay` and `weight_decay`."
        )
    info = get_optimizer_info(name)
    if info.has_betas and info.num_betas == 2:
        options = {"betas": optimization.betas} | options
    try:
        # the groups have their own decay; this one is for groups without
        made: Optimizer = create_optimizer_v2(groups, opt=name, lr=optimization.lr, weight_decay=0.0, **options)
    except (TypeError, ValueError, AssertionError, ImportError) as error:
        raise ModelError(
            f"`optimizer` {name} cannot be made: {reason_of(error)}. Correct `optimizer_options`."
        ) from error
    return made


def _inside(model: nn.Module, part: str) -> set[int]:
    """The weights of a part."""
    return {id(weight) for name, weight in model.named_parameters() if f"{name}.".startswith(f"{part}.")}


def _slowed(groups: list[dict[str, Any]], inside: set[int], share: float, *, lr: float) -> list[dict[str, Any]]:
    """Split the groups, so that the weights inside of a part have groups with a share of the learning rate."""
    split = []
    for group in groups:
        rate = group.get("lr", lr)
        for is_inside, its_rate in ((True, rate * share), (False, rate)):
            params = [p for p in group["params"] if (id(p) in inside) == is_inside]
            if params:
                split.append(group | {"params": params, "lr": its_rate})
    return split
