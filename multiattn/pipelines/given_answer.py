"""An answer that the caller gives, as what maps explain: of the closed list, or any text where a decoder writes."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..attention import ProjectedContext
from ..errors import ModelError
from ..inputs import Tokenizer, Word
from ..models import TextDecoder
from .answer_decoders import AnswerDecoder, Closed
from .found_answers import Found
from .given_caption import given_tokens, score_tokens
from .results import Candidate, WrittenWord, probability, written_words
from .targets import Label, contrast

FOR_ALL = ("attention", "rollout")
"""The methods whose map of a closed list's answer is the same for every answer."""


@dataclass(frozen=True)
class GivenEntry:
    """An answer of the closed list."""

    find: Closed
    """How answers of the list are found, which says among which ones."""

    index: int
    """The answer, in the whole list."""

    versus: int | None = None
    """The answer that it is compared with."""

    def __call__(self, states: Float[Tensor, "r n D"], projected: ProjectedContext | None) -> list[Found]:
        """Return this answer to each question, with its probability among the choices."""
        del projected
        place, text = list(self.find.choices).index(self.index), self.find.labels[self.index]
        if self.versus is not None:
            text += f" rather than {self.find.labels[self.versus]}"
        with torch.inference_mode():
            logits = self.find.model.answer_logits(states)[:, list(self.find.choices)].float()  # (r, c)
            scores = logits.softmax(dim=1)[:, place].tolist()
        return [
            Found(
                (Candidate(text, score),),
                (WrittenWord(text, 0, len(text), score),),
                self.index,
                (Word(text, 0, len(text), ()),),
            )
            for score in scores
        ]


@dataclass(frozen=True)
class GivenText:
    """A text, as a decoder would write it."""

    decoder: TextDecoder
    text: str
    tokens: tuple[int, ...]
    words: tuple[Word, ...]

    versus: None = None
    """Texts are not compared."""

    def __call__(self, states: Float[Tensor, "r n D"], projected: ProjectedContext | None) -> list[Found]:
        """Return this text for each question, with its probability: the product over its tokens."""
        assert projected is not None
        start = self.decoder.config.start_token
        return [
            Found(
                (Candidate(self.text, probability(sum(one.log_probs))),),
                written_words(self.words, one.log_probs),
                (start, *self.tokens),
                self.words,
            )
            for one in score_tokens(self.decoder, projected, [start], self.tokens)
        ]


def given_answer(
    target: Label | None,
    versus: Label | None,
    *,
    methods: Sequence[str],
    find: AnswerDecoder,
    labels: Sequence[str],
    decoder: TextDecoder | None,
    tokenizer: Tokenizer,
    source: str,
) -> GivenEntry | GivenText | None:
    """Return the answer that maps explain; None for the one that is found.

    Args:
        target: The answer: one of the closed list by its name or number, or any text where a decoder writes.
        versus: Another answer of the closed list.
        methods: The map methods that are asked for.
        find: How answers are found.
        labels: The closed list.
        decoder: The decoder; None for a model with a closed list.
        tokenizer: The model's tokenizer.
        source: The model, for messages.

    Raises:
        ModelError: There is no such answer, it is not among the choices, or a decoder's answers are to be compared.
        InputError: The text cannot be used.
    """
    if target is None:
        if versus is not None:
            raise ModelError("`versus` must come with `target`, the answer to explain, but that is None: give both")
        return None
    if decoder is None:
        assert isinstance(find, Closed)
        index, other = contrast(target, versus, labels, source=source)
        assert index is not None
        if methods and not set(methods) - set(FOR_ALL):
            raise ModelError(
                f"`target` must be left out for {', '.join(methods)}, whose map is the same for every answer of a "
                "closed list: ask for relevance"
            )
        if index not in find.choices:
            raise ModelError(f"`target` must be one of `answers`, but is {labels[index]!r} instead: add it there")
        return GivenEntry(find, index, other)
    if versus is not None:
        raise ModelError(
            f"`versus` must be left out for {source}, which writes its answers: two texts have no difference of scores "
            "word by word"
        )
    tokens = given_tokens(str(target), tokenizer, (), most=decoder.config.max_length - 2, name="target")
    return GivenText(decoder, str(target), tokens, tuple(tokenizer.encode_words(str(target).strip())[1]))
