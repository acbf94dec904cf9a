"""Maps of a model whose question encoder attends to the picture by cross-attention.

A word of a question attends to the picture from its own tokens. An answer is read off some of the question's tokens:
the first, for a closed list; those that the decoder attends to, where it is written. These tokens have taken from
others, layer by layer, what those had attended to.

Notation: b pictures, r questions (g of each picture, side by side), n tokens of a question, m picture tokens, l layers,
h heads, t rows of an answer, v words of an answer, w of a question.
"""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ..alignment.replay import Replay
from ..attention import Head, ProjectedContext, Tap
from ..errors import ModelError
from ..models import VQA
from .building import heads_of_layer
from .propagation import (
    EmbeddingsAsLeaves,
    attended,
    leaf,
    normalized_relevance,
    of_part,
    raising,
    raising_blocks,
    rollout,
    rollout_path,
)
from .vqa_replay import QuestionReading, QuestionReplay, WordRows, read_questions


@torch.no_grad()
def cross_attention(
    model: VQA,
    images: Float[Tensor, "b c H W"],
    replay: QuestionReplay,
    context: Float[Tensor, "b m C"] | ProjectedContext | None,
    reading: QuestionReading | None,
) -> list[WordRows]:
    """Compute the question encoder's attention to the picture by layer and head, for each word; each row sums to 1.

    The row of an answer in a layer is that of the tokens it is read off, and of those that they attend to in the layers
    above. Source: Abnar and Zuidema 2020, section 3, for the way from layer to layer.

    Args:
        model: In eval mode.
        images: Its input.
        replay: Questions and answers.
        context: `model.encode(images)`, or `model.question.project_context` of that, if at hand.
        reading: What `read_questions` returned for these questions, if at hand.

    Raises:
        ModelError: The reading is of other questions.
    """
    tokens = replay.questions.tokens
    if reading is None:
        context = model.encode(images) if context is None else context
        reading = read_questions(model, images, tokens, context, attention_mask=replay.mask)
    elif reading.states.shape[:2] != tokens.shape:
        raise ModelError(
            f"`reading` must be of the same {len(tokens)} questions of {tokens.shape[1]} tokens at most, but is of "
            f"{len(reading.states)} of {reading.states.shape[1]} instead."
        )
    read = replay.answer_shares()
    if isinstance(replay.answers, Replay):
        tap = replay.tap(model, images, select="decoder.*.cross")
        assert reading.projected is not None
        replay.write(model, reading.projected, tap, last_only=True)
        read = read @ torch.stack(list(tap.weights.values())).mean(dim=(0, 2))  # (r, v, n)
    path = rollout_path(read, of_part(reading.weights, "self", part="question"))
    read_by_layer = torch.stack(path[1:], dim=1)[:, :, None]  # (r, l, 1, v, n), after each block's self-attention
    crosses, rows = of_part(reading.weights, "cross", part="question"), []
    selves = of_part(reading.weights, "self", part="question")
    for i, (share, labels) in enumerate(zip(replay.questions.shares, replay.answer_labels, strict=True)):
        # one question at a time: its weights fit into the CPU's cache
        cross = torch.stack([layer[i] for layer in crosses])  # (l, h, n, m)
        words = replay.word_to_word(i, torch.stack([layer[i] for layer in selves]))
        rows.append(WordRows(share @ cross, read_by_layer[i, :, :, : len(labels)] @ cross, words))
    return rows


