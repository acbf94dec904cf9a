"""Answers that were found, with their words and probabilities. No torch."""

from collections.abc import Sequence
from typing import NamedTuple

from ..generation import Generated
from ..inputs import Tokenizer, Word
from .results import Candidate, WrittenWord, probability, shifted, written_words


class Found(NamedTuple):
    """The answers to one question."""

    candidates: tuple[Candidate, ...]
    """Best first, at least one."""

    words: tuple[WrittenWord, ...]
    """The words of the best answer."""

    target: int | tuple[int, ...]
    """The best answer as the maps take it: its index in the closed list, or its tokens from the start token on."""

    target_words: tuple[Word, ...]
    """Its words; their pieces count from the first token after the start token."""


def found_in_list(labels: Sequence[str], scores: Sequence[float], indices: Sequence[int]) -> Found:
    """Return answers of a closed list by their indices, best first."""
    candidates = tuple(Candidate(labels[index], score) for index, score in zip(indices, scores, strict=True))
    text = candidates[0].text
    word = WrittenWord(text, 0, len(text), candidates[0].score)
    return Found(candidates, (word,), indices[0], (Word(text, 0, len(text), ()),))


def found_texts(tokenizer: Tokenizer, candidates: Sequence[Generated], *, start: int) -> Found:
    """Return answers that a decoder wrote after its token `start`, best first."""
    texts = [tokenizer.decode(one.tokens) for one in candidates]
    cut = len(texts[0]) - len(texts[0].lstrip())
    words = shifted(tokenizer.words(candidates[0].tokens), cut)
    return found_ranked([(text.strip(), one) for text, one in zip(texts, candidates, strict=True)], words, start=start)


def found_ranked(texts: Sequence[tuple[str, Generated]], words: Sequence[Word], *, start: int) -> Found:
    """Return answers with the words of the best."""
    best = texts[0][1]
    return Found(
        tuple(Candidate(text, probability(sum(one.log_probs))) for text, one in texts),
        written_words(words, best.log_probs),
        (start, *best.tokens),
        tuple(words),
    )
