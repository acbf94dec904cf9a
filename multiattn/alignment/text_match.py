"""Two texts side by side: which words of one are words of the other, in order.

Runs of three words that both texts have once are found first; between them, words are aligned by an edit distance whose
gaps cost more to open than to extend, so that what is missing is missing in one piece. What is left on both sides of a
gap is compared letter by letter: "twenty-four" and "24", spelled out, or "some one" and "someone" are partners, though
no word of one is a word of the other.

Notation: m and n items (words, or letters) of the two texts. Source: Gotoh 1982, "An improved algorithm for matching
biological sequences", for the edit distance.
"""

from bisect import bisect_left
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

_RUN = 3
"""Words of a run that anchors the texts to each other, where it occurs once in each."""

_MOST_CELLS = 20_000_000
"""Where more pairs of words lie between two anchors, the texts have nothing to do with each other there."""

_MOST_LETTER_CELLS = 4_000_000

ALIKE = 0.6
"""Share of a word's letters that must have partners for the word to count as found, spelled in another way."""


class Pair(NamedTuple):
    """A word of each text."""

    given: int
    found: int


class Match(NamedTuple):
    """How two texts fit each other."""

    pairs: tuple[Pair, ...]
    """Equal words, in order."""

    alike: tuple[float, ...]
    """For each word of the given text, the share of its letters that have a partner, or the share of letters with a
    partner of the words that these are in, if that is smaller; 1 for equal words."""

    alike_found: tuple[float, ...]
    """The same for the words of the other text."""


def match_words(given: Sequence[str], found: Sequence[str]) -> Match:
    """Find the words of a given text in another text.

    Args:
        given: Its words, so normalized that equal words are equal.
        found: Those of the other text.
    """
    pairs, letters_given, letters_found = [], [0.0] * len(given), [0.0] * len(found)
    start_given = start_found = 0
    for stop_given, stop_found in [*_anchors(given, found), (len(given), len(found))]:
        part = _gap(given[start_given:stop_given], found[start_found:stop_found])
        pairs += [Pair(start_given + i, start_found + j) for i, j in part]
        if stop_given < len(given):
            pairs.append(Pair(stop_given, stop_found))
        start_given, start_found = stop_given + 1, stop_found + 1
    for i, j in pairs:
        letters_given[i] = letters_found[j] = 1.0
    last = Pair(-1, -1)
    for pair in [*pairs, Pair(len(given), len(found))]:
        one, other = range(last.given + 1, pair.given), range(last.found + 1, pair.found)
        if one and other:
            shares = _by_letters([given[i] for i in one], [found[j] for j in other])
            for indices, values, into in ((one, shares[0], letters_given), (other, shares[1], letters_found)):
                for index, value in zip(indices, values, strict=True):
                    into[index] = value
        last = pair
    return Match(tuple(pairs), tuple(letters_given), tuple(letters_found))


def _anchors(given: Sequence[str], found: Sequence[str]) -> list[tuple[int, int]]:
    """Return words that begin a run which occurs once in each text, so that both rise."""
    in_given, in_found = _once(given), _once(found)
    shared = sorted((i, in_found[run]) for run, i in in_given.items() if run in in_found)
    # the longest sequence of these that rises in the other text, too
    tops: list[int] = []
    at: list[int] = []
    before = [-1] * len(shared)
    for index, (_, j) in enumerate(shared):
        place = bisect_left(tops, j)
        before[index] = at[place - 1] if place else -1
        tops[place : place + 1] = [j]
        at[place : place + 1] = [index]
    chain, index = [], at[-1] if at else -1
    while index >= 0:
        chain.append(shared[index])
        index = before[index]
    return chain[::-1]


def _once(words: Sequence[str]) -> dict[tuple[str, ...], int]:
    counts: dict[tuple[str, ...], int] = {}
    for i in range(len(words) - _RUN + 1):
        run = tuple(words[i : i + _RUN])
        counts[run] = -1 if run in counts else i
    return {run: i for run, i in counts.items() if i >= 0}


def _gap(given: Sequence[str], found: Sequence[str]) -> list[tuple[int, int]]:
    """Return the equal words between two anchors."""
    if not given or not found or len(given) * len(found) > _MOST_CELLS:
        return []
    one, other = _numbered(given, found)
    return [(i, j) for i, j in aligned(one, other) if given[i] == found[j]]


