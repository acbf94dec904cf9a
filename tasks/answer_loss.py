"""How far the scores of a closed list of answers are from what people answered.

r questions, A answers of the list.
"""

from jaxtyping import Float
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
