"""The model's part of answering: pictures are encoded, questions read, answers found and explained, batch by batch.

Notation: b pictures, g questions of each, r = b g questions, those of one picture side by side.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple, cast

import torch
from torch import Tensor

from ..attention import ProjectedContext
from ..inputs import Geometry, Tokenizer
from ..inputs.text import Word
from ..maps import AnswerMaps, QuestionReading, answer_attention, answer_attention_stack, explain_answer, read_questions
from ..models import VQA, SingleStream
from .answer_decoders import AnswerDecoder, Found
from .base import Prepared, stacked
from .image_results import Answer, AnswerMap

_ROWS = 64
"""Questions computed at once: what they take of the memory grows with them."""


class Question(NamedTuple):
    """A question as the model reads it."""

    text: str
    tokens: tuple[int, ...]  # special ones included
    words: tuple[Word, ...]


class Request(NamedTuple):
    """What was asked for."""

    methods: tuple[str, ...]
    first_token: int
    find: AnswerDecoder


class Answerer:
    """Answers questions that are ready about pictures that are ready.

    Args:
        model: In eval mode, where it is to compute.
        tokenizer: Its own.
        device: Where the model is.
        heads: Those of the question encoder that point, by layer and place, on which the maps then rest; None for all.
    """

    def __init__(
        self,
        model: VQA | SingleStream,
        tokenizer: Tokenizer,
        *,
        device: torch.device,
        heads: Sequence[tuple[int, int]] | None,
    ) -> None:
        self._model, self._tokenizer, self._device, self._heads = model, tokenizer, device, heads

    def __call__(self, batch: Sequence[tuple[Prepared, list[Question]]], request: Request) -> list[list[Answer]]:
        """The answers to each picture's questions. Pictures of one size are encoded together."""
        answers: list[list[Answer]] = [[] for _ in batch]
        by_size: dict[tuple[int, ...], list[int]] = {}
        for i, (item, questions) in enumerate(batch):
            if questions:
                by_size.setdefault(tuple(item.pixels.shape), []).append(i)
        for places in by_size.values():
            seen = self._seen([batch[i][0] for i in places])
            by_count: dict[int, list[int]] = {}  # places among these
            for place, i in enumerate(places):
                by_count.setdefault(len(batch[i][1]), []).append(place)
            for count, alike in by_count.items():
                part = seen if len(alike) == len(places) else seen.select(alike)
                step = max(1, _ROWS // len(alike))
                for first in range(0, count, step):
                    rows = [batch[places[place]][1][first : first + step] for place in alike]
                    found = self._results(part, rows, request)
                    for place, of_picture in zip(alike, found, strict=True):
                        answers[places[place]] += of_picture
        return answers

    def _seen(self, items: list[Prepared]) -> "_Seen":
        images = stacked(items, self._device)
        with torch.inference_mode():
            context = self._model.encode(images)
            if isinstance(self._model, VQA):
                return _Seen(items, images, self._model.question.project_context(context))
        return _Seen(items, images, context)

    def _results(self, seen: "_Seen", rows: Sequence[Sequence[Question]], request: Request) -> list[list[Answer]]:
        """The answers to as many questions about each picture."""
        questions = [question for of_picture in rows for question in of_picture]
        tokens, attention_mask = self._filled(questions)
        with torch.inference_mode():
            reading = projected = None
            if not isinstance(self._model, VQA):
                states = self._model.read(tokens, cast(Tensor, seen.context), attention_mask=attention_mask)
            elif request.methods:
                reading = read_questions(self._model, seen.images, tokens, seen.context, attention_mask=attention_mask)
                states, projected = reading.states, reading.projected
            else:
                states = self._model.read(tokens, seen.context, attention_mask=attention_mask)
                if self._model.decoder is not None:
                    projected = self._model.decoder.project_context(states, attention_mask)
        found = request.find(states, projected)
        first_token = self._tokenizer.name_of(request.first_token) or str(request.first_token)
        each = len(rows[0])
        answers = [
            Answer(
                file=seen.items[i // each].file,
                question=question.text,
                candidates=one.candidates,
                question_words=question.words,
                words=one.words,
                first_token=first_token,
                unknown_words=self._unknown_words(question),
            )
            for i, (question, one) in enumerate(zip(questions, found, strict=True))
        ]
        if request.methods:
            answers = self._with_maps(seen, questions, found, answers, request.methods, reading)
        return [answers[i : i + each] for i in range(0, len(answers), each)]

    def _unknown_words(self, question: Question) -> tuple[str, ...]:
        unknown = self._tokenizer.id_of("[UNK]")
        # the first token is a special one, which no word counts
        return tuple(
            word.text for word in question.words if any(question.tokens[1 + piece] == unknown for piece in word.pieces)
        )

    def _filled(self, questions: Sequence[Question]) -> tuple[Tensor, Tensor | None]:
        """The questions' tokens (r, n), filled up on the right, and where they are real unless all of it is."""
        counts = [len(question.tokens) for question in questions]
        longest, pad = max(counts), self._model.config.question.pad_token
        filled = [[*question.tokens, *[pad] * (longest - len(question.tokens))] for question in questions]
        tokens = torch.tensor(filled, device=self._device)
        if min(counts) == longest:
            return tokens, None
        return tokens, torch.arange(longest, device=self._device) < torch.tensor(counts, device=self._device)[:, None]

    def _with_maps(
        self,
        seen: "_Seen",
        questions: Sequence[Question],
        found: Sequence[Found],
        answers: list[Answer],
        methods: Sequence[str],
        reading: QuestionReading | None,
    ) -> list[Answer]:
        """From the reading of the questions, and one more of what was said: the search knows nothing of it."""
        having = [i for i, one in enumerate(found) if one.words]  # an answer without a word has nothing to show
        if not having:
            return answers
        if len(having) < len(found):  # each with a picture of its own, for not all have as many
            each = len(found) // len(seen.items)
            seen, reading = seen.select([i // each for i in having]), None
        by_method, stacks = self._explained(seen, [(questions[i], found[i]) for i in having], methods, reading)
        results = list(answers)
        for place, i in enumerate(having):
            item, answer, stack = seen.items[place * len(seen.items) // len(having)], answers[i], stacks[place]
            maps = tuple(
                AnswerMap(
                    map=one[place].answer,
                    picture=item.picture,
                    name=item.title,
                    stack=stack.answer,
                    question=one[place].question,
                    question_stack=stack.question,
                    asked=answer.question,
                    words=answer.words,
                )
                for one in by_method
            )
            results[i] = replace(answer, maps=maps)
        return results

    def _explained(
        self,
        seen: "_Seen",
        said: Sequence[tuple[Question, Found]],
        methods: Sequence[str],
        reading: QuestionReading | None,
    ) -> tuple[list[list[AnswerMaps]], list[AnswerMaps]]:
        """By each method, the maps of each question; and those of every layer and head."""
        model, images, geometries = self._model, seen.images, seen.geometries
        tokens, words = [question.tokens for question, _ in said], [question.words for question, _ in said]
        answers = cast(list[int], [one.said for _, one in said])  # or all of them tokens
        answer_words = [one.said_words for _, one in said]
        stacks = answer_attention_stack(
            model,
            images,
            tokens,
            words,
            answers=answers,
            answer_words=answer_words,
            geometries=geometries,
            context=seen.context,
            reading=reading,
        )
        by_method = []
        for method in methods:
            if method == "attention":
                by_method.append([answer_attention(stack, heads=self._heads) for stack in stacks])
                continue
            by_method.append(
                explain_answer(
                    model,
                    images,
                    tokens,
                    words,
                    answers=answers,
                    answer_words=answer_words,
                    method=method,
                    geometries=geometries,
                    heads=self._heads,
                    reading=reading,
                )
            )
        return by_method, stacks


class _Seen(NamedTuple):
    """Pictures of one size as the model has them."""

    items: list[Prepared]
    images: Tensor  # (b, 3, h, w)
    context: Tensor | ProjectedContext

    def select(self, places: Sequence[int]) -> "_Seen":
        """Some of them, in that order."""
        chosen = torch.tensor(places, device=self.images.device)
        context = self.context
        part = context.select(chosen) if isinstance(context, ProjectedContext) else context[chosen]
        return _Seen([self.items[place] for place in places], self.images[chosen], part)

    @property
    def geometries(self) -> list[Geometry]:
        """How each was cut from its source."""
        return [item.geometry for item in self.items]
