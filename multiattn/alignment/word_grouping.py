"""The words of a transcript as they are spoken: how tokens group into them, and where punctuation belongs."""

import os
import string
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from ..inputs.text import Tokenizer, Word

UNSPACED = frozenset({"zh", "ja", "th", "lo", "my", "yue"})
"""Languages written without spaces between words, by Whisper's codes: each character is timed there by itself."""

OPENING = "\"'“¿([{-"
"""Punctuation that belongs to the word after it, where a space stands before it. As Whisper has it."""

CLOSING = "\"'.。,，!！?？:：”)]}、"
"""Punctuation that belongs to the word before it, where no space stands between."""

_BROKEN = "\ufffd"  # stands for bytes that make no character, or none yet


class SpokenWord(NamedTuple):
    """A word of a transcript, and when it was spoken."""

    text: str
    """As it stands in the transcript, with the punctuation that belongs to it."""

    start: float
    """When it begins, in seconds."""

    end: float
    """When it ends, in seconds; never before `start`."""

    score: float
    """The mean probability of its tokens; 0 to 1."""

    start_char: int
    """Where it begins in the transcript, in characters."""

    end_char: int
    """Where it ends there; the character at this place is no longer part of it."""

    pieces: tuple[int, ...]
    """Its tokens, counted from the first after the prompt."""


def spoken_words(tokenizer: Tokenizer, ids: Sequence[int], *, language: str | None = None) -> list[Word]:
    """The words of `tokenizer.decode(ids)`, grouped for times.

    A word begins at a token that begins with a space, and at punctuation, so that times are sought for both: unlike
    `Tokenizer.words`, a word never waits for the token after it. Numbers and signs are words as others are. Where
    several tokens make one character, they stay together. Special tokens belong to no word, nor do lone spaces.

    Args:
        tokenizer: The model's.
        ids: Of the text.
        language: Its code; characters are words of their own in one of `UNSPACED`.

    Source: openai-whisper, tokenizer.py, `split_to_word_tokens`.
    """
    text = tokenizer.decode(ids)
    places = [i for i, token in enumerate(ids) if token not in tokenizer.special_ids]
    kept = [ids[i] for i in places]
    # what a token begins with is what those before it leave open: bytes that make no character yet settle nothing
    before = [tokenizer.decode(kept[:i]).rstrip(_BROKEN) for i in range(len(kept))]
    bounds = [*(len(os.path.commonprefix([settled, text])) for settled in before), len(text)]
    found: list[Word] = []
    waiting: list[int] = []  # tokens whose character is not whole yet
    for place, (start, end) in zip(places, pairwise(bounds), strict=True):
        waiting.append(place)
        if start == end:
            continue
        unit = text[start:end]
        own = unit.strip()
        begins = not found or unit[0].isspace() or own in string.punctuation or language in UNSPACED
        first = start + len(unit) - len(unit.lstrip())
        if begins or found[-1].end != first:
            if own:
                found.append(Word(own, first, first + len(own), tuple(waiting)))
        else:
            last = found.pop()
            found.append(Word(last.text + own, last.start, first + len(own), (*last.pieces, *waiting)))
        waiting = []
    return found


def merged(words: Sequence[SpokenWord]) -> list[SpokenWord]:
    """The words with their punctuation: what is not spoken takes no time, so the word's times and score stay its own.

    Source: openai-whisper, timing.py, `merge_punctuations`.
    """
    opened: list[SpokenWord] = []
    for i in range(len(words) - 1, -1, -1):
        word = words[i]
        apart = word.start_char == 0 or (word.start_char > words[i - 1].end_char if i else True)
        if opened and apart and word.text in OPENING:
            opened.append(_joined(word, opened.pop(), times_of=1))
        else:
            opened.append(word)
    closed: list[SpokenWord] = []
    for word in reversed(opened):
        if closed and word.start_char == closed[-1].end_char and word.text in CLOSING:
            closed.append(_joined(closed.pop(), word, times_of=0))
        else:
            closed.append(word)
    return closed


def _joined(first: SpokenWord, second: SpokenWord, *, times_of: int) -> SpokenWord:
    gap = " " * (second.start_char - first.end_char)
    return (first, second)[times_of]._replace(
        text=first.text + gap + second.text,
        start_char=first.start_char,
        end_char=second.end_char,
        pieces=(*first.pieces, *second.pieces),
    )
