"""What a recognizer learns from: the decoder's cross-entropy and, with a CTC head, the encoder's alignment, in one sum.

r texts, one a recording; n tokens that are predicted; m encoder frames, V vocabulary.
Source: Watanabe et al. 2017, "Hybrid CTC/Attention Architecture for End-to-End Speech Recognition", section II-C.
"""

from typing import NamedTuple

from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from .caption_loss import ShiftedTargets, TextLoss


class SpeechOutput(NamedTuple):
    """What a recognizer makes of a batch with the true texts before it."""

    logits: Float[Tensor, "r n V"]
    """Of what follows each token."""

    ctc: Float[Tensor, "r m V"] | None
    """Log-probabilities of the CTC head; None where the model has none."""


class Losses(NamedTuple):
    """In nats a token."""

    total: Float[Tensor, ""]
    """What goes down."""

    attention: Float[Tensor, ""]
    """The decoder's cross-entropy."""

    ctc: Float[Tensor, ""] | None
    """Of the CTC head, where there is one."""


class TranscribeLoss(nn.Module):
    """The decoder's loss and that of the CTC head, weighted."""

    def __init__(self, *, ctc_weight: float, label_smoothing: float, blank: int, end: int) -> None:
        """Say what counts how much.

        Args:
            ctc_weight: Share of the CTC loss in the sum, 0 to 1.
            label_smoothing: Share of each true token's probability that is spread over the vocabulary, in training.
            blank: The token that the CTC head means by nothing.
            end: The token that ends a text: the CTC head learns none.
        """
        super().__init__()
        self.ctc_weight, self.blank, self.end = ctc_weight, blank, end
        self.attention = TextLoss(label_smoothing=label_smoothing)

    def forward(self, heard: SpeechOutput, texts: ShiftedTargets, *, frames: Int64[Tensor, " r"]) -> Losses:
        """Both losses and their weighted sum, in float32.

        Args:
            heard: What the model said.
            texts: What it was to say.
            frames: Encoder frames of each recording that are not padding.
        """
        attention: Tensor = self.attention(heard.logits, texts.targets, wanted=texts.wanted)
        if heard.ctc is None:
            return Losses(attention, attention, None)
        ctc = ctc_loss(heard.ctc, texts.targets, texts.wanted & (texts.targets != self.end), frames, blank=self.blank)
        return Losses((1 - self.ctc_weight) * attention + self.ctc_weight * ctc, attention, ctc)


def ctc_loss(
    log_probs: Float[Tensor, "r m V"],
    targets: Int64[Tensor, "r n"],
    wanted: Bool[Tensor, "r n"],
    frames: Int64[Tensor, " r"],
    *,
    blank: int,
) -> Float[Tensor, ""]:
    """How improbable the texts are, whatever their alignment: the mean over their tokens, in nats.

    A recording with fewer frames than its text needs can have no alignment: it counts as 0 and teaches nothing.

    Args:
        log_probs: At each encoder frame.
        targets: Tokens.
        wanted: Which of them make up the text.
        frames: Of each recording.
        blank: The token that stands for nothing.
    """
    lengths = wanted.sum(dim=1)
    total = F.ctc_loss(
        log_probs.transpose(0, 1).float(),  # (m, r, V)
        targets[wanted],  # one text after the other
        frames,
        lengths,
        blank=blank,
        reduction="sum",
        zero_infinity=True,
    )
    return total / lengths.sum().clamp(min=1)
