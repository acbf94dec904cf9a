"""The training losses of captions, speech and answers. Each is a mean in float32, in nats.

r texts or questions; n tokens, V vocabulary; A answers of a closed list, W width of a question's states; m encoder
frames or image tokens, h heads, y and x rows and columns of patches.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

_IGNORED = -100
"""The target of a token that has no loss."""


class ShiftedTargets(NamedTuple):
    """Texts for teacher forcing: the tokens a decoder reads, and the token it is to predict after each."""

    tokens: Int64[Tensor, "r n"]
    """The texts without their last tokens."""

    attention_mask: Bool[Tensor, "r n"]
    """False where a token is padding."""

    targets: Int64[Tensor, "r n"]
    """The texts without their first tokens."""

    wanted: Bool[Tensor, "r n"]
    """True where the target has a loss: neither padding nor part of the prompt."""


def shift_targets(
    tokens: Int64[Tensor, "r t"], attention_mask: Bool[Tensor, "r t"], *, prompt: Sequence[int] = ()
) -> ShiftedTargets:
    """Make the inputs and targets of teacher forcing.

    Args:
        tokens: From the start token to the end token, then padding.
        attention_mask: False where a token is padding.
        prompt: Tokens to insert between the start token and each text.
    """
    if prompt:
        rows = torch.tensor(prompt, dtype=torch.int64, device=tokens.device).expand(len(tokens), -1)
        tokens = torch.cat([tokens[:, :1], rows, tokens[:, 1:]], dim=1)  # (r, t + p)
        given = torch.ones_like(rows, dtype=torch.bool)
        attention_mask = torch.cat([attention_mask[:, :1], given, attention_mask[:, 1:]], dim=1)
    wanted = attention_mask[:, 1:].clone()
    wanted[:, : len(prompt)] = False
    return ShiftedTargets(tokens[:, :-1], attention_mask[:, :-1], tokens[:, 1:], wanted)


class SmoothedLoss(nn.Module):
    """A loss with label smoothing in training."""

    def __init__(self, *, label_smoothing: float) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing

    @property
    def smoothing(self) -> float:
        """The label smoothing that is in force."""
        return self.label_smoothing if self.training else 0.0


class TextLoss(SmoothedLoss):
    """Cross-entropy of the wanted tokens."""

    def forward(
        self,
        logits: Float[Tensor, "r n V"],
        targets: Int64[Tensor, "r n"],
        *,
        wanted: Bool[Tensor, "r n"],
        weights: Float[Tensor, " r"] | None = None,
    ) -> Float[Tensor, ""]:
        """The mean over the wanted tokens.

        Args:
            logits: The scores of the next token.
            targets: The next token.
            wanted: True for the tokens that have a loss.
            weights: The weight of each text's tokens; equal where None. The mean is 0 where all are 0.
        """
        losses = F.cross_entropy(
            logits.flatten(0, 1).float(),
            targets.masked_fill(~wanted, _IGNORED).flatten(),
            ignore_index=_IGNORED,
            label_smoothing=self.smoothing,
            reduction="mean" if weights is None else "none",
        )
        return losses if weights is None else _weighted_mean(losses, (weights.float()[:, None] * wanted).flatten())


class SpeechOutput(NamedTuple):
    """The output of a recognizer under teacher forcing."""

    logits: Float[Tensor, "r n V"]
    """The scores of the next token."""

    ctc: Float[Tensor, "r m V"] | None
    """Log-probabilities of the CTC head; None where the model has none."""


class SpeechLosses(NamedTuple):
    """The losses of a recognizer."""

    total: Float[Tensor, ""]
    """The weighted sum that is minimized."""

    attention: Float[Tensor, ""]
    """The decoder's cross-entropy."""

    ctc: Float[Tensor, ""] | None
    """The loss of the CTC head; None where there is none."""


class TranscribeLoss(nn.Module):
    """The weighted sum of the decoder's cross-entropy and the CTC loss.

    Source: Watanabe et al. 2017, "Hybrid CTC/Attention Architecture for End-to-End Speech Recognition", section II-C.
    """

    def __init__(self, *, ctc_weight: float, label_smoothing: float, blank: int, end: int) -> None:
        """Set the weights.

        Args:
            ctc_weight: Share of the CTC loss in the sum, 0 to 1.
            label_smoothing: Share of each true token's probability that is spread over the vocabulary, in training.
            blank: The blank token of the CTC head.
            end: The token that ends a text, which is no target of the CTC head.
        """
        super().__init__()
        self.ctc_weight, self.blank, self.end = ctc_weight, blank, end
        self.attention = TextLoss(label_smoothing=label_smoothing)

    def forward(self, output: SpeechOutput, texts: ShiftedTargets, *, frames: Int64[Tensor, " r"]) -> SpeechLosses:
        """Both losses and their weighted sum.

        Args:
            output: The output of the model.
            texts: The targets.
            frames: Encoder frames of each recording, without padding.
        """
        attention: Tensor = self.attention(output.logits, texts.targets, wanted=texts.wanted)
        if output.ctc is None:
            return SpeechLosses(attention, attention, None)
        is_text = texts.wanted & (texts.targets != self.end)
        ctc = ctc_loss(output.ctc, texts.targets, is_text, frames, blank=self.blank)
        return SpeechLosses((1 - self.ctc_weight) * attention + self.ctc_weight * ctc, attention, ctc)


