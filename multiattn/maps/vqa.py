"""Where a model looked for each word of a question and of its answer: the methods by name, as maps over (word, y, x).

Notation: b pictures, c channels, H and W the input's height and width, l layers, h heads, m picture tokens, C width of
what is attended to, w words.
"""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from ..attention import ProjectedContext
from ..attention.heads import Head
from ..attention.heads import check_heads as checked_heads
from ..errors import ModelError
from ..inputs import Geometry
from ..inputs.text import Word
from ..models import VQA, SingleStream
from .attention_map import AttentionMap
from .heads import named
from .vilt import stream_looks, stream_relevance, stream_rollout
from .vqa_attention import question_looks, question_rollout
from .vqa_relevance import question_relevance
from .vqa_replay import QuestionReading, QuestionReplay
from .word_maps import FOUND_BY, word_attention, word_map


class AnswerMaps(NamedTuple):
    """The maps of a question and its answer over one picture, by one method."""

    question: AttentionMap
    """Of each word of the question."""

    answer: AttentionMap
    """Of each word of the answer; of the whole answer, where it is one of a closed list."""


QUESTION_NOTES = {
    "attention": "The share of the model's look, while it read the word of the question, that went to each patch. "
    "It says where the model looked, not what for.",
    "relevance": "What the word took from each patch that raised the answer's score, followed back to the patches. "
    "Bright patches spoke for the answer by this word.",
    "rollout": "The share of each patch in what the model looked at for the word of the question, were attention all "
    "that moves information.",
}
"""How to read the maps of a question, by method."""

ANSWER_NOTES = {
    "attention": "The share of each patch in what had been looked at by the words that the answer was read off. "
    "It says where the model looked, not what for.",
    "relevance": "Attention weighted by how much it raised the answer's score, followed back through the question to "
    "the picture. Bright patches spoke for the answer.",
    "rollout": "The share of each patch in what reached the answer, were attention all that moves information.",
}
"""How to read the maps of an answer, by method."""

ANSWER_METHODS = tuple(ANSWER_NOTES)
"""The names `explain_answer` knows."""

# the attentions of a `VQA` that the maps of a question and of its answer are made from, by method
_SITES = {
    "attention": (("question.*.cross",), ("question.*.cross",)),
    "relevance": (("encoder.*", "question.*"), ("encoder.*", "question.*", "decoder.*")),
    "rollout": (("encoder.*", "question.*.cross"), ("encoder.*", "question.*", "decoder.*.cross")),
}


def explain_answer(
    model: VQA | SingleStream,
    images: Float[Tensor, "b c H W"],
    questions: Sequence[Sequence[int]],
    question_words: Sequence[Sequence[Word]],
    *,
    answers: Sequence[int] | Sequence[Sequence[int]],
    answer_words: Sequence[Sequence[Word]],
    method: str,
    geometries: Sequence[Geometry | None] | None = None,
    layer: int | None = None,
    head: int | None = None,
    heads: Sequence[Head] | None = None,
    context: Float[Tensor, "b m C"] | ProjectedContext | None = None,
    reading: QuestionReading | None = None,
) -> list[AnswerMaps]:
    """Two maps a question, axes (word, y, x): its words, and those of its answer, each with the space before it.

    Args:
        model: In eval mode.
        images: Its input.
        questions: The tokens of each question, from the start token to the end token; as many questions of each picture
            as of the others, side by side.
        question_words: Of each question, at least one; their pieces count from the first token after the start token.
        answers: To each question: its place in the closed list; or its tokens, from the start token on, where a decoder
            wrote them; the end token may follow.
        answer_words: Of each answer, at least one; their pieces count from the first token after the start token. One
            out of a closed list is a single word, whatever it says, without pieces.
        method: One of `ANSWER_METHODS`.
        geometries: How each picture was cut from its source.
        layer: For `attention`: which block of the question encoder, negative from the end; the mean of all where None.
        head: For `attention`: which head of its cross-attention, or the mean where None.
        heads: The heads of the question encoder's cross-attention that count, by layer and place; all where None.
        context: `model.encode(images)` or what `model.question.project_context` made of it, where the caller has it
            already; `attention` then does without the encoder.
        reading: What `read_questions` gave for these questions, filled up on the right, where the caller has it
            already; all methods but `relevance` then do without the question encoder. Of a `VQA` alone.

    Raises:
        ModelError: An unknown method, layer or head; a layer or head for a method that uses all of them or beside
            `heads`; or questions, answers, words, pictures, geometries and a reading that do not fit each other.
    """
    if method not in ANSWER_METHODS:
        raise ModelError(f"there is no map method {method!r} for answers; there are: {', '.join(ANSWER_METHODS)}")
    if method == "attention":
        stacks = answer_attention_stack(
            model,
            images,
            questions,
            question_words,
            answers=answers,
            answer_words=answer_words,
            geometries=geometries,
            context=context,
            reading=reading,
        )
        return [answer_attention(stack, layer=layer, head=head, heads=heads) for stack in stacks]
    if layer is not None or head is not None:
        raise ModelError(f"a layer or head can be chosen for the method 'attention', not for {method!r}")
    if heads is not None:
        reader = model.config.question
        heads = checked_heads(heads, depth=reader.depth, num_heads=reader.num_heads, found_by=FOUND_BY)
    replay = QuestionReplay.of(
        model, images, questions, question_words, answers=answers, answer_words=answer_words, geometries=geometries
    )
    if isinstance(model, VQA):
        if method == "relevance":
            rows = question_relevance(model, images, replay, heads)
        else:
            rows = question_rollout(model, images, replay, heads, reading)
    else:
        rows = (stream_relevance if method == "relevance" else stream_rollout)(model, images, replay, heads)
    note = "" if heads is None else f" Of the question's looks, those of the heads that point: {named(heads)}."
    return _maps(model, images, replay, rows, method=method, geometries=geometries, note=note)


