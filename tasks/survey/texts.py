"""The length of texts in words and tokens, what the vocabulary lacks, and what is too long."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from multiattn.data.spread import evenly_spread
from multiattn.inputs import Tokenizer

from .files import summary
from .labels import like_nothing

TOKENIZED = 20_000
"""Texts of a split and kind that are encoded."""

_SHOWN = 5  # words that the vocabulary lacks


@dataclass(frozen=True)
class Texts:
    """Texts of one kind in a split."""

    kind: str
    """What they are, for messages: "captions"."""

    texts: Sequence[str]
    """As they were written."""

    clean: Callable[[str], str] = str
    """What is done to each before it is encoded."""

    most: int | None = None
    """The largest number of tokens that are used."""

    longer: Literal["cut", "skipped"] = "cut"
    """What becomes of a longer one."""


def described(texts: Texts, tokenizer: Tokenizer) -> dict[str, Any]:
    """Describe texts.

    Returns:
        `texts`: their number; `words`: a summary; `like_nothing`: those such as "nan", with their numbers. And of those
        that are encoded, `looked_at` of them: `tokens`, in all; `unknown`: how many of these are no word or letter that
        the vocabulary has; `unknown_words`: the most frequent; `most_tokens`: how many can be used; `longer`: how many
        texts have more, and `are`: what becomes of them.
    """
    chosen = evenly_spread(texts.texts, TOKENIZED)
    unknown = tokenizer.id_of("[UNK]")
    tokens = lost = longer = 0
    words: Counter[str] = Counter()
    for text in chosen:
        cleaned = texts.clean(text)
        ids = tokenizer.encode(cleaned)
        tokens += len(ids)
        longer += texts.most is not None and len(ids) > texts.most
        if unknown is not None and (missing := ids.count(unknown)):
            lost += missing
            words.update(word for word in cleaned.split() if unknown in tokenizer.encode(word))
    return {
        "texts": len(texts.texts),
        "words": summary(len(text.split()) for text in texts.texts),
        "like_nothing": like_nothing(texts.texts),
        "looked_at": len(chosen),
        "tokens": tokens,
        "unknown": lost,
        "unknown_words": [word for word, _ in words.most_common(_SHOWN)],
        "most_tokens": texts.most,
        "longer": longer,
        "are": texts.longer,
    }
