"""Maps of a single-stream model, whose one sequence holds a question and then its picture.

A word of the question attends to the picture from its own tokens, the answer from the first token. The rest of each
row's attention went to the question.

Notation: b pictures, r questions, n tokens of a question, m picture tokens, k = n + m tokens of the sequence, l layers,
h heads, w words of a question.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ..attention.heads import Head
from ..models import SingleStream
from .building import heads_of_layer
from .propagation import leaf, relevance, rollout
from .vqa_replay import QuestionReplay, WordRows


@torch.no_grad()
def stream_attention(
    model: SingleStream,
    images: Float[Tensor, "b c H W"],
    replay: QuestionReplay,
    context: Float[Tensor, "b m D"] | None,
) -> list[WordRows]:
    """Compute the attention of each word of a question, and of its answer, to the picture, by layer and head."""
    tap = replay.tap(model, images, select="*")
    replay.read(model, model.encode(images) if context is None else context, tap)
    n = replay.questions.tokens.shape[1]
    attention = torch.stack([weights[:, :, :n] for weights in tap.weights.values()], dim=1)  # (r, l, h, n, k)
    shares = zip(replay.questions.shares, replay.answer_shares(), strict=True)
    return [
        WordRows(of_question @ rows[..., n:], of_answer @ rows[..., n:], replay.word_to_word(i, rows))
        for i, (rows, (of_question, of_answer)) in enumerate(zip(attention, shares, strict=True))
    ]


def stream_rollout(
    model: SingleStream, images: Float[Tensor, "b c H W"], replay: QuestionReplay, heads: Sequence[Head] | None
) -> list[WordRows]:
    """Compute the share of each picture token in each word of a question, and in its answer."""
    tap = replay.tap(model, images, select="*")
    with torch.no_grad():
        replay.read(model, model.encode(images), tap)
    weights = _of_heads(list(tap.weights.values()), heads)
    return _of_picture(replay, rollout(_rows_read(replay, weights[0].shape[-1]), weights))


def stream_relevance(
    model: SingleStream, images: Float[Tensor, "b c H W"], replay: QuestionReplay, heads: Sequence[Head] | None
) -> list[WordRows]:
    """Compute the attention that raised the answer's score, by each word of a question and by the answer itself.

    Source: Chefer et al. 2021, "Generic attention-model explainability", section 3.1 on a single stream.
    """
    tap = replay.tap(model, images, select="*", gradients=True)
    with torch.inference_mode(False), torch.enable_grad():
        # each question has a sequence of its own, so it has its own gradient in that of the sum
        scores = replay.word_scores(replay.read(model, model.encode(leaf(images)), tap))
        gradients = _of_heads(list(tap.gradients(torch.cat(scores).sum()).values()), heads)
    weights = _of_heads(list(tap.weights.values()), heads)
    return _of_picture(replay, relevance(_rows_read(replay, weights[0].shape[-1]), weights, gradients))


def _of_heads(by_layer: list[Tensor], heads: Sequence[Head] | None) -> list[Tensor]:
    """The chosen heads of each layer; a layer without any is left out, for it moves nothing then."""
    if heads is None:
        return by_layer
    chosen = [heads_of_layer(heads, layer) for layer in range(len(by_layer))]
    return [one[:, some] for one, some in zip(by_layer, chosen, strict=True) if some]


def _rows_read(replay: QuestionReplay, tokens: int) -> Float[Tensor, "r rows k"]:
    """The tokens of each word of a question, and last the one that its answer is read off."""
    rows = torch.cat([replay.question_shares(), replay.answer_shares()], dim=1)
    return torch.nn.functional.pad(rows, (0, tokens - rows.shape[-1]))


def _of_picture(replay: QuestionReplay, rows: Float[Tensor, "r rows k"]) -> list[WordRows]:
    return replay.split(rows[..., replay.questions.tokens.shape[1] :])
