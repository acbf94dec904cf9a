"""Words of a transcript for timing: how tokens are grouped into words, and which word punctuation belongs to."""

import os
import string
from collections.abc import Sequence
from itertools import pairwise

from ..inputs.graphemes import within_cluster
from ..inputs.spoken_words import NOT_SAID, UNSPACED, SpokenWord
from ..inputs.text import Tokenizer, Word

__all__ = ["CLOSING", "NOT_SAID", "OPENING", "SpokenWord", "UNSPACED", "group_words", "merge_punctuation"]

OPENING = "\"'“¿([{-"
"""Punctuation that belongs to the next word, if a space stands before it. Source: openai-whisper, timing.py."""

CLOSING = "\"'.。,，!！?？:：”)]}、"
"""Punctuation that belongs to the word before it, if no space stands between. Source: openai-whisper, timing.py."""

_BROKEN = "\ufffd"  # decoded from bytes that are not, or not yet, a whole character


def group_words(tokenizer: Tokenizer, ids: Sequence[int], *, language: str | None = None) -> list[Word]:
    """Group the tokens of `tokenizer.decode(ids)` into words that can be timed.

    A word begins at a token that begins with a space, and at punctuation, so that both are timed: unlike in
    `Tokenizer.words`, a word never depends on the token after it. Numbers and symbols are words like any others. Tokens
    that only together decode to a character stay together, and so do those of one grapheme cluster. Special tokens and
    lone spaces belong to no word.

    Args:
        tokenizer: The vocabulary of `ids`.
        ids: Tokens of the text.
        language: Language code; in one of `UNSPACED`, each character is a word.

    Source: openai-whisper, tokenizer.py, `split_to_word_tokens`.
    """
    text = tokenizer.decode(ids)
    indices = [i for i, token in enumerate(ids) if token not in tokenizer.special_ids]
    kept = [ids[i] for i in indices]
    # a token begins where the decoded text of the tokens before it ends, incomplete characters not counted
    before = [tokenizer.decode(kept[:i]).rstrip(_BROKEN) for i in range(len(kept))]
    bounds = [*(len(os.path.commonprefix([decoded, text])) for decoded in before), len(text)]
    found: list[Word] = []
    pending: list[int] = []  # tokens of a character that is not complete yet
    for index, (start, end) in zip(indices, pairwise(bounds), strict=True):
        pending.append(index)
        if start == end:
            continue
        unit = text[start:end]
        own = unit.strip()
        begins = not found or unit[0].isspace() or own in string.punctuation or language in UNSPACED
        first = start + len(unit) - len(unit.lstrip())
        if found and found[-1].end == first and within_cluster(text, first):
            begins = False
        if begins or found[-1].end != first:
            if own:
                found.append(Word(own, first, first + len(own), tuple(pending)))
        else:
            last = found.pop()
            found.append(Word(last.text + own, last.start, first + len(own), (*last.pieces, *pending)))
        pending = []
    return found


def merge_punctuation(words: Sequence[SpokenWord]) -> list[SpokenWord]:
    """Join punctuation with the word that it belongs to, whose times and score stay: punctuation takes no time.

    Source: openai-whisper, timing.py, `merge_punctuations`.
    """
    opened: list[SpokenWord] = []
    for i in range(len(words) - 1, -1, -1):
        word = words[i]
        after_space = word.start_char == 0 or (word.start_char > words[i - 1].end_char if i else True)
        if opened and after_space and word.text in OPENING:
            opened.append(_join(word, opened.pop(), times_of=1))
        else:
            opened.append(word)
    closed: list[SpokenWord] = []
    for word in reversed(opened):
        if closed and word.start_char == closed[-1].end_char and word.text in CLOSING:
            closed.append(_join(closed.pop(), word, times_of=0))
        else:
            closed.append(word)
    return closed


def _join(first: SpokenWord, second: SpokenWord, *, times_of: int) -> SpokenWord:
    gap = " " * (second.start_char - first.end_char)
    return (first, second)[times_of]._replace(
        text=first.text + gap + second.text,
        start_char=first.start_char,
        end_char=second.end_char,
        pieces=(*first.pieces, *second.pieces),
    )
