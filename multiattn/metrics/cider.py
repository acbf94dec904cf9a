"""CIDEr-D: how alike a caption and its references are in runs of one to four words, rare ones counting more.

Source: Vedantam et al. 2015, "CIDEr: Consensus-based Image Description Evaluation", sections 3 and 4; as in
pycocoevalcap, `cider/cider_scorer.py`, whose "CIDEr" is CIDEr-D with document frequencies from the references.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from .tokenize import tokenize

_ORDERS = 4
_SIGMA = 6.0  # words by which a caption may differ in length before it is held against it
_BITS = 24  # of a word's number in the key of a run: 16 million different words


class CiderD:
    """Scores captions against sets of references, whose document frequencies are counted once, here.

    Quick enough to be a reward in training: thousands of captions a second. A run of words is kept as one whole number,
    and of the document frequencies only those above 1, because the others have the same weight as a run never seen.

    Args:
        references: Each item's references. With one item alone every run of words is in all documents, which makes
            every weight and every score 0.

    Raises:
        InputError: There is no item, or an item has no reference.
    """

    def __init__(self, references: Sequence[Sequence[str]]) -> None:
        check_references(references)
        self._numbers: dict[str, int] = {}  # each word's, from 1
        self._references = [[self._learn(one) for one in several] for several in references]
        self._log_items = math.log(len(references))
        found: Counter[int] = Counter()
        for several in self._references:
            found.update({key for words in several for runs in _runs(words) for key in runs})
        self._log_documents = {key: math.log(count) for key, count in found.items() if count > 1}

    def score(self, candidates: Sequence[str], indices: Iterable[int]) -> npt.NDArray[np.float64]:
        """CIDEr-D of each caption against the references of one item; their mean over all items is the set's CIDEr.

        Args:
            candidates: The captions.
            indices: For each caption, the place of its item in `references`.

        Returns:
            A score for each caption, from 0; 10 is a caption that is its only reference word for word.

        Raises:
            InputError: There are not as many captions as indices.
        """
        places = list(indices)
        if len(candidates) != len(places):
            raise InputError(
                f"`candidates` must be as many as `indices` ({len(places)}), but are {len(candidates)} instead."
            )
        # the samples of one picture share their references, and captions that are alike are common
        cooked: dict[str, _Cooked] = {}
        indexed: dict[int, _Indexed] = {}
        scores = np.empty(len(places))
        for i, (text, place) in enumerate(zip(candidates, places, strict=True)):
            if text not in cooked:
                cooked[text] = self._cook(self._number(text))
            if place not in indexed:
                indexed[place] = _index([self._cook(words) for words in self._references[place]])
            scores[i] = _similarity(cooked[text], indexed[place])
        return scores

    def _learn(self, text: str) -> list[int]:
        return [self._numbers.setdefault(word, len(self._numbers) + 1) for word in tokenize(text)]

    def _number(self, text: str) -> list[int]:
        words = tokenize(text)
        # words of no reference get numbers of their own for this caption: they match nothing, but have a weight
        strange = {word: -1 - i for i, word in enumerate(dict.fromkeys(words)) if word not in self._numbers}
        return [strange[word] if word in strange else self._numbers[word] for word in words]

    def _cook(self, words: list[int]) -> "_Cooked":
        """The weights of a text's runs: how often, times how rare."""
        weights, norms = [], []
        known, rare = self._log_documents, self._log_items
        for runs in _runs(words):
            weighted = {key: count * (rare - known.get(key, 0.0)) for key, count in Counter(runs).items()}
            weights.append(weighted)
            norms.append(math.sqrt(sum(weight * weight for weight in weighted.values())))
        # the reference implementation counts pairs of words
        return weights, norms, max(0, len(words) - 1)


_Cooked = tuple[list[dict[int, float]], list[float], int]
"""Of one text: for each order the weight of each run and the root of the sum of their squares; the length."""

_Indexed = tuple[list[dict[int, list[tuple[int, float]]]], list[list[float]], list[int]]
"""Of an item's references: for each order, run -> (which reference, its weight there); the norms; the lengths."""


def check_references(references: Sequence[Sequence[str]]) -> None:
    """Makes sure that there is something to compare with.

    Raises:
        InputError: There is no item, or an item has no reference.
    """
    if not references:
        raise InputError("`references` must have at least one item, but has none instead.")
    for i, several in enumerate(references):
        if isinstance(several, str) or not several:
            raise InputError(
                f"`references` must have a list of at least one caption for each item, but item {i} has {several!r} "
                "instead."
            )


def _runs(words: list[int]) -> list[list[int]]:
    """The runs of one to four words, each as one number: the words' numbers as digits."""
    found = [words]
    for order in range(1, _ORDERS):
        found.append([(run << _BITS) + word for run, word in zip(found[-1], words[order:], strict=False)])
    return found


def _index(references: list[_Cooked]) -> _Indexed:
    places: list[dict[int, list[tuple[int, float]]]] = [{} for _ in range(_ORDERS)]
    for which, (weights, _, _) in enumerate(references):
        for order in range(_ORDERS):
            for run, weight in weights[order].items():
                places[order].setdefault(run, []).append((which, weight))
    return places, [norms for _, norms, _ in references], [length for _, _, length in references]


def _similarity(candidate: _Cooked, references: _Indexed) -> float:
    """The mean over orders and references of the clipped cosine, less where the lengths differ."""
    weights, norms, length = candidate
    places, reference_norms, reference_lengths = references
    count = len(reference_lengths)
    total = [0.0] * count
    for order in range(_ORDERS):
        inner = [0.0] * count
        found = places[order]
        for run, weight in weights[order].items():
            for which, other in found.get(run, ()):
                inner[which] += min(weight, other) * other
        for which, value in enumerate(inner):
            if value:
                total[which] += value / (norms[order] * reference_norms[which][order])
    score = sum(
        value * math.exp(-((length - other) ** 2) / (2 * _SIGMA**2))
        for value, other in zip(total, reference_lengths, strict=True)
    )
    return 10 * score / (_ORDERS * count)
