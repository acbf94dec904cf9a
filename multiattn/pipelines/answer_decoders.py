"""Three ways from the states of a question to an answer: from a closed list, written by a decoder, or ranked by it.

Notation: r questions, n tokens in each, D width of their states.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..attention import ProjectedContext
from ..errors import InputError
from ..generation import GenerationConfig, generate, rank
from ..generation.texts import check_numbers
from ..inputs import Tokenizer, Word
from ..models import VQA, SingleStream, TextDecoder
from .found_answers import Found, found_in_list, found_ranked, found_texts
from .questions import quoted

_RANKED = 128
"""Number of answers of a list that are scored in full: those with the likeliest first tokens. Source: LAVIS."""


AnswerDecoder = Callable[[Float[Tensor, "r n D"], ProjectedContext | None], list[Found]]
"""Takes the states of the questions' tokens, from the question encoder, and their keys and values for the decoder (None
for a model without one); returns the answers to each question."""


@dataclass(frozen=True)
class Closed:
    """Answers from a closed list, or from a part of it."""

    model: VQA | SingleStream
    labels: Sequence[str]
    """The whole list."""

    choices: Sequence[int]
    """The indices of the answers to choose from."""

    top_k: int

    def __call__(self, states: Float[Tensor, "r n D"], projected: ProjectedContext | None) -> list[Found]:
        """Return the likeliest answers, scored by a softmax over the choices."""
        del projected
        with torch.inference_mode():
            logits = self.model.answer_logits(states)[:, list(self.choices)].float()  # (r, c)
            check_numbers(logits.amax(dim=1).tolist())
            # stable: of equal scores, the first in the list
            best, order = logits.softmax(dim=1).sort(dim=1, descending=True, stable=True)
        return [
            found_in_list(self.labels, scores, [self.choices[i] for i in chosen])
            for scores, chosen in zip(best[:, : self.top_k].tolist(), order[:, : self.top_k].tolist(), strict=True)
        ]

    def entry(self, text: str) -> Found:
        """Return an answer of the list, without its probability, as what maps explain."""
        return found_in_list(self.labels, [0.0], [self.labels.index(text)])


@dataclass(frozen=True)
class Generative:
    """Answers that a decoder writes."""

    decoder: TextDecoder
    tokenizer: Tokenizer
    options: GenerationConfig

    def __call__(self, states: Float[Tensor, "r n D"], projected: ProjectedContext | None) -> list[Found]:
        """Return the answers that the search finds."""
        start = self.decoder.config.start_token
        assert projected is not None
        found = generate(self.decoder, projected, [[start]] * len(states), self.options)
        return [found_texts(self.tokenizer, candidates, start=start) for candidates in found]


@dataclass(frozen=True)
class Ranked:
    """Answers from a list of texts, scored by a decoder."""

    decoder: TextDecoder
    texts: Mapping[tuple[int, ...], tuple[str, Sequence[Word]]]
    """The answers and their words, by their tokens."""

    top_k: int

    def __call__(self, states: Float[Tensor, "r n D"], projected: ProjectedContext | None) -> list[Found]:
        """Return the likeliest of the answers that were scored in full."""
        assert projected is not None
        ranked = rank(self.decoder, projected, list(self.texts), most=max(_RANKED, self.top_k))
        start = self.decoder.config.start_token
        return [
            found_ranked(
                [(self.texts[one.tokens][0], one) for one in best[: self.top_k]],
                self.texts[best[0].tokens][1],
                start=start,
            )
            for best in ranked
        ]


def encode_answers(
    choices: Sequence[str], tokenizer: Tokenizer, *, longest: int
) -> dict[tuple[int, ...], tuple[str, tuple[Word, ...]]]:
    """Return answers and their words, by their tokens.

    Args:
        choices: The answers.
        tokenizer: The model's tokenizer.
        longest: The most tokens that an answer may have.

    Raises:
        InputError: An answer has no known token, is too long, or has the same tokens as another.
    """
    found: dict[tuple[int, ...], tuple[str, tuple[Word, ...]]] = {}
    for choice in choices:
        ids, words = tokenizer.encode_words(choice)
        if not tokenizer.decode(ids).strip():
            raise InputError(
                f"`answers` must have words that the model's vocabulary knows, but {quoted(choice)} has none: "
                "leave it out"
            )
        if len(ids) > longest:
            raise InputError(
                f"`answers` must have at most {longest} tokens each, but {quoted(choice)} has {len(ids)}: shorten it"
            )
        if tuple(ids) in found:
            raise InputError(
                f"`answers` must be different to the model, but {quoted(choice)} and {quoted(found[tuple(ids)][0])} "
                "are the same tokens: leave one out"
            )
        found[tuple(ids)] = choice, tuple(words)
    return found