def ctc_loss(
    log_probs: Float[Tensor, "r m V"],
    targets: Int64[Tensor, "r n"],
    wanted: Bool[Tensor, "r n"],
    frames: Int64[Tensor, " r"],
    *,
    blank: int,
) -> Float[Tensor, ""]:
    """The negative log-probability of the texts over all alignments, as a mean over their tokens.

    A recording with fewer frames than its text needs has no alignment: its loss and its gradient are 0.

    Args:
        log_probs: At each encoder frame.
        targets: Tokens.
        wanted: True for the tokens of the text.
        frames: Encoder frames of each recording, without padding.
        blank: The blank token.
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


class ClosedLoss(SmoothedLoss):
    """Cross-entropy against the shares of people's votes for the answers of a closed list."""

    def forward(
        self, logits: Float[Tensor, "r A"], targets: Float[Tensor, "r A"], *, weights: Float[Tensor, " r"]
    ) -> Float[Tensor, ""]:
        """The weighted mean over the questions.

        Args:
            logits: The scores of the answers.
            targets: The share of the votes for each answer, 0 to 1; normalized here to a sum of 1 for each question, as
                some people may have given an answer that the list lacks.
            weights: The weight of each question; the mean is 0 where all are 0.
        """
        shares = targets.float()
        shares = shares / shares.sum(dim=1, keepdim=True).clamp(min=1e-9)
        shares = (1 - self.smoothing) * shares + self.smoothing / shares.shape[1]
        losses = -(shares * logits.float().log_softmax(dim=1)).sum(dim=1)  # (r,)
        return _weighted_mean(losses, weights)


def bag_of_words_loss(
    first: Float[Tensor, "r W"],
    embedding: Float[Tensor, "V W"],
    questions: Int64[Tensor, "r n"],
    attention_mask: Bool[Tensor, "r n"],
    *,
    weights: Float[Tensor, " r"],
) -> Float[Tensor, ""]:
    """How badly the state of the answering token predicts the words of its question; 0 where all are equally likely.

    A word that only matters together with the image, such as "left" in "is this left of that?", is of no use until the
    rest is learned. Without this loss the model never reads it, and training stays at guessing.

    Args:
        first: The state of each question's first token.
        embedding: Of the vocabulary, by which the words are predicted.
        questions: As the model reads them: the first token and the last of each are no words.
        attention_mask: False where a token is padding.
        weights: The weight of each question.

    Source: Zhao et al. 2017, "Learning Discourse-level Diversity for Neural Dialog Models using Conditional Variational
    Autoencoders", section 3.3: the bag-of-word loss.
    """
    words = attention_mask & attention_mask.roll(-1, dims=1)  # not the last
    words[:, 0] = words[:, -1] = False
    wanted = torch.zeros(len(questions), len(embedding), device=first.device)
    wanted.scatter_add_(1, questions, words.float()).clamp_(max=1)
    shares = wanted / wanted.sum(dim=1, keepdim=True).clamp(min=1)
    predicted = (first @ embedding.T).float().log_softmax(dim=1)
    losses = (shares * (shares.clamp(min=1e-9).log() - predicted)).sum(dim=1)
    return _weighted_mean(losses, weights)


def pointing_loss(
    attention: Sequence[Float[Tensor, "r h 1 m"]], inside: Bool[Tensor, "r 2 2 y x"], *, weights: Float[Tensor, " r"]
) -> Float[Tensor, ""]:
    """The mean of -log of the attention inside the boxes, summed over the last two blocks.

    The last block is to attend to what the answer is about, the block before it to what the question names.

    Args:
        attention: Of the last blocks, in their order: the attention of each question's first token to the image tokens,
            of which the patches are the last.
        inside: The patches of what each answer is about (two objects), and of what its question names; a question
            without any has no loss.
        weights: The weight of each question.

    Source: Liu et al. 2017, "Attention correctness in neural image captioning", equation 9, for boxes.
    """
    losses = [
        _attention_outside(block, objects, weights=weights)
        for block, objects in zip(reversed(attention), inside.unbind(dim=1), strict=False)  # depth 1 has one block only
    ]
    return torch.stack(losses).sum()


def _attention_outside(
    attention: Float[Tensor, "r h 1 m"], objects: Bool[Tensor, "r 2 y x"], *, weights: Float[Tensor, " r"]
) -> Float[Tensor, ""]:
    """The loss of one block. One half of the heads is to attend to the first object, the other half to the second.

    If all heads attended to both, the model could not tell which object is where.
    """
    patches = objects.flatten(2)  # (r, 2, y x)
    halves = [half.mean(dim=1) for half in attention[:, :, 0].tensor_split(2, dim=1) if half.shape[1]]
    losses = [
        -(half[:, -patches.shape[2] :] * of_one).sum(dim=1).clamp(min=1e-6).log()
        for half, of_one in zip(halves, patches.unbind(dim=1), strict=False)  # a single head attends to the first
    ]
    return _weighted_mean(torch.stack(losses).mean(dim=0), weights * patches.any(dim=2).all(dim=1))


def _weighted_mean(losses: Float[Tensor, " r"], weights: Float[Tensor, " r"]) -> Float[Tensor, ""]:
    """The weighted mean; 0 where all weights are 0."""
    return (losses * weights.float()).sum() / weights.float().sum().clamp(min=1e-9)
