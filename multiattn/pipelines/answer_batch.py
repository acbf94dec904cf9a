"""The model's part of answering: images are encoded, questions read, answers found and explained, batch by batch.

Notation: b images, g questions about each, r = b g questions, those about one image side by side.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from ..alignment.replay import pad_right
from ..attention import ProjectedContext
from ..inputs import Tokenizer
from ..maps import (
    AnswerMaps,
    AnswerStacks,
    Checked,
    QuestionReading,
    answer_attention,
    answer_attention_stack,
    explain_answer,
    patch_sinks,
    read_questions,
    sink_tap,
)
from ..models import VQA, SingleStream
from ..models.domain import Domain, distances_of
from .answer_decoders import AnswerDecoder, Closed
from .answer_results import Answer, AnswerMap
from .base import stacked
from .found_answers import Found
from .given_answer import FOR_ALL, GivenEntry, GivenText
from .map_request import MapRequest
from .out_of_domain import OutOfDomain, far_pictures, with_words
from .pictures import Prepared
from .questions import Question
from .verdicts import of_answer

_ROWS = 64
"""Number of questions computed at once, which bounds the memory."""


class Request(NamedTuple):
    """The options of a call, checked."""

    maps: MapRequest
    first_token: int
    find: AnswerDecoder
    given: GivenEntry | GivenText | None = None
    """The answer that the maps explain; None for the one that is found."""


class Answerer:
    """Answers encoded questions about preprocessed images.

    Args:
        model: The model, in eval mode on `device`.
        tokenizer: Its tokenizer.
        device: The device of the model.
        heads: Heads of the question encoder that point, by layer and index, on which the maps by attention then rest;
            None for all heads.
        domain: What the model was trained on, on the device; None where that is not known.
    """

    def __init__(
        self,
        model: VQA | SingleStream,
        tokenizer: Tokenizer,
        *,
        device: torch.device,
        heads: Sequence[tuple[int, int]] | None,
        domain: Domain | None,
    ) -> None:
        self._model, self._tokenizer, self._device = model, tokenizer, device
        self._heads, self._domain = heads, domain

    def __call__(self, batch: Sequence[tuple[Prepared, list[Question]]], request: Request) -> list[list[Answer]]:
        """Return the answers to each image's questions. Images of one size are encoded together."""
        answers: list[list[Answer]] = [[] for _ in batch]
        by_size: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for i, (item, questions) in enumerate(batch):
            if questions:
                by_size[tuple(item.pixels.shape)].append(i)
        for of_size in by_size.values():
            images = self._encoded([batch[i][0] for i in of_size], with_maps=bool(request.maps.methods))
            by_count: dict[int, list[int]] = defaultdict(list)  # number of questions -> rows of `images`
            for row, i in enumerate(of_size):
                by_count[len(batch[i][1])].append(row)
            for count, rows in by_count.items():
                part = images if len(rows) == len(of_size) else images.select(rows)
                step = max(1, _ROWS // len(rows))
                for first in range(0, count, step):
                    asked = [batch[of_size[row]][1][first : first + step] for row in rows]
                    for row, found in zip(rows, self._answers(part, asked, request), strict=True):
                        answers[of_size[row]] += found
        return answers

    def _encoded(self, items: list[Prepared], *, with_maps: bool) -> "_Images":
        pixels = stacked(items, self._device)
        with torch.inference_mode():
            if not isinstance(self._model, VQA):
                none: list[tuple[tuple[int, int], ...]] = [()] * len(items)
                return _Images(items, pixels, self._model.encode(pixels), [None] * len(items), none)
            encoder, size = self._model.encoder, (pixels.shape[-2], pixels.shape[-1])
            tap = sink_tap(encoder, size) if with_maps else None
            features = encoder.features(pixels, tap=tap)
            context = self._model.bridged(features, image_size=size)
            far = far_pictures(distances_of(self._domain, features[:, encoder.num_prefix_tokens :]))
            sinks = patch_sinks(tap, encoder.grid(size), len(items))
            return _Images(items, pixels, self._model.question.project_context(context), far, sinks)

    def _answers(self, images: "_Images", asked: Sequence[Sequence[Question]], request: Request) -> list[list[Answer]]:
        """Return the answers to the same number of questions about each image."""
        questions = [question for of_image in asked for question in of_image]
        model, context = self._model, images.context
        tokens, mask = pad_right([one.tokens for one in questions], model.config.question.pad_token)  # (r, n)
        tokens, attention_mask = tokens.to(self._device), None if mask.all() else mask.to(self._device)
        with torch.inference_mode():
            reading = projected = None
            if not isinstance(model, VQA):
                states = model.read(tokens, cast(Tensor, context), attention_mask=attention_mask)
            elif request.maps.methods:
                reading = read_questions(model, images.pixels, tokens, context, attention_mask=attention_mask)
                states, projected = reading.states, reading.projected
            else:
                states = model.read(tokens, context, attention_mask=attention_mask)
                if model.decoder is not None:
                    projected = model.decoder.project_context(states, attention_mask)
        found = request.find(states, projected)
        first_token = self._tokenizer.name_of(request.first_token) or str(request.first_token)
        each = len(asked[0])
        answers = [
            Answer(
                file=images.items[i // each].file,
                question=question.text,
                candidates=one.candidates,
                question_words=question.words,
                words=one.words,
                first_token=first_token,
                unknown_words=question.unknown_words(self._tokenizer),
                damaged=images.items[i // each].damaged,
                remark=images.items[i // each].remark,
                out_of_domain=with_words(images.far[i // each], self._new_words(question)),
            )
            for i, (question, one) in enumerate(zip(questions, found, strict=True))
        ]
        if request.maps.methods:
            explained = found if request.given is None else request.given(states, projected)
            answers = self._with_maps(images, questions, explained, answers, request, reading)
        return [answers[i : i + each] for i in range(0, len(answers), each)]

    def _new_words(self, question: Question) -> tuple[str, ...]:
        return () if self._domain is None else self._domain.new_words(question.text)

    def _with_maps(
        self,
        images: "_Images",
        questions: Sequence[Question],
        found: Sequence[Found],
        answers: list[Answer],
        request: Request,
        reading: QuestionReading | None,
    ) -> list[Answer]:
        """Add the maps, from the reading of the questions and a replay of the answers."""
        having = [i for i, one in enumerate(found) if one.words]  # an answer without words has no maps
        if not having:
            return answers
        if len(having) < len(found):  # an image for each question: images may now have different numbers of questions
            each = len(found) // len(images.items)
            images, reading = images.select([i // each for i in having]), None
        explained = [(questions[i], found[i]) for i in having]
        by_method, stacks = self._explained(images, explained, request, reading)
        of_labels = self._of_labels(images, explained, [answers[i] for i in having], by_method, request, reading)
        results = list(answers)
        for row, i in enumerate(having):
            of_image = row * len(images.items) // len(having)
            item, answer, stack = images.items[of_image], answers[i], stacks[row]
            mapped = [one[row] for one in by_method]
            verdicts = self._checked(images.pixels[of_image], mapped, questions[i], found[i], request)
            maps = tuple(
                AnswerMap(
                    map=one.answer,
                    picture=item.picture,
                    name=item.title,
                    stack=stack.answer,
                    question=one.question,
                    question_stack=stack.question,
                    asked=answer.question,
                    words=found[i].words,
                    word_to_word=stack.words,
                    checked=checked,
                    sinks=images.sinks[of_image],
                    by_label=tuple(of_rank[row] for of_rank in of_labels.get(one.answer.method, ())),
                )
                for one, checked in zip_longest(mapped, verdicts)
            )
            results[i] = replace(answer, maps=maps, verdicts=tuple(verdicts))
        return results

    def _checked(
        self, image: Tensor, maps: list[AnswerMaps], question: Question, found: Found, request: Request
    ) -> list[Checked]:
        if not request.maps.check:
            return []
        return of_answer(
            self._model,
            image,
            maps,
            tokenizer=self._tokenizer,
            question=question.tokens,
            words=question.words,
            answer=found.target,
            choices=_choices(request),
            check=request.maps.check,
        )

    def _explained(
        self,
        images: "_Images",
        answered: Sequence[tuple[Question, Found]],
        request: Request,
        reading: QuestionReading | None,
    ) -> tuple[list[list[AnswerMaps]], list[AnswerStacks]]:
        """Return the maps of each question by each method, and the maps of every layer and head."""
        replayed = self._replayed(images, answered)
        stacks = answer_attention_stack(**replayed, context=images.context, reading=reading)
        versus = None if request.given is None else request.given.versus
        by_method = [
            [answer_attention(stack, heads=self._heads) for stack in stacks]
            if method == "attention"
            else explain_answer(
                **replayed,
                method=method,
                versus=None if versus is None else [versus] * len(answered),
                heads=self._heads,
                reading=reading,
            )
            for method in request.maps.methods
        ]
        return by_method, stacks

    def _of_labels(
        self,
        images: "_Images",
        answered: Sequence[tuple[Question, Found]],
        answers: Sequence[Answer],
        by_method: Sequence[list[AnswerMaps]],
        request: Request,
        reading: QuestionReading | None,
    ) -> dict[str, list[list[AnswerMaps]]]:
        """Return, by method, the maps of each of the best answers of a closed list, for all questions."""
        if not isinstance(request.find, Closed):
            return {}
        count = min(request.maps.labels, *(len(one.candidates) for one in answers))
        of_labels: dict[str, list[list[AnswerMaps]]] = {}
        for method, maps in zip(request.maps.methods, by_method, strict=True):
            for rank in range(0 if method in FOR_ALL else count):
                texts = [one.candidates[rank].text for one in answers]
                others = [
                    (question, request.find.entry(text)) for (question, _), text in zip(answered, texts, strict=True)
                ]
                is_explained = rank == 0 and request.given is None
                made = (
                    maps
                    if is_explained
                    else explain_answer(
                        **self._replayed(images, others), method=method, heads=self._heads, reading=reading
                    )
                )
                of_labels.setdefault(method, []).append(made)
        return of_labels

    def _replayed(self, images: "_Images", answered: Sequence[tuple[Question, Found]]) -> dict[str, Any]:
        """What the maps of questions and their answers are computed from."""
        return {
            "model": self._model,
            "images": images.pixels,
            "questions": [question.tokens for question, _ in answered],
            "question_words": [question.words for question, _ in answered],
            "answers": [one.target for _, one in answered],  # indices or tokens, for all of them
            "answer_words": [one.target_words for _, one in answered],
            "geometries": [item.geometry for item in images.items],
        }


def _choices(request: Request) -> Sequence[int] | None:
    """The answers of the closed list that the probability of one is shared among; of a contrast these two alone."""
    if not isinstance(request.find, Closed):
        return None
    if isinstance(request.given, GivenEntry) and request.given.versus is not None:
        return (request.given.index, request.given.versus)
    return request.find.choices


class _Images(NamedTuple):
    """Encoded images of one size."""

    items: list[Prepared]
    pixels: Tensor  # (b, c, h, w)
    context: Tensor | ProjectedContext
    far: list[OutOfDomain | None]
    """The mark of each picture that is unlike the training pictures."""

    sinks: list[tuple[tuple[int, int], ...]]
    """The sinks of each picture, where maps are asked for."""

    def select(self, rows: Sequence[int]) -> "_Images":
        """Return some of them, in that order."""
        chosen = torch.tensor(rows, device=self.pixels.device)
        context = self.context
        part = context.select(chosen) if isinstance(context, ProjectedContext) else context[chosen]
        items, far, sinks = ([of[row] for row in rows] for of in (self.items, self.far, self.sinks))
        return _Images(items, self.pixels[chosen], part, far, sinks)  # type: ignore[arg-type]
