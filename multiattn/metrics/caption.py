"""The metrics of a set of captions: BLEU, METEOR, ROUGE-L, CIDEr-D, and self-retrieval.

`caption_scores` tokenizes sentences and computes all of them; `meteor.py` and `cider.py` hold the longer two.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..checks import require
from ..errors import InputError
from .cider import CiderD, check_references
from .meteor import meteor
from .tokenize import tokenize

_ORDERS = 4  # the longest run of words in BLEU
_TINY = 1e-15  # added to a count of correct runs
_SMALL = 1e-9  # added to a count of all runs
_BETA = 1.2  # weight of recall relative to precision in ROUGE-L


@dataclass(frozen=True)
class CaptionScores:
    """How similar a set of captions is to its references."""

    bleu1: float
    """Share of words that are in a reference, 0 to 1, lowered where the captions are shorter than the references."""

    bleu2: float
    """The same for runs of up to two words."""

    bleu3: float
    """The same for runs of up to three words."""

    bleu4: float
    """The same for runs of up to four words."""

    meteor: float
    """METEOR with the exact and the stem stage, without synonyms and paraphrases, 0 to 1."""

    rouge_l: float
    """ROUGE-L, 0 to 1."""

    cider: float | None
    """CIDEr-D, from 0; 10 where each caption equals its only reference word for word. None for a single item: words
    are weighed by how few items have them, and every word is in all of one."""


def caption_scores(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> CaptionScores:
    """Compare captions with references by people.

    Args:
        candidates: One caption per item, as a sentence.
        references: The references of each item, as sentences.

    Raises:
        InputError: There is no item, an item has no reference, or the numbers of captions and items differ.
    """
    _check(candidates, references)
    words = [tokenize(text) for text in candidates]
    reference_words = [[tokenize(text) for text in several] for several in references]
    bleu1, bleu2, bleu3, bleu4 = bleu(words, reference_words)
    return CaptionScores(
        bleu1=bleu1,
        bleu2=bleu2,
        bleu3=bleu3,
        bleu4=bleu4,
        meteor=meteor(words, reference_words),
        rouge_l=rouge_l(words, reference_words),
        cider=None if len(candidates) < 2 else float(_cider(candidates, references).mean()),
    )


def self_retrieval(
    candidates: Sequence[str], references: Sequence[Sequence[str]], *, pool: int = 100, seed: int = 0
) -> float:
    """Compute how often a caption is more similar to its own item's references than to those of random other items.

    A sanity check that the other metrics lack: a model with the same caption for every picture may have a fair BLEU,
    but is here at chance level, 1 / `pool`. The similarity is CIDEr-D.

    Args:
        candidates: One caption per item.
        references: The references of each item.
        pool: Number of items to choose from, the caption's own included; all where there are fewer.
        seed: Seed of the random items.

    Returns:
        The share of correct choices, 0 to 1. Where a caption is equally similar to its own and n other items, it counts
        as 1 / (n + 1).

    Raises:
        InputError: As for `caption_scores`, or `pool` is below 2.
    """
    _check(candidates, references)
    require(pool >= 2, "pool", must="at least 2", value=pool, error=InputError)
    generator = np.random.default_rng(seed)
    items = len(candidates)
    texts: list[str] = []
    indices: list[int] = []
    for i, text in enumerate(candidates):
        others = generator.choice(items - 1, size=min(pool, items) - 1, replace=False).tolist() if items > 1 else []
        drawn = [i, *(other + (other >= i) for other in others)]  # the own item first
        texts += [text] * len(drawn)
        indices += drawn
    similarity = CiderD(references).score(texts, indices).reshape(items, -1)
    own = similarity[:, :1]
    return float(((similarity <= own).all(axis=1) / (similarity == own).sum(axis=1)).mean())


def _cider(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> npt.NDArray[np.float64]:
    return CiderD(references).score(candidates, range(len(candidates)))


def _check(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> None:
    check_references(references)
    count, must = len(candidates), f"that of the items in `references` ({len(references)})"
    require(count == len(references), "len(candidates)", must=must, value=count, error=InputError)


def bleu(candidates: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]]) -> tuple[float, ...]:
    """Compute BLEU-1 to BLEU-4: how many runs of one to four words are in a reference too, over the whole set at once.

    Source: Papineni et al. 2002, "BLEU: a Method for Automatic Evaluation of Machine Translation"; the closest
    reference length, and the tiny counts that keep a logarithm finite, as in pycocoevalcap, `bleu/bleu_scorer.py`.

    Args:
        candidates: One caption per item, as words.
        references: The references of each item, as words.

    Returns:
        The four scores, 0 to 1.
    """
    right, guessed = [0] * _ORDERS, [0] * _ORDERS
    length = reference_length = 0
    for words, several in zip(candidates, references, strict=True):
        length += len(words)
        # the closest length; of two equally close, the shorter
        reference_length += min((abs(len(one) - len(words)), len(one)) for one in several)[1]
        for order in range(_ORDERS):
            found = _runs(words, order + 1)
            allowed: Counter[tuple[str, ...]] = Counter()
            for one in several:
                allowed |= _runs(one, order + 1)  # for each run the largest count in any one reference
            right[order] += sum((found & allowed).values())
            guessed[order] += max(0, len(words) - order)
    ratio = (length + _TINY) / (reference_length + _SMALL)
    brevity = math.exp(1 - 1 / ratio) if ratio < 1 else 1.0
    scores, product = [], 1.0
    for order in range(_ORDERS):
        product *= (right[order] + _TINY) / (guessed[order] + _SMALL)
        scores.append(brevity * product ** (1 / (order + 1)))
    return tuple(scores)


def _runs(words: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(words[start:] for start in range(n)), strict=False))


def rouge_l(candidates: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]]) -> float:
    """Compute the mean ROUGE-L of a set, 0 to 1; the arguments are those of `bleu`.

    The longest common subsequence of a caption and a reference is compared with the length of both.

    Source: Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries", section 3; the best precision and the
    best recall of any reference, and beta, as in pycocoevalcap, `rouge/rouge.py`.
    """
    scores = [_rouge_l(words, several) for words, several in zip(candidates, references, strict=True)]
    return sum(scores) / len(scores)


def _rouge_l(words: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    common = [(common_subsequence(words, one), len(one)) for one in references]
    if not any(shared for shared, _ in common):
        return 0.0
    precision = max(shared for shared, _ in common) / len(words)
    recall = max(shared / length for shared, length in common if length)
    return (1 + _BETA**2) * precision * recall / (recall + _BETA**2 * precision)


def common_subsequence(first: Sequence[str], second: Sequence[str]) -> int:
    """Return the number of words in the longest common subsequence: the same order, gaps allowed."""
    row = [0] * (len(second) + 1)  # row[j]: of the words of `first` so far and the first j of `second`
    for word in first:
        before = 0  # the previous row at j
        for j, other in enumerate(second):
            above = row[j + 1]
            row[j + 1] = before + 1 if word == other else max(above, row[j])
            before = above
    return row[-1]
