"""How far the scores of a closed list of answers are from what people answered.

r questions, n tokens of one, V vocabulary, W width of their states, A answers of the list, h heads, m picture tokens, y
and x rows and columns of patches.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int64
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
        return _mean(losses, weights)


def bag_of_words_loss(
    first: Float[Tensor, "r W"],
    embedding: Float[Tensor, "V W"],
    questions: Int64[Tensor, "r n"],
    attention_mask: Bool[Tensor, "r n"],
    *,
    weights: Float[Tensor, " r"],
) -> Float[Tensor, ""]:
    """How little the token that answers knows of the question's words, in nats: 0 where it tells all of them alike.

    Words that only matter together with what is seen, such as "left" or "above" in "is this left of that?", are no help
    for as long as the rest is not there, and so are not read: the training stays at guessing.

    Args:
        first: Its state.
        embedding: Of the vocabulary, by which the words are told.
        questions: As the model read them: the first token and the last of each are no words.
        attention_mask: False where a token is padding.
        weights: How much each question counts.

    Source: Zhao et al. 2017, "Learning Discourse-level Diversity for Neural Dialog Models using Conditional Variational
    Autoencoders", section 3.3: the bag-of-word loss.
    """
    words = attention_mask & attention_mask.roll(-1, dims=1)  # not the last
    words[:, 0] = words[:, -1] = False
    wanted = torch.zeros(len(questions), len(embedding), device=first.device)
    wanted.scatter_add_(1, questions, words.float()).clamp_(max=1)
    shares = wanted / wanted.sum(dim=1, keepdim=True).clamp(min=1)
    told = (first @ embedding.T).float().log_softmax(dim=1)
    losses = (shares * (shares.clamp(min=1e-9).log() - told)).sum(dim=1)
    return _mean(losses, weights)


def pointing_loss(
    looks: Sequence[Float[Tensor, "r h 1 m"]], inside: Bool[Tensor, "r 2 2 y x"], *, weights: Float[Tensor, " r"]
) -> Float[Tensor, ""]:
    """How little of the last looks goes where it should: the mean of -log of that share, in nats, of each look.

    The last look is to go to what the answer is about, the one before it to what the question names: so what is found
    by the words is there to be reasoned from, and what was reasoned is there to be told.

    Args:
        looks: Of the last blocks, in their order, the attention of one row of each question to the picture's tokens, of
            which the patches are the last.
        inside: The patches of what each answer is about, of two things, and of what its question names; where there are
            none, the look does not count.
        weights: How much each question counts.

    Source: Liu et al. 2017, "Attention correctness in neural image captioning", equation 9, for boxes.
    """
    losses = [
        _missed(look, things, weights=weights)
        for look, things in zip(reversed(looks), inside.unbind(dim=1), strict=False)  # one block has but the last
    ]
    return torch.stack(losses).sum()


def _missed(
    look: Float[Tensor, "r h 1 m"], things: Bool[Tensor, "r 2 y x"], *, weights: Float[Tensor, " r"]
) -> Float[Tensor, ""]:
    """Of one look. One half of the heads is to look at the first thing, the other at the second.

    Were their looks mixed, nothing could be told of which is where.
    """
    patches = things.flatten(2)  # (r, 2, y x)
    halves = [half.mean(dim=1) for half in look[:, :, 0].tensor_split(2, dim=1) if half.shape[1]]
    losses = [
        -(half[:, -patches.shape[2] :] * of_one).sum(dim=1).clamp(min=1e-6).log()
        for half, of_one in zip(halves, patches.unbind(dim=1), strict=False)  # a single head looks at the first
    ]
    return _mean(torch.stack(losses).mean(dim=0), weights * patches.any(dim=2).all(dim=1))


def _mean(losses: Float[Tensor, " r"], weights: Float[Tensor, " r"]) -> Float[Tensor, ""]:
    """By weight; 0 where there is none."""
    return (losses * weights.float()).sum() / weights.float().sum().clamp(min=1e-9)
