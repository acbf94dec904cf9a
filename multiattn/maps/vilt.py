"""Where a single stream looked for each word of a question and for its answer, head by head and in all.

Notation: b pictures, r questions, n tokens of a question, m picture tokens, k = n + m tokens of the stream, l layers, h
heads, w words of a question.

Question and picture stand in one sequence: a word looks at the picture from its own tokens, and so does the answer from
the first. What they look at besides is the question.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ..attention.heads import Head
from ..models import SingleStream
from .propagation import relevance, rollout
from .readout import leaf
from .vqa_attention import Looks
from .vqa_replay import QuestionReplay


@torch.no_grad()
def stream_looks(
    model: SingleStream,
    images: Float[Tensor, "b c H W"],
    replay: QuestionReplay,
    context: Float[Tensor, "b m D"] | None,
) -> list[Looks]:
    """The looks at the picture, for each question; the rest of each row, up to 1, went to the question."""
    tap = replay.tap(model, images, select=["*"])
    replay.read(model, model.encode(images) if context is None else context, tap)
    count = replay.questions.tokens.shape[1]
    looked = torch.stack([one[:, :, :count, count:] for one in tap.weights.values()], dim=1)  # (r, l, h, n, m)
    answers = replay.answer_shares()
    return [Looks(share @ looked[i], answers[i] @ looked[i]) for i, share in enumerate(replay.questions.shares)]


def stream_rollout(
    model: SingleStream, images: Float[Tensor, "b c H W"], replay: QuestionReplay, heads: Sequence[Head] | None
) -> list[tuple[Float[Tensor, "w m"], Float[Tensor, "1 m"]]]:
    """What of each picture token reached each word of a question, and its answer."""
    tap = replay.tap(model, images, select=["*"])
    with torch.no_grad():
        replay.read(model, model.encode(images), tap)
    weights = _of_heads(list(tap.weights.values()), heads)
    return _parted(rollout(_rows(replay, weights[0].shape[-1]), weights), replay)


def stream_relevance(
    model: SingleStream, images: Float[Tensor, "b c H W"], replay: QuestionReplay, heads: Sequence[Head] | None
) -> list[tuple[Float[Tensor, "w m"], Float[Tensor, "1 m"]]]:
    """What spoke for the answer by each word of a question, and for the answer at all.

    Source: Chefer et al. 2021, "Generic attention-model explainability", section 3.1 on a single stream.
    """
    tap = replay.tap(model, images, select=["*"], gradients=True)
    with torch.inference_mode(False), torch.enable_grad():
        # weights may all be frozen; the pictures then carry the graph. Each question has gone through all blocks alone
        scores = replay.word_scores(replay.read(model, model.encode(leaf(images)), tap))
        gradients = _of_heads(list(tap.gradients(torch.cat(scores).sum()).values()), heads)
    weights = _of_heads(list(tap.weights.values()), heads)
    return _parted(relevance(_rows(replay, weights[0].shape[-1]), weights, gradients), replay)


def _of_heads(by_layer: Sequence[Tensor], heads: Sequence[Head] | None) -> list[Tensor]:
    """Of each layer the heads that count; a layer without any is left out, for it moves nothing then."""
    if heads is None:
        return list(by_layer)
    chosen = [[head for of_layer, head in heads if of_layer == layer] for layer in range(len(by_layer))]
    return [one[:, some] for one, some in zip(by_layer, chosen, strict=True) if some]


def _rows(replay: QuestionReplay, tokens: int) -> Float[Tensor, "r rows k"]:
    """What is read: the tokens of each word of a question, and last the one that its answer is read off."""
    words = pad_sequence(list(replay.questions.shares), batch_first=True)  # (r, w, n)
    rows = torch.cat([words, replay.answer_shares()], dim=1)
    return torch.nn.functional.pad(rows, (0, tokens - rows.shape[-1]))


def _parted(rows: Float[Tensor, "r rows k"], replay: QuestionReplay) -> list[tuple[Tensor, Tensor]]:
    """The picture's part of each row: those of the words, and the answer's."""
    of_picture = rows[..., replay.questions.tokens.shape[1] :]
    return [
        (of_one[: len(labels)], of_one[-1:]) for of_one, labels in zip(of_picture, replay.questions.labels, strict=True)
    ]
