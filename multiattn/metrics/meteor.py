"""METEOR: a caption aligned word for word with its best reference, less the more pieces the alignment falls into.

The words are matched in two stages, exact and by stem. The stages for synonyms and paraphrases are absent: they need
WordNet and a paraphrase table, which are downloads. So the figures are somewhat below those of Meteor 1.5 with all four
stages (0.229 against 0.246 for people's captions of the Flickr8k test split), and equal to those of Meteor 1.5 told to
use these two (`-m "exact stem" -w "1.0 0.6"`): the same for 499 of those 500 captions.

Source: Denkowski and Lavie 2014, "Meteor Universal: Language Specific Translation Evaluation for Any Target Language",
sections 2 and 3, with the parameters for English.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import fsum
from typing import NamedTuple

_ALPHA = 0.85  # share of recall in the harmonic mean
_BETA = 0.2  # how fast the penalty rises with the number of pieces
_GAMMA = 0.6  # the most that a falling into pieces may cost
_DELTA = 0.75  # weight of a content word; 1 - delta is that of a function word
_STEM = 0.6  # weight of a match by stem, beside 1 for an exact one
_BEAM = 1000  # alignments kept at each word; a caption seldom has as many

# the words that make up more than a thousandth each of English text; its signs are gone when it comes here
_FUNCTION_WORDS = frozenset(
    "the of to and a in that for is on 's it with was as said at he by be from have has are his but an this not i "
    "will they -rrb- -lrb- who their had we which were been more or s its would about new one after you also up when "
    "there than $ all out her people she year two can if last first over other into some "
    "what so no time years could 't".split()
)


class Match(NamedTuple):
    """Two words that belong together."""

    place: int
    """Of the caption's word."""

    reference_place: int
    """Of the reference's word."""

    weight: float
    """1 for the same word, less for the same stem."""


@dataclass(frozen=True)
class MeteorCounts:
    """What a caption and one reference have in common, in numbers that can be added up over a set."""

    matched: float
    """Weight of the caption's matched words; a function word counts less than a content word."""

    reference_matched: float
    """The same of the reference's."""

    length: float
    """Weight of all words of the caption."""

    reference_length: float
    """Weight of all words of the reference."""

    matches: int
    """Matched words."""

    chunks: int
    """Pieces of the alignment: runs that lie side by side and in the same order on both sides."""

    whole: bool
    """Whether every word on both sides is matched, in one piece."""

    def score(self) -> float:
        """METEOR, 0 to 1."""
        if not self.matched:
            return 0.0
        precision = self.matched / self.length
        recall = self.reference_matched / self.reference_length
        mean = precision * recall / (_ALPHA * precision + (1 - _ALPHA) * recall)
        pieces = 0.0 if self.whole else self.chunks / self.matches
        return mean * (1.0 - _GAMMA * float(pieces**_BETA))


def meteor(candidates: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]]) -> float:
    """METEOR of a set, 0 to 1: the counts of each caption and its best reference, summed, then scored.

    Arguments as for `bleu`.
    """
    best = [
        max((counts(words, one) for one in several), key=MeteorCounts.score)
        for words, several in zip(candidates, references, strict=True)
    ]
    return MeteorCounts(
        matched=fsum(one.matched for one in best),
        reference_matched=fsum(one.reference_matched for one in best),
        length=fsum(one.length for one in best),
        reference_length=fsum(one.reference_length for one in best),
        matches=sum(one.matches for one in best),
        chunks=sum(one.chunks for one in best),
        whole=all(one.whole for one in best),
    ).score()


def counts(words: Sequence[str], reference: Sequence[str]) -> MeteorCounts:
    """Compares a caption with one reference, both as words."""
    matches = align(words, reference)
    chunks = chunks_of(matches)
    return MeteorCounts(
        matched=fsum(match.weight * _worth(words[match.place]) for match in matches),
        reference_matched=fsum(match.weight * _worth(reference[match.reference_place]) for match in matches),
        length=fsum(map(_worth, words)),
        reference_length=fsum(map(_worth, reference)),
        matches=len(matches),
        chunks=chunks,
        whole=len(matches) == len(words) == len(reference) and chunks == 1,
    )


def align(words: Sequence[str], reference: Sequence[str]) -> list[Match]:
    """Pairs off words: the most exact pairs, of these the fewest pieces, the most pairs, the shortest distances.

    Two words that have nobody else are a pair in any case. That a stem counts nothing when others are chosen, where the
    paper counts all pairs alike, is how Meteor 1.5 does it: it adds the weights up in whole numbers. This is a search
    that keeps the best `_BEAM` alignments at each word: with a handful of repeated words it finds the best there is.

    Returns:
        The matches, in the caption's order.
    """
    pairs = _pairs(words, reference)
    asked = Counter(match.reference_place for found in pairs for match in found)
    # taken places of the reference (bits) and the latest one -> the alignments so far, best kept
    states: dict[tuple[int, int], _Partial] = {(0, -2): _Partial(0, 0, 0, 0, ())}
    for found in pairs:
        certain = len(found) == 1 and asked[found[0].reference_place] == 1
        longer: dict[tuple[int, int], _Partial] = {}
        for (taken, latest), partial in states.items():
            for match in found:
                j = match.reference_place
                if not taken >> j & 1:
                    _keep(longer, (taken | 1 << j, j), partial.with_match(match, starts=j != latest + 1))
            if not certain:
                # a gap in the caption ends the piece: no place of the reference comes next after -2
                _keep(longer, (taken, -2), partial)
        if len(longer) > _BEAM:
            longer = dict(sorted(longer.items(), key=lambda item: item[1].order)[:_BEAM])
        states = longer
    return list(min(states.values(), key=lambda partial: partial.order).matches)


def _pairs(words: Sequence[str], reference: Sequence[str]) -> list[list[Match]]:
    """For each word of the caption, those of the reference that it could be paired with."""
    stems = [_stem(word) for word in reference]
    return [
        [
            Match(i, j, 1.0 if other == word else _STEM)
            for j, other in enumerate(reference)
            if other == word or stems[j] == _stem(word)
        ]
        for i, word in enumerate(words)
    ]


class _Partial(NamedTuple):
    """An alignment of the first words; of two, the one with the smaller `order` is better."""

    inexact: int  # minus the exact matches
    chunks: int
    unmatched: int  # minus all matches
    distance: int
    matches: tuple[Match, ...]

    @property
    def order(self) -> tuple[int, ...]:
        return self[:4]

    def with_match(self, match: Match, *, starts: bool) -> "_Partial":
        return _Partial(
            self.inexact - (match.weight == 1),
            self.chunks + starts,
            self.unmatched - 1,
            self.distance + abs(match.place - match.reference_place),
            (*self.matches, match),
        )


def _keep(found: dict[tuple[int, int], _Partial], state: tuple[int, int], partial: _Partial) -> None:
    if state not in found or partial.order < found[state].order:
        found[state] = partial


def chunks_of(matches: Sequence[Match]) -> int:
    """The pieces of an alignment."""
    return sum(
        i == 0 or match.place != matches[i - 1].place + 1 or match.reference_place != matches[i - 1].reference_place + 1
        for i, match in enumerate(matches)
    )


def _worth(word: str) -> float:
    return 1 - _DELTA if word in _FUNCTION_WORDS else _DELTA


@cache
def _stem(word: str) -> str:
    import snowballstemmer  # takes a while to import, and only METEOR needs it

    stem: str = snowballstemmer.stemmer("english").stemWord(word)
    return stem
