"""Answers that can be explained again, for `multiattn evaluate maps`."""

import copy
import random
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor, nn

from ..data.questions import Question, read_questions
from ..inputs import Geometry, Word
from ..maps import AnswerMaps, explain_answer, patches_within
from ..maps.heads import TappedPrediction
from ..maps.masked_inputs import masked_answer
from ..maps.masking import Filling
from ..maps.measuring import Explained
from ..maps.tapped import tapped_answer
from ..models import VQA, SingleStream
from ..weights import ModelBundle
from .answer import AnswerPipeline
from .answer_decoders import encode_answers
from .explained import LIKELY, Explainer, Values


class AnswerExplainer(Explainer[tuple[Path, Question]]):
    """Answers to questions about pictures."""

    things = "answers"

    def __init__(self, bundle: ModelBundle, *, device: torch.device, filling: Filling = "mean") -> None:
        super().__init__(bundle, device=device, filling=filling)
        self._answer = AnswerPipeline(replace(bundle, model=copy.deepcopy(bundle.model)), device=device)

    @staticmethod
    def read(folder: str, split: str) -> Sequence[tuple[Path, Question]]:
        """List the questions of a split."""
        return [(path, question) for path, questions in read_questions(folder, split).items for question in questions]

    def __call__(self, one: tuple[Path, Question], drawn: random.Random) -> Explained | None:
        """Answer a question."""
        path, question = one
        model = self.bundle.require(VQA, SingleStream)
        found = self._answer(path, question.text, strict=True)
        if found.score < LIKELY or not found.words:
            return None
        image, geometry = self._opened(path)
        tokens, words = self._asked(question.text)
        first, *second = (self._as_target(one.text) for one in found.candidates[:2])
        masked = masked_answer(model, image[0], tokens, first[0], filling=self.filling)
        made = partial(self._explain, image, tokens, words)
        inside = self._inside(question, image, tokens, words, *first, geometry=geometry)
        return Explained(masked, partial(made, *first), partial(made, *second[0]) if second else None, inside)

    def tapped(self, one: tuple[Path, Question]) -> TappedPrediction | None:
        """Answer a question."""
        path, question = one
        found = self._answer(path, question.text, strict=True)
        if not found.words:
            return None
        image, geometry = self._opened(path)
        tokens, words = self._asked(question.text)
        answer, answer_words = self._as_target(found.answer)
        inside = self._inside(question, image, tokens, words, answer, answer_words, geometry=geometry)
        of_patches = None if inside is None else torch.as_tensor(inside, dtype=torch.float32).flatten()
        return tapped_answer(self.bundle.require(VQA, SingleStream), image[0], tokens, answer, inside=of_patches)

    def _asked(self, text: str) -> tuple[list[int], Sequence[Word]]:
        """The tokens of a question, special ones included, and its words."""
        config = self.bundle.require(VQA, SingleStream).config.question
        ids, words = self.bundle.vocabulary.encode_words(text)
        return [config.start_token, *ids, config.end_token], words

    def _inside(
        self,
        question: Question,
        image: Tensor,
        tokens: Sequence[int],
        words: Sequence[Word],
        answer: int | Sequence[int],
        answer_words: Sequence[Word],
        *,
        geometry: Geometry,
    ) -> Bool[np.ndarray, "y x"] | None:
        """The patches in the boxes of what a question is about; None where these are unknown."""
        if not question.boxes:
            return None
        over = self._maps(self.model, "attention", image, tokens, words, answer, answer_words, geometry=geometry)
        return patches_within(over.answer, question.boxes)

    def _as_target(self, answer: str) -> tuple[int | Sequence[int], Sequence[Word]]:
        """An answer as the maps take it, and its words."""
        model = self.bundle.require(VQA, SingleStream)
        decoder = model.decoder if isinstance(model, VQA) else None
        if decoder is None:
            return self.bundle.labels.index(answer), (Word(answer, 0, len(answer), ()),)
        encoded = encode_answers([answer], self.bundle.vocabulary, longest=decoder.config.max_length - 1)
        ((ids, (_, words)),) = encoded.items()
        return (decoder.config.start_token, *ids), words

    def _explain(
        self,
        image: Tensor,
        tokens: Sequence[int],
        words: Sequence[Word],
        answer: int | Sequence[int],
        answer_words: Sequence[Word],
        model: nn.Module,
        method: str,
    ) -> Values:
        found = self._maps(model, method, image, tokens, words, answer, answer_words)
        return np.asarray(found.answer.values.mean(axis=0))

    def _maps(
        self,
        model: nn.Module,
        method: str,
        image: Tensor,
        tokens: Sequence[int],
        words: Sequence[Word],
        answer: int | Sequence[int],
        answer_words: Sequence[Word],
        geometry: Geometry | None = None,
    ) -> AnswerMaps:
        assert isinstance(model, VQA | SingleStream)
        (found,) = explain_answer(
            model,
            image,
            [tokens],
            [words],
            answers=cast(list[int], [answer]),  # or tokens
            answer_words=[answer_words],
            method=method,
            geometries=[geometry],
            heads=self.bundle.decoding.get("pointing_heads"),
        )
        return found