def answer_attention_stack(
    model: VQA | SingleStream,
    images: Float[Tensor, "b c H W"],
    questions: Sequence[Sequence[int]],
    question_words: Sequence[Sequence[Word]],
    *,
    answers: Sequence[int] | Sequence[Sequence[int]],
    answer_words: Sequence[Sequence[Word]],
    geometries: Sequence[Geometry | None] | None = None,
    context: Float[Tensor, "b m C"] | ProjectedContext | None = None,
    reading: QuestionReading | None = None,
) -> list[AnswerMaps]:
    """What every layer and head of the question encoder looked at: two maps a question, (layer, head, word, y, x).

    Takes what `explain_answer` takes, and raises what it raises. `answer_attention` makes the maps of that method.
    """
    replay = QuestionReplay.of(
        model, images, questions, question_words, answers=answers, answer_words=answer_words, geometries=geometries
    )
    rows: Sequence[tuple[Tensor, Tensor]]
    if isinstance(model, VQA):
        rows = question_looks(model, images, replay, context, reading)
    else:
        rows = stream_looks(model, images, replay, context if isinstance(context, Tensor) else None)
    return _maps(model, images, replay, rows, method="attention", geometries=geometries)


def answer_attention(
    stacks: AnswerMaps, *, layer: int | None = None, head: int | None = None, heads: Sequence[Head] | None = None
) -> AnswerMaps:
    """The maps by the method `attention`, out of the stacks of `answer_attention_stack`, as `word_attention`.

    Raises:
        ModelError: There is no such layer or head, or both ways to choose are used.
    """
    return AnswerMaps(*(word_attention(stack, layer=layer, head=head, heads=heads) for stack in stacks))


def _maps(
    model: VQA | SingleStream,
    images: Tensor,
    replay: QuestionReplay,
    rows: Sequence[tuple[Tensor, Tensor]],
    *,
    method: str,
    geometries: Sequence[Geometry | None] | None,
    note: str = "",
) -> list[AnswerMaps]:
    """The maps of rows over picture tokens; `note` is what is to be said besides of how they were made."""
    names = [site.name for site in replay.tap(model, images, select="*").sites]
    grid = (model.encoder if isinstance(model, VQA) else model).grid((images.shape[-2], images.shape[-1]))

    def made(part: int, row: Tensor, labels: tuple[str, ...], picture: int) -> AttentionMap:
        patterns = _SITES[method][part] if isinstance(model, VQA) else ("*",)
        return word_map(
            row,
            labels,
            grid=grid,
            method=method,
            sites=tuple(name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)),
            geometry=None if geometries is None else geometries[picture],
            note=(QUESTION_NOTES, ANSWER_NOTES)[part][method] + note,
        )

    return [
        AnswerMaps(
            made(0, asked, replay.questions.labels[i], i // replay.each),
            made(1, said, replay.answer_labels[i], i // replay.each),
        )
        for i, (asked, said) in enumerate(rows)
    ]
