"""Teacher forcing: each token of a caption is predicted from the picture and the true tokens before it.

r texts, n tokens that are predicted, V vocabulary.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

_IGNORED = -100
"""What stands for a token that is no target."""


class ShiftedTargets(NamedTuple):
    """Texts as the decoder reads them, and what it is to say after each token."""

    tokens: Int64[Tensor, "r n"]
    """The texts without their last tokens."""

    attention_mask: Bool[Tensor, "r n"]
    """False where a token is padding."""

    targets: Int64[Tensor, "r n"]
    """The texts without their first tokens."""

    wanted: Bool[Tensor, "r n"]
    """Where the target counts: no padding, and not of the prompt, which is given."""


def shift_targets(
    tokens: Int64[Tensor, "r t"], attention_mask: Bool[Tensor, "r t"], *, prompt: Int64[Tensor, " p"] | None = None
) -> ShiftedTargets:
    """What to learn from texts.

    Args:
        tokens: From the start token to the end token, then padding.
        attention_mask: False where a token is padding.
        prompt: What to put between the start token and each text.
    """
    given = 0
    if prompt is not None and len(prompt):
        given = len(prompt)
        rows = prompt.expand(len(tokens), -1)
        tokens = torch.cat([tokens[:, :1], rows, tokens[:, 1:]], dim=1)  # (r, t + p)
        attention_mask = torch.cat(
            [attention_mask[:, :1], torch.ones_like(rows, dtype=torch.bool), attention_mask[:, 1:]], dim=1
        )
    wanted = attention_mask[:, 1:].clone()
    wanted[:, :given] = False
    return ShiftedTargets(tokens[:, :-1], attention_mask[:, :-1], tokens[:, 1:], wanted)


class TextLoss(nn.Module):
    """Cross-entropy of the tokens that count, with label smoothing in training."""

    def __init__(self, *, label_smoothing: float) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing

    def forward(
        self,
        logits: Float[Tensor, "r n V"],
        targets: Int64[Tensor, "r n"],
        *,
        wanted: Bool[Tensor, "r n"],
        weights: Float[Tensor, " r"] | None = None,
    ) -> Float[Tensor, ""]:
        """The mean over the tokens that count, in float32, in nats.

        Args:
            logits: The scores of what follows.
            targets: What follows.
            wanted: Which tokens count.
            weights: How much each text's do; all the same where None. Where none does, the mean is 0.
        """
        smoothing = self.label_smoothing if self.training else 0.0
        labels = targets.masked_fill(~wanted, _IGNORED)
        reduction = "mean" if weights is None else "none"
        found = F.cross_entropy(
            logits.flatten(0, 1).float(),
            labels.flatten(),
            ignore_index=_IGNORED,
            label_smoothing=smoothing,
            reduction=reduction,
        )
        if weights is None:
            return found
        shares = (weights.float()[:, None] * wanted).flatten()  # (r n,)
        return (found * shares).sum() / shares.sum().clamp(min=1e-9)
