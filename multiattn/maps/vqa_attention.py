"""Where the question encoder looked for each word of a question and of its answer, head by head and in all.

Notation: b pictures, r questions (g of each picture, side by side), n tokens of a question, m picture tokens, l layers,
h heads, v words of an answer, w of a question.

A word of a question looks from its own tokens. An answer looks through the question: it reads some of its tokens (the
first, where it is one of a closed list; what the decoder attends to, where it is written), which have taken from other
tokens what these had seen, layer by layer.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ..attention import ProjectedContext
from ..attention.heads import Head
from ..errors import ModelError
from ..models import VQA
from .propagation import rollout, rollout_path
from .replay import Replay
from .vqa_replay import QuestionReading, QuestionReplay, read_questions


class Looks(NamedTuple):
    """Where the question encoder looked for a question and its answer, head by head; each row sums to 1."""

    question: Float[Tensor, "l h w m"]
    answer: Float[Tensor, "l h v m"]


@torch.no_grad()
def question_looks(
    model: VQA,
    images: Float[Tensor, "b c H W"],
    replay: QuestionReplay,
    context: Float[Tensor, "b m C"] | ProjectedContext | None,
    reading: QuestionReading | None,
) -> list[Looks]:
    """The question encoder's looks at the picture, for each question; where there is a reading of it, in that one.

    An answer's look in a layer is that of the tokens it reads, and of those that they attend to in the layers above.
    Source: Abnar and Zuidema 2020, section 3, for the way from layer to layer.

    Raises:
        ModelError: The reading is of other questions.
    """
    tokens = replay.questions.tokens
    if reading is None:
        context = model.encode(images) if context is None else context
        reading = read_questions(model, images, tokens, context, attention_mask=replay.padded)
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
    path = rollout_path(read, of_part(reading.looks, "question", "self"))
    through = torch.stack(path[1:], dim=1)[:, :, None]  # (r, l, 1, v, n), after each block's self-attention
    found, crosses = [], of_part(reading.looks, "question", "cross")
    for i, (share, labels) in enumerate(zip(replay.questions.shares, replay.answer_labels, strict=True)):
        cross = torch.stack(
            [layer[i] for layer in crosses]
        )  # (l, h, n, m); of one question it fits into the CPU's cache
        found.append(Looks(share @ cross, through[i, :, :, : len(labels)] @ cross))
    return found


def question_rollout(
    model: VQA,
    images: Float[Tensor, "b c H W"],
    replay: QuestionReplay,
    heads: Sequence[Head] | None,
    reading: QuestionReading | None,
) -> list[tuple[Float[Tensor, "w m"], Float[Tensor, "v m"]]]:
    """What was looked at, carried to the patches it came from; (w, m) for each question, and for its answer."""
    tap = replay.tap(model, images, select=["encoder.*"])
    with torch.no_grad():
        context = model.encode(images, tap=tap)
    weights = list(tap.weights.values())
    found = []
    for i, look in enumerate(question_looks(model, images, replay, context, reading)):
        of_picture = [block[i // replay.each][None] for block in weights]
        question, answer = (rollout(_mean(part, heads)[None], of_picture)[0] for part in look)
        found.append((question, answer))
    return found


def of_part(by_site: Mapping[str, Tensor], part: str, kind: Literal["self", "cross"]) -> list[Tensor]:
    """What belongs to a part's attentions of a kind, in the order of its layers."""
    return [one for name, one in by_site.items() if name.startswith(f"{part}.") and name.endswith(f".{kind}")]


def _mean(look: Float[Tensor, "l h w m"], heads: Sequence[Head] | None) -> Float[Tensor, "w m"]:
    if heads is None:
        return look.mean(dim=(0, 1))
    return look[[layer for layer, _ in heads], [head for _, head in heads]].mean(dim=0)
