"""What tasks with an encoder and a vocabulary share: the encoder's pace, the compiled pass, the checkpoint's words."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from multiattn.checks import require
from multiattn.errors import ModelError
from multiattn.inputs import Tokenizer

from .base import BaseTask
from .optim import Optimization
from .vocabulary import keep_vocabulary, require_vocabulary


class TextTask(BaseTask):
    """A training in which an encoder learns at its own pace, or nothing, and texts have a vocabulary.

    A subclass gives the `tokenizer`: None until the data has made one.
    """

    texts: str
    """What a vocabulary is learnt from, for messages."""

    tokenizer: Tokenizer | None

    def __init__(
        self,
        *,
        encoder_lr_share: float,
        unfreeze_epoch: int,
        logits: Callable[..., Tensor],
        optimization: Optimization | None,
        compile: bool,
    ) -> None:
        """Say how the encoder learns; what the options mean stands in the tasks themselves.

        Args:
            encoder_lr_share: The encoder learns at this share of the learning rate; 0 freezes it.
            unfreeze_epoch: The encoder is frozen before this epoch (from 0).
            logits: The pass that is trained, and compiled where `compile` says so.
            optimization: AdamW and its schedule.
            compile: Compile that pass.
        """
        super().__init__(optimization=optimization, compile=compile)
        require(
            0 <= encoder_lr_share < math.inf,
            "encoder_lr_share",
            must="at least 0 and finite",
            value=encoder_lr_share,
        )
        require(unfreeze_epoch >= 0, "unfreeze_epoch", must="at least 0", value=unfreeze_epoch)
        require(
            encoder_lr_share > 0 or unfreeze_epoch == 0,
            "unfreeze_epoch",
            must="0 where `encoder_lr_share` is 0, which freezes the encoder for good",
            value=unfreeze_epoch,
        )
        self.encoder_lr_share, self.unfreeze_epoch = encoder_lr_share, unfreeze_epoch
        self._pass = self._logits = logits

    @property
    def encoder_is_frozen(self) -> bool:
        """Whether the encoder learns nothing now."""
        return self.encoder_lr_share == 0 or self.current_epoch < self.unfreeze_epoch

    def lr_shares(self) -> Mapping[str, float]:
        """The encoder's."""
        return {"encoder": self.encoder_lr_share}

    def require_pace(self, data: Any) -> None:
        """Make sure that the encoder can learn as it is said to.

        Raises:
            ModelError: Its features are kept, or processes would wait for gradients that it does not have.
        """
        if data.features is not None and self.encoder_lr_share > 0:
            raise ModelError(
                "`encoder_lr_share` must be 0 with `features`, which an encoder that stays as it is has computed, but "
                f"is {self.encoder_lr_share} instead."
            )
        require_every_gradient(self.trainer, unfreeze_epoch=self.unfreeze_epoch)

    def on_fit_start(self) -> None:
        """Compile the pass that is trained, alone: a decode, whose tokens come one by one, is not the same graph."""
        if self.compile_model:
            self._logits = torch.compile(self._pass)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """As all tasks; and keep a frozen encoder in eval mode."""
        super().on_train_batch_start(batch, batch_idx)
        self.set_mode(self.model.encoder, not self.encoder_is_frozen)  # type: ignore[union-attr, arg-type]

    @staticmethod
    def set_mode(part: torch.nn.Module, mode: bool) -> None:
        """Put a part of the model into training mode, or into eval mode."""
        if part.training != mode:
            part.train(mode)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the vocabulary, without which the weights mean nothing."""
        keep_vocabulary(checkpoint, self.tokenizer)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Make sure that the state is of this vocabulary.

        Raises:
            ModelError: It is not.
        """
        require_vocabulary(checkpoint, self.tokenizer, texts=self.texts)


def require_every_gradient(trainer: Any, *, unfreeze_epoch: int) -> None:
    """Raise unless each weight has a gradient in every step, or a training of several processes does not mind.

    Args:
        trainer: Lightning's.
        unfreeze_epoch: Before which an encoder has none.

    Raises:
        ModelError: The processes would wait for them, and stop with an error of torch's.
    """
    forgiving = getattr(trainer.strategy, "_ddp_kwargs", {}).get("find_unused_parameters")
    if trainer.world_size > 1 and unfreeze_epoch and not forgiving:
        raise ModelError(
            "`unfreeze_epoch` must be 0 with several processes that wait for every gradient, but is "
            f"{unfreeze_epoch} instead. Or set `trainer.strategy` to ddp_find_unused_parameters_true."
        )
