"""CIDEr-D: the similarity of a caption and its references in runs of one to four words, where rare runs weigh more.

Source: Vedantam et al. 2015, "CIDEr: Consensus-based Image Description Evaluation", sections 3 and 4; as in
pycocoevalcap, `cider/cider_scorer.py`, whose "CIDEr" is CIDEr-D with document frequencies from the references.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from ..checks import require
from ..errors import InputError
from .tokenize import tokenize

_ORDERS = 4
_SIGMA = 6.0  # width of the penalty for a different length, in words
_BITS = 24  # bits of a word's number in the key of a run: 16 million different words


class CiderD:
    """Scores captions against sets of references, whose document frequencies are counted once, in the constructor.

    It is fast enough for a reward in training: thousands of captions per second. A run of words is stored as one
    integer, and of the document frequencies only those above 1, because the others weigh the same as an unseen run.

    Args:
        references: The references of each item. With a single item, every run is in all documents, so that all weights
            and scores are 0.

    Raises:
        InputError: There is no item, or an item has no reference.
    """

    def __init__(self, references: Sequence[Sequence[str]]) -> None:
        check_references(references)
        self._numbers: dict[str, int] = {}  # the number of each word, from 1
        self._references = [[self._learn(one) for one in several] for several in references]
        self._log_items = math.log(len(references))
        found: Counter[int] = Counter()
        for several in self._references:
            found.update({key for words in several for runs in _runs(words) for key in runs})
        self._log_documents = {key: math.log(count) for key, count in found.items() if count > 1}

    def score(self, candidates: Sequence[str], indices: Iterable[int]) -> npt.NDArray[np.float64]:
        """Compute CIDEr-D of each caption against the references of one item; the mean over all items is CIDEr.

        Args:
            candidates: The captions.
            indices: For each caption, the index of its item in `references`.

        Returns:
            A score for each caption, from 0; 10 where a caption equals its only reference word for word.

        Raises:
            InputError: The numbers of captions and indices differ.
        """
        items, count = list(indices), len(candidates)
        must = f"that of `indices` ({len(items)})"
        require(count == len(items), "len(candidates)", must=must, value=count, error=InputError)
        # the samples of one picture share their references, and equal captions are common
        vectors: dict[str, _Vector] = {}
        indexed: dict[int, _Indexed] = {}
        scores = np.empty(len(items))
        for i, (text, item) in enumerate(zip(candidates, items, strict=True)):
            if text not in vectors:
                vectors[text] = self._weigh(self._number(text))
            if item not in indexed:
                indexed[item] = _index([self._weigh(words) for words in self._references[item]])
            scores[i] = _similarity(vectors[text], indexed[item])
        return scores

    def _learn(self, text: str) -> list[int]:
        return [self._numbers.setdefault(word, len(self._numbers) + 1) for word in tokenize(text)]

    def _number(self, text: str) -> list[int]:
        words = tokenize(text)
        # words of no reference get negative numbers, for this caption only: they match nothing, but have a weight
        unknown = {word: -1 - i for i, word in enumerate(dict.fromkeys(words)) if word not in self._numbers}
        return [unknown[word] if word in unknown else self._numbers[word] for word in words]

    def _weigh(self, words: list[int]) -> "_Vector":
        """Compute the tf-idf weights of a text's runs."""
        known, rare = self._log_documents, self._log_items
        weights = [
            {key: count * (rare - known.get(key, 0.0)) for key, count in Counter(runs).items()} for runs in _runs(words)
        ]
        norms = [math.sqrt(sum(weight * weight for weight in weighted.values())) for weighted in weights]
        # the length is the number of pairs of words, as in the reference implementation
        return weights, norms, max(0, len(words) - 1)


_Vector = tuple[list[dict[int, float]], list[float], int]
"""A text: for each order, the weight of each run, and the norm of these weights; its length."""

_Indexed = tuple[list[dict[int, list[tuple[int, float]]]], list[list[float]], list[int]]
"""The references of an item: for each order, run -> (index of the reference, weight); the norms; the lengths."""


def check_references(references: Sequence[Sequence[str]]) -> None:
    """Raise InputError unless there is at least one item, and each item has at least one reference."""
    if not references:
        raise InputError("`references` must have at least one item, but has none instead.")
    for i, several in enumerate(references):
        if isinstance(several, str) or not several:
            raise InputError(
                f"`references` must have a list of at least one caption for each item, but item {i} has {several!r} "
                "instead."
            )


def _runs(words: list[int]) -> list[list[int]]:
    """Return the runs of one to four words by order, each as one number whose digits are the words' numbers."""
    found = [words]
    for order in range(1, _ORDERS):
        found.append([(run << _BITS) + word for run, word in zip(found[-1], words[order:], strict=False)])
    return found


def _index(references: list[_Vector]) -> _Indexed:
    index: list[dict[int, list[tuple[int, float]]]] = [{} for _ in range(_ORDERS)]
    for i, (weights, _, _) in enumerate(references):
        for order in range(_ORDERS):
            for run, weight in weights[order].items():
                index[order].setdefault(run, []).append((i, weight))
    return index, [norms for _, norms, _ in references], [length for _, _, length in references]


def _similarity(candidate: _Vector, references: _Indexed) -> float:
    """Compute the mean over orders and references of the clipped cosine, lowered where the lengths differ."""
    weights, norms, length = candidate
    index, reference_norms, reference_lengths = references
    count = len(reference_lengths)
    total = [0.0] * count
    for order in range(_ORDERS):
        inner = [0.0] * count
        found = index[order]
        for run, weight in weights[order].items():
            for i, other in found.get(run, ()):
                inner[i] += min(weight, other) * other
        for i, value in enumerate(inner):
            if value:
                total[i] += value / (norms[order] * reference_norms[i][order])
    score = sum(
        value * math.exp(-((length - other) ** 2) / (2 * _SIGMA**2))
        for value, other in zip(total, reference_lengths, strict=True)
    )
    return 10 * score / (_ORDERS * count)