def cross_rollout(
    model: VQA,
    images: Float[Tensor, "b c H W"],
    replay: QuestionReplay,
    heads: Sequence[Head] | None,
    reading: QuestionReading | None,
) -> list[WordRows]:
    """Carry the mean of the chosen heads of `cross_attention` back through the image encoder."""
    tap = replay.tap(model, images, select="encoder.*")
    with torch.no_grad():
        context = model.encode(images, tap=tap)
    weights, rows = list(tap.weights.values()), []
    for i, attention in enumerate(cross_attention(model, images, replay, context, reading)):
        of_picture = [block[i // replay.each][None] for block in weights]
        parts = (attention.question, attention.answer)
        rows.append(WordRows(*(rollout(_mean(part, heads)[None], of_picture)[0] for part in parts)))
    return rows


def _mean(attention: Float[Tensor, "l h w m"], heads: Sequence[Head] | None) -> Float[Tensor, "w m"]:
    if heads is None:
        return attention.mean(dim=(0, 1))
    return attention[[layer for layer, _ in heads], [head for _, head in heads]].mean(dim=0)


def cross_relevance(
    model: VQA, images: Float[Tensor, "b c H W"], replay: QuestionReplay, heads: Sequence[Head] | None
) -> list[WordRows]:
    """Compute the attention that raised the answer's score, from the picture through the question to the answer.

    The score is the whole answer's for the words of the question, and each word's own for those of the answer. Each
    question has its own gradients, also where questions share a picture, so its maps do not depend on the others. Costs
    a backward pass through question and answer for each word of the longest answer, and one through the image encoder
    for each question of a picture.

    Of the paper's matrices, R of (q, i) says how much of each picture token is in each token of the question, R of
    (q, q) how much of the question's tokens. The image encoder has finished before the question begins, so its own
    matrix comes last, multiplied with the few rows that are read.
    Source: Chefer et al. 2021, "Generic attention-model explainability for interpreting bi-modal and encoder-decoder
    transformers", equations 5 to 11.
    """
    writes = isinstance(replay.answers, Replay)
    of_encoder = replay.tap(model, images, select="encoder.*", gradients=True)
    select = ["question.*", "decoder.*"] if writes else "question.*"
    of_text = replay.tap(model, images, select=select, gradients=True)
    with torch.inference_mode(False), torch.enable_grad(), EmbeddingsAsLeaves():
        scores = replay.word_scores(replay.read(model, model.encode(leaf(images), tap=of_encoder), of_text))
        padded = pad_sequence(scores, batch_first=True)  # (r, v)
        by_word = [of_text.gradients(of_word.sum(), keep_graph=True) for of_word in padded.unbind(1)]
        whole = padded.sum(dim=1)
        # pictures do not mix, but questions of one picture do: one question of every picture at a time
        by_turn = [
            list(of_encoder.gradients(whole[turn :: replay.each].sum(), keep_graph=turn < replay.each - 1).values())
            for turn in range(replay.each)
        ]
    of_answers, shares = [], replay.answer_shares()
    for w, gradients in enumerate(by_word):
        found = _in_questions(of_text, gradients, heads)
        if writes:
            found = _in_answers(of_text, gradients, found)
        of_answers.append((shares[:, w : w + 1] @ found)[:, 0])  # (r, m)
    of_whole = {name: torch.stack([one[name] for one in by_word]).sum(dim=0) for name in by_word[0]}
    of_questions = replay.question_shares() @ _in_questions(of_text, of_whole, heads)  # (r, w, m)
    rows = torch.cat([of_questions, torch.stack(of_answers, dim=1)], dim=1)  # (r, w + v, m)
    for turn, of_turn in enumerate(by_turn):
        mine = slice(turn, None, replay.each)
        rows[mine] = normalized_relevance(rows[mine], list(of_encoder.weights.values()), of_turn)
    return replay.split(rows)


def _in_questions(tap: Tap, gradients: Mapping[str, Tensor], heads: Sequence[Head] | None) -> Float[Tensor, "r n m"]:
    """R of (q, i) without the image encoder's own R of (i, i): what of each picture token is in each question token."""
    return attended(*_raised(tap, gradients, "question", heads))


def _in_answers(
    tap: Tap, gradients: Mapping[str, Tensor], in_questions: Float[Tensor, "r n m"]
) -> Float[Tensor, "r t m"]:
    """The same for the rows of answers, which take what the question's tokens have of the picture."""
    selves, crosses = _raised(tap, gradients, "decoder", None)
    found = torch.zeros_like(crosses[0] @ in_questions)
    for of_self, of_cross in zip(selves, crosses, strict=True):
        found = found + of_self @ found  # equation 7
        found = found + of_cross @ in_questions  # 11, where the context has something of the picture already
    return found


def _raised(
    tap: Tap, gradients: Mapping[str, Tensor], part: str, heads: Sequence[Head] | None
) -> tuple[list[Tensor], list[Tensor]]:
    """Equation 5 for the self- and the cross-attentions of a part, by layer; for the latter of the chosen heads."""
    selves = raising_blocks(of_part(tap.weights, "self", part=part), of_part(gradients, "self", part=part))
    of_cross = of_part(tap.weights, "cross", part=part), of_part(gradients, "cross", part=part)
    crosses = []
    for layer, (weights, by_weight) in enumerate(zip(*of_cross, strict=True)):
        chosen = slice(None) if heads is None else heads_of_layer(heads, layer)
        if chosen:
            crosses.append(raising(weights[:, chosen], by_weight[:, chosen]))
        else:  # a layer without a chosen head adds nothing
            crosses.append(torch.zeros_like(weights[:, 0]))
    return selves, crosses
