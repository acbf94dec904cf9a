"""Maps of a model that answers questions: for each word of a question and of its answer, over (word, y, x).

`vqa_replay` lays questions and answers out for one pass. `vqa_cross_attention` and `vqa_single_stream` compute rows
over picture tokens, for the two kinds of model. Here the rows become maps.

Notation: b pictures, c channels, H and W the input's height and width, l layers, h heads, m picture tokens, C width of
the context, w words.
"""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from jaxtyping import Float
from torch import Tensor

from ..attention import Head, ProjectedContext, valid_heads
from ..inputs import Geometry, Word
from ..models import VQA, SingleStream
from ..registry import task_spec
from .answer_maps import AnswerMaps, AnswerStacks
from .attention_map import AttentionMap
from .building import FOUND_BY, check_method, checked_geometries, image_size, named, word_attention, word_map
from .vqa_cross_attention import cross_attention, cross_relevance, cross_rollout
from .vqa_replay import QuestionReading, QuestionReplay, WordRows
from .vqa_single_stream import stream_attention, stream_relevance, stream_rollout
from .word_to_word import END, FIRST, PICTURE, WORD_NOTES, words_map

QUESTION_NOTES = {
    "attention": "The share of the model's attention, while it read the word of the question, that went to each patch. "
    "It shows where the model looked, not what for.",
    "relevance": "What the word of the question took from each patch and raised the answer's score with. "
    "Bright patches raised the score of the answer by way of this word.",
    "rollout": "The share of each patch in what the model attended to for the word of the question, as if attention "
    "were all that moves information.",
}
"""How to read the map of a question, by method."""

ANSWER_NOTES = {
    "attention": "The share of each patch in the attention of those words of the question that the answer was read "
    "from. It shows where the model looked, not what for.",
    "relevance": "Attention weighted by how much it raised the answer's score, followed back through the question to "
    "the picture. Bright patches raised the score of the answer.",
    "rollout": "The share of each patch in what reached the answer, as if attention were all that moves information.",
}
"""How to read the map of an answer, by method."""

ANSWER_METHODS = task_spec("answer").map_methods
"""The methods of `explain_answer`."""

# the attentions of a `VQA` that the maps of a question and of its answer are computed from, by method
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
    versus: Sequence[int] | None = None,
    geometries: Sequence[Geometry | None] | None = None,
    layer: int | None = None,
    head: int | None = None,
    heads: Sequence[Head] | None = None,
    context: Float[Tensor, "b m C"] | ProjectedContext | None = None,
    reading: QuestionReading | None = None,
) -> list[AnswerMaps]:
    """Compute two maps for each question, axes (word, y, x): of its words, and of those of its answer.

    Args:
        model: In eval mode.
        images: Its input.
        questions: The tokens of each question, from the start token to the end token; as many questions of each picture
            as of the others, side by side.
        question_words: Of each question, at least one; their pieces count from the first token after the start token.
        answers: To each question: its index in the closed list; or its tokens, from the start token on, where a decoder
            wrote them; the end token may follow.
        answer_words: Of each answer, at least one; their pieces count from the first token after the start token. An
            answer from a closed list is a single word, whatever it says, without pieces.
        method: One of `ANSWER_METHODS`.
        versus: Another answer of the closed list for each question: what is explained is then the difference of the
            two scores.
        geometries: How each picture was cut from its source.
        layer: For `attention`: which block of the question encoder, negative from the end; the mean of all where None.
        head: For `attention`: which head of its cross-attention, or the mean where None.
        heads: The heads of the question encoder's cross-attention to use, by layer and index; all where None.
        context: `model.encode(images)`, or `model.question.project_context` of that, where the caller has it already;
            `attention` then does without the encoder.
        reading: What `read_questions` returned for these questions, padded on the right, where the caller has it
            already; all methods but `relevance` then do without the question encoder. For a `VQA` alone.

    Raises:
        ModelError: An unknown method, layer or head; a layer or head for a method that uses all of them or beside
            `heads`; or questions, answers, words, pictures, geometries and a reading that do not fit each other.
    """
    check_method(method, ANSWER_METHODS, of=" for answers", layer=layer, head=head)
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
    note = ""
    if heads is not None:
        question = model.config.question
        heads = valid_heads(heads, depth=question.depth, num_heads=question.num_heads, found_by=FOUND_BY)
        note = f" Of the question's attention, only the heads that point: {named(heads)}."
    geometries = checked_geometries(geometries, len(images))
    replay = QuestionReplay.of(
        model, images, questions, question_words, answers=answers, answer_words=answer_words, versus=versus
    )
    if isinstance(model, SingleStream):
        rows = (stream_relevance if method == "relevance" else stream_rollout)(model, images, replay, heads)
    elif method == "relevance":
        rows = cross_relevance(model, images, replay, heads)
    else:
        rows = cross_rollout(model, images, replay, heads, reading)
    return _maps(model, images, replay, rows, geometries, method=method, note=note)


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
) -> list[AnswerStacks]:
    """Compute what every layer and head attended to: two stacks a question, axes (layer, head, word, y, x).

    The layers and heads are those of the question encoder's cross-attention, or of the single stream. Takes and raises
    what `explain_answer` does. `answer_attention` turns stacks into the maps by the method `attention`.
    """
    geometries = checked_geometries(geometries, len(images))
    replay = QuestionReplay.of(model, images, questions, question_words, answers=answers, answer_words=answer_words)
    if isinstance(model, VQA):
        rows = cross_attention(model, images, replay, context, reading)
    else:
        rows = stream_attention(model, images, replay, context if isinstance(context, Tensor) else None)
    names = [site.name for site in replay.tap(model, images, select="*").sites]
    of_text = [name for name in names if name.endswith(".self") and not name.startswith(("encoder.", "decoder."))]
    maps = _maps(model, images, replay, rows, geometries, method="attention")
    return [
        AnswerStacks(*of_one, _word_to_word(row, words, of_text))
        for of_one, row, words in zip(maps, rows, replay.questions.labels, strict=True)
    ]