def _by_letters(given: Sequence[str], found: Sequence[str]) -> tuple[list[float], list[float]]:
    """Return the share of each word's letters that have a partner in the other text."""
    one, other = "".join(given), "".join(found)
    if not one or not other or len(one) * len(other) > _MOST_LETTER_CELLS:
        return [0.0] * len(given), [0.0] * len(found)
    owners = [k for k, word in enumerate(given) for _ in word], [k for k, word in enumerate(found) for _ in word]
    pairs = [(owners[0][i], owners[1][j]) for i, j in aligned(*_numbered(one, other)) if one[i] == other[j]]
    return _mutual(given, found, pairs), _mutual(found, given, [(j, i) for i, j in pairs])


def _mutual(words: Sequence[str], others: Sequence[str], pairs: Sequence[tuple[int, int]]) -> list[float]:
    """Return, for each word, the smaller share of letters with partners, its own or that of its partners' words."""
    partners = [0] * len(others)
    touched = [set[int]() for _ in words]
    own = [0] * len(words)
    for i, j in pairs:
        own[i] += 1
        partners[j] += 1
        touched[i].add(j)
    shares = []
    for word, count, of_word in zip(words, own, touched, strict=True):
        length = sum(len(others[j]) for j in of_word)
        shares.append(min(count / len(word), sum(partners[j] for j in of_word) / length) if count else 0.0)
    return shares


def _numbered(one: Sequence[Hashable], other: Sequence[Hashable]) -> tuple[np.ndarray, np.ndarray]:
    numbers = {item: i for i, item in enumerate(dict.fromkeys([*one, *other]))}
    return np.array([numbers[item] for item in one]), np.array([numbers[item] for item in other])


_MATCH, _MISMATCH, _OPEN, _EXTEND = 4, -3, -4, -1


def aligned(one: Int64[np.ndarray, " m"], other: Int64[np.ndarray, " n"]) -> list[tuple[int, int]]:
    """Align two sequences from end to end; return the pairs of indices, of equal and of unequal items.

    An equal pair counts 4, an unequal one -3, and a gap of k items -4 - k; the sum is the greatest possible.
    """
    m, n = len(one), len(other)
    # the best sums that end in a pair, in a gap in `other` (an item of `one` alone), in a gap in `one`
    none = -(2**30)
    alone = np.arange(n + 1, dtype=np.int64) * _EXTEND
    pair, up, left = (np.full(n + 1, none, dtype=np.int64) for _ in range(3))
    pair[0] = 0
    left[1:] = _OPEN + alone[1:]
    # which of the three each came from: two bits each
    steps = np.zeros((m + 1, n + 1), dtype=np.uint8)
    steps[0, 1:] = 2 << 4
    steps[0, 1:2] = 0
    for i in range(1, m + 1):
        options = np.stack([pair, up, left])
        # a gap in `other` is opened from any of the three, or extended
        opened = np.stack([pair + _OPEN, up, left + _OPEN])
        from_up = opened.argmax(axis=0)
        new_up = opened.max(axis=0) + _EXTEND
        from_pair = options.argmax(axis=0)
        new_pair = np.full(n + 1, none, dtype=np.int64)
        new_pair[1:] = options.max(axis=0)[:-1] + np.where(other == one[i - 1], _MATCH, _MISMATCH)
        # a gap in `one` is opened from a pair or from the other gap, and extended to the right: a running maximum
        begun = np.maximum(new_pair, new_up) + _OPEN - alone
        best = np.maximum.accumulate(begun)
        new_left = np.full(n + 1, none, dtype=np.int64)
        new_left[1:] = best[:-1] + alone[1:]
        opened_left = np.full(n + 1, 2)
        opened_left[1:] = np.where(begun[:-1] >= best[:-1], np.where(new_pair[:-1] >= new_up[:-1], 0, 1), 2)
        steps[i, 1:] = from_pair[:-1]
        steps[i] |= (from_up << 2).astype(np.uint8)
        steps[i] |= (opened_left << 4).astype(np.uint8)
        pair, up, left = new_pair, new_up, new_left
    state = int(np.argmax([pair[n], up[n], left[n]]))
    i, j, found = m, n, []
    while i or j:
        step = int(steps[i, j])
        if state == 0:
            i, j = i - 1, j - 1
            found.append((i, j))
            state = step & 3
        elif state == 1:
            i, state = i - 1, step >> 2 & 3
        else:
            j, state = j - 1, step >> 4 & 3
    return found[::-1]
