"""BLEU-1 to BLEU-4: how many of the runs of one to four words are in a reference too, over the whole set at once.

Source: Papineni et al. 2002, "BLEU: a Method for Automatic Evaluation of Machine Translation"; the closest reference
length, and the tiny counts that keep a logarithm finite, as in pycocoevalcap, `bleu/bleu_scorer.py`.
"""

import math
from collections import Counter
from collections.abc import Sequence

_ORDERS = 4
_TINY = 1e-15  # beside a count of right runs
_SMALL = 1e-9  # beside a count of all runs


def bleu(candidates: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]]) -> tuple[float, ...]:
    """BLEU-1, BLEU-2, BLEU-3 and BLEU-4 of a set.

    Args:
        candidates: One caption an item, as words.
        references: Each item's references, as words.

    Returns:
        The four figures, 0 to 1.
    """
    right, guessed = [0] * _ORDERS, [0] * _ORDERS
    length = reference_length = 0
    for words, several in zip(candidates, references, strict=True):
        length += len(words)
        reference_length += min((abs(len(one) - len(words)), len(one)) for one in several)[1]  # of two, the shorter
        for order in range(_ORDERS):
            found = _runs(words, order + 1)
            allowed: Counter[tuple[str, ...]] = Counter()
            for one in several:
                allowed |= _runs(one, order + 1)  # the most often in any one reference
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