def answer_attention(
    stacks: AnswerStacks, *, layer: int | None = None, head: int | None = None, heads: Sequence[Head] | None = None
) -> AnswerMaps:
    """Average the stacks of `answer_attention_stack`, as `word_attention` does: the maps by the method `attention`.

    Raises:
        ModelError: There is no such layer or head, or both ways to choose are used.
    """
    parts = (stacks.question, stacks.answer)
    return AnswerMaps(*(word_attention(stack, layer=layer, head=head, heads=heads) for stack in parts))


def _maps(
    model: VQA | SingleStream,
    images: Tensor,
    replay: QuestionReplay,
    rows: Sequence[WordRows],
    geometries: Sequence[Geometry | None],
    *,
    method: str,
    note: str = "",
) -> list[AnswerMaps]:
    """The maps of rows over picture tokens; `note` is added to the method's own."""
    names = [site.name for site in replay.tap(model, images, select="*").sites]
    grid = (model.encoder if isinstance(model, VQA) else model).grid(image_size(images))
    sites = [
        tuple(name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns))
        for patterns in (_SITES[method] if isinstance(model, VQA) else (("*",), ("*",)))
    ]
    notes = [of_part[method] + note for of_part in (QUESTION_NOTES, ANSWER_NOTES)]
    return [
        AnswerMaps(
            *(
                word_map(
                    (rows[i].question, rows[i].answer)[part],
                    labels[i],
                    grid=grid,
                    method=method,
                    sites=sites[part],
                    geometry=geometries[i // replay.each],
                    note=notes[part],
                )
                for part, labels in enumerate((replay.questions.labels, replay.answer_labels))
            )
        )
        for i in range(len(rows))
    ]


def _word_to_word(rows: WordRows, words: tuple[str, ...], sites: Sequence[str]) -> AttentionMap:
    """The map of a question's self-attention among its words."""
    assert rows.words is not None
    queries = [FIRST, *words, END]
    keys = queries if rows.words.shape[-1] == len(queries) else [*queries, PICTURE]
    target, note = "".join(words).strip(), WORD_NOTES["question"]
    return words_map(rows.words, queries, keys, sites=sites, target=target, note=note)
