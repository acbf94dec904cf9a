"""The three ways to an answer, once the question has been read: out of a closed list, written, or ranked.

Notation: r questions, n tokens of one, D width of their states.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from ..attention import ProjectedContext
from ..errors import InputError
from ..generation import Generated, GenerationConfig, generate, rank
from ..generation.search import check_numbers
from ..inputs import Tokenizer
from ..inputs.text import Word
from ..models import VQA, SingleStream, TextDecoder
from .results import Candidate, WrittenWord, probability, shifted, written_words

_RANKED = 128
"""Candidates of a list that are scored in full: those with the likeliest first tokens. As many as LAVIS takes."""


class Found(NamedTuple):
    """What was found for a question."""

    candidates: tuple[Candidate, ...]
    """Best first, at least one."""

    words: tuple[WrittenWord, ...]
    """Of the best."""

    said: int | tuple[int, ...]
    """The best as maps are asked for: its place in the closed list, or its tokens from the start token on."""

    said_words: tuple[Word, ...]
    """Its words, whose pieces count from the first token after the start token."""


@runtime_checkable
class AnswerDecoder(Protocol):
    """A way to an answer."""

    def __call__(self, states: Float[Tensor, "r n D"], projected: ProjectedContext | None) -> list[Found]:
        """What is found for each question.

        Args:
            states: Of its tokens, as the question encoder gave them.
            projected: What the decoder makes of them; None for a model that has none.
        """
        ...


@dataclass(frozen=True)
class Closed:
    """Out of a closed list, or a part of it."""

    model: VQA | SingleStream
    labels: Sequence[str]
    """All of the list."""

    places: Sequence[int]
    """Those to choose among."""

    top_k: int

    def __call__(self, states: Float[Tensor, "r n D"], projected: ProjectedContext | None) -> list[Found]:
        """The likeliest, with their share of the probability of all that may be chosen."""
        del projected
        with torch.inference_mode():
            logits = self.model.answer_logits(states)[:, list(self.places)].float()  # (r, c)
            check_numbers(logits.amax(dim=1).tolist())
            # stable: of equals, the first in the list
            best, order = logits.softmax(dim=1).sort(dim=1, descending=True, stable=True)
        return [
            self._found(scores, [self.places[i] for i in chosen])
            for scores, chosen in zip(best[:, : self.top_k].tolist(), order[:, : self.top_k].tolist(), strict=True)
        ]

    def _found(self, scores: list[float], places: list[int]) -> Found:
        candidates = tuple(Candidate(self.labels[place], score) for place, score in zip(places, scores, strict=True))
        text = candidates[0].text
        word = WrittenWord(text, 0, len(text), candidates[0].score)
        return Found(candidates, (word,), places[0], (Word(text, 0, len(text), ()),))


@dataclass(frozen=True)
class Generative:
    """By a decoder, in words of its own."""

    decoder: TextDecoder
    tokenizer: Tokenizer
    options: GenerationConfig

    def __call__(self, states: Float[Tensor, "r n D"], projected: ProjectedContext | None) -> list[Found]:
        """What a search finds."""
        start = self.decoder.config.start_token
        assert projected is not None
        found = generate(self.decoder, projected, [[start]] * len(states), self.options)
        return [self._found(candidates, start) for candidates in found]

    def _found(self, candidates: Sequence[Generated], start: int) -> Found:
        texts = [self.tokenizer.decode(one.tokens) for one in candidates]
        cut = len(texts[0]) - len(texts[0].lstrip())
        words = shifted(self.tokenizer.words(candidates[0].tokens), cut)
        return _found([(text.strip(), one) for text, one in zip(texts, candidates, strict=True)], words, start=start)


@dataclass(frozen=True)
class Ranked:
    """By a decoder, out of texts that it scores."""

    decoder: TextDecoder
    texts: Mapping[tuple[int, ...], tuple[str, Sequence[Word]]]
    """By their tokens, with their words."""

    top_k: int

    def __call__(self, states: Float[Tensor, "r n D"], projected: ProjectedContext | None) -> list[Found]:
        """The likeliest of those that were scored in full."""
        assert projected is not None
        ranked = rank(self.decoder, projected, list(self.texts), most=max(_RANKED, self.top_k))
        start = self.decoder.config.start_token
        found = []
        for best in (of_question[: self.top_k] for of_question in ranked):
            words = self.texts[best[0].tokens][1]
            found.append(_found([(self.texts[one.tokens][0], one) for one in best], words, start=start))
        return found


def spelt(
    choices: Sequence[str], tokenizer: Tokenizer, *, longest: int
) -> dict[tuple[int, ...], tuple[str, tuple[Word, ...]]]:
    """Answers to rank and their words, by their tokens.

    Args:
        choices: The answers.
        tokenizer: The model's.
        longest: Tokens that one may have.

    Raises:
        InputError: The vocabulary has no token for one, one is too long, or two are the same to the model.
    """
    found: dict[tuple[int, ...], tuple[str, tuple[Word, ...]]] = {}
    for choice in choices:
        ids, words = tokenizer.encode_words(choice)
        if not tokenizer.decode(ids).strip():
            raise InputError(
                f"`answers` must have words that the model's vocabulary knows, but {short(choice)} has none: "
                "leave it out"
            )
        if len(ids) > longest:
            raise InputError(
                f"`answers` must have at most {longest} tokens each, but {short(choice)} has {len(ids)}: shorten it"
            )
        if tuple(ids) in found:
            raise InputError(
                f"`answers` must be different to the model, but {short(choice)} and {short(found[tuple(ids)][0])} are "
                "the same tokens: leave one out"
            )
        found[tuple(ids)] = choice, tuple(words)
    return found


def short(text: str) -> str:
    """A text in quotes for a message, cut where it is long."""
    return repr(text if len(text) <= 40 else f"{text[:40]} ...")


def _found(texts: Sequence[tuple[str, Generated]], words: Sequence[Word], *, start: int) -> Found:
    best = texts[0][1]
    return Found(
        tuple(Candidate(text, probability(sum(one.log_probs))) for text, one in texts),
        written_words(words, best.log_probs),
        (start, *best.tokens),
        tuple(words),
    )
