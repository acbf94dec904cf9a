"""Parts of a model that keep their values: for the whole training or its first epochs, by name or as the encoder."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import TYPE_CHECKING, ClassVar

import lightning.pytorch as pl
from torch import nn

from multiattn.checks import require
from multiattn.errors import ModelError

from .sharding import is_sharding

if TYPE_CHECKING:
    from .contracts import TextFacts


@dataclass(frozen=True)
class EncoderPace:
    """How fast the encoder learns."""

    option: ClassVar[str]
    """The name of these options in the YAML file, for messages."""

    lr_share: float = 1.0
    """The encoder learns at this share of the learning rate; 0 freezes it."""

    unfreeze_epoch: int = 0
    """The encoder is frozen before this epoch (from 0)."""

    def __post_init__(self) -> None:
        """Raise ModelError where a value is out of range."""
        share, epoch, name = self.lr_share, self.unfreeze_epoch, self.option
        require(0 <= share < math.inf, f"{name}.lr_share", must="at least 0 and finite", value=share)
        require(epoch >= 0, f"{name}.unfreeze_epoch", must="at least 0", value=epoch)
        require(
            share > 0 or epoch == 0,
            f"{name}.unfreeze_epoch",
            must=f"0 where `{name}.lr_share` is 0, which freezes the encoder for good",
            value=epoch,
        )

    def is_frozen(self, epoch: int) -> bool:
        """Whether the encoder learns nothing in this epoch."""
        return self.lr_share == 0 or epoch < self.unfreeze_epoch


def named_weights(model: nn.Module, names: Sequence[str], *, option: str) -> list[nn.Parameter]:
    """The weights that an option names.

    Args:
        model: Has the weights.
        names: Of parts of it or of single weights, as `state_dict` has them, with `*` for any.
        option: The option, for messages.

    Raises:
        ModelError: There is nothing of a name.
    """
    weights: list[nn.Parameter] = []
    for name in names:
        found = [one for key, one in model.named_parameters() if fnmatch(key, name) or fnmatch(key, f"{name}.*")]
        if not found:
            parts = ", ".join(part for part, _ in model.named_children())
            raise ModelError(
                f"`{option}` must name parts of the model, but has {name!r} instead, of which there is none. Begin "
                f"with one of {parts}."
            )
        weights += found
    return weights


def freeze(model: nn.Module, names: Sequence[str]) -> None:
    """Let the weights that `frozen` names keep their values; see `named_weights`."""
    for weight in named_weights(model, names, option="frozen"):
        weight.requires_grad_(False)


def frozen_modules(model: nn.Module, names: Sequence[str]) -> list[nn.Module]:
    """The modules of a model that `freeze` names."""
    return [module for key, module in model.named_modules() if any(fnmatch(key, name) for name in names)]


def set_mode(part: nn.Module, mode: bool) -> None:
    """Put a part of the model into training mode (True) or eval mode, where it is in the other one."""
    if part.training != mode:
        part.train(mode)


def require_every_gradient(trainer: pl.Trainer, pace: EncoderPace) -> None:
    """Check that every weight has a gradient in every step, or that a training of several processes tolerates it.

    Raises:
        ModelError: The processes would wait for a gradient, and stop with an error of torch.
    """
    tolerant = is_sharding(trainer) or getattr(trainer.strategy, "_ddp_kwargs", {}).get("find_unused_parameters")
    if trainer.world_size > 1 and pace.unfreeze_epoch and not tolerant:
        raise ModelError(
            f"`{pace.option}.unfreeze_epoch` must be 0 with several processes that wait for every gradient, but is "
            f"{pace.unfreeze_epoch} instead. Or set `trainer.strategy` to ddp_find_unused_parameters_true."
        )


def require_pace(facts: "TextFacts", pace: EncoderPace, trainer: pl.Trainer | None) -> None:
    """Check that the encoder can learn as its options say.

    Raises:
        ModelError: Its features are stored, or several processes would wait for gradients that it does not have.
    """
    if facts.stores_features and pace.lr_share > 0:
        raise ModelError(
            f"`{pace.option}.lr_share` must be 0 with `features`, which a frozen encoder has computed, but is "
            f"{pace.lr_share} instead."
        )
    if trainer is not None:
        require_every_gradient(trainer, pace)
