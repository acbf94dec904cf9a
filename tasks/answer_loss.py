"""How far the scores of a closed list of answers are from what people answered.

r questions, A answers of the list, h heads, m picture tokens, y and x rows and columns of patches.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn


class ClosedLoss(nn.Module):
    """Cross-entropy against how far people agreed on each answer, with label smoothing in training."""

    def __init__(self, *, label_smoothing: float) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing

    def forward(
        self, logits: Float[Tensor, "r A"], targets: Float[Tensor, "r A"], *, weights: Float[Tensor, " r"]
    ) -> Float[Tensor, ""]:
        """The mean over the questions, in float32, in nats.

        Args:
            logits: The scores of the answers.
            targets: How right each answer is, from 0 to 1; what a question has of it in all is shared out, so that the
                shares are 1 together.
            weights: How much each question counts; where none does, the mean is 0.
        """
        smoothing = self.label_smoothing if self.training else 0.0
        shares = targets.float()
        shares = shares / shares.sum(dim=1, keepdim=True).clamp(min=1e-9)
        shares = (1 - smoothing) * shares + smoothing / shares.shape[1]
        losses = -(shares * logits.float().log_softmax(dim=1)).sum(dim=1)  # (r,)
        return (losses * weights.float()).sum() / weights.float().sum().clamp(min=1e-9)


def pointing_loss(
    looks: Float[Tensor, "r h 1 m"], inside: Bool[Tensor, "r 2 y x"], *, weights: Float[Tensor, " r"]
) -> Float[Tensor, ""]:
    """How little of a look goes to the patches that a question is about: the mean of -log of that share, in nats.

    One half of the heads is to look at the first thing, the other at the second: were their looks mixed, nothing could
    be told of which is where.

    Args:
        looks: The attention of one row of each question to the picture's tokens, of which the patches are the last.
        inside: The patches that each is about, of two things; a question without any does not count.
        weights: How much each question counts.

    Source: Liu et al. 2017, "Attention correctness in neural image captioning", equation 9, for boxes.
    """
    patches = inside.flatten(2)  # (r, 2, y x)
    halves = [half.mean(dim=1) for half in looks[:, :, 0].tensor_split(2, dim=1) if half.shape[1]]
    losses = [
        -(half[:, -patches.shape[2] :] * of_one).sum(dim=1).clamp(min=1e-6).log()
        for half, of_one in zip(halves, patches.unbind(dim=1), strict=False)  # a single head looks at the first
    ]
    counts = weights.float() * patches.any(dim=2).all(dim=1)
    return (torch.stack(losses).mean(dim=0) * counts).sum() / counts.sum().clamp(min=1e-9)
