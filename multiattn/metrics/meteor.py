"""METEOR: a caption is aligned word by word with its best reference; the more chunks the alignment has, the lower.

Words are matched in two stages, exact and by stem. The stages for synonyms and paraphrases are left out, because they
need WordNet and a paraphrase table, which are downloads. So the scores are slightly below those of Meteor 1.5 with all
four stages (0.229 against 0.246 for people's captions of the Flickr8k test split), and equal to those of Meteor 1.5
with these two stages (`-m "exact stem" -w "1.0 0.6"`): the same for 499 of those 500 captions.

Source: Denkowski and Lavie 2014, "Meteor Universal: Language Specific Translation Evaluation for Any Target Language",
sections 2 and 3, with the parameters for English.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import fsum
from typing import NamedTuple

_ALPHA = 0.85  # weight of recall in the harmonic mean
_BETA = 0.2  # exponent of the penalty for several chunks
_GAMMA = 0.6  # the largest penalty
_DELTA = 0.75  # weight of a content word; 1 - delta is that of a function word
_STEM = 0.6  # weight of a match by stem; an exact match weighs 1
_BEAM = 1000  # alignments kept at each word; a caption seldom has as many

# words that make up more than a thousandth of English text each; without punctuation, which is removed before
_FUNCTION_WORDS = frozenset(
    "the of to and a in that for is on 's it with was as said at he by be from have has are his but an this not i "
    "will they -rrb- -lrb- who their had we which were been more or s its would about new one after you also up when "
    "there than $ all out her people she year two can if last first over other into some "
    "what so no time years could 't".split()
)


class Match(NamedTuple):
    """Two words that are aligned."""

    position: int
    """Index of the word in the caption."""

    reference_position: int
    """Index of the word in the reference."""

    weight: float
    """1 for the same word, less for the same stem."""


@dataclass(frozen=True)
class MeteorCounts:
    """The counts of a caption and one reference, which can be summed over a set."""

    matched: float
    """Total weight of the caption's matched words; a function word weighs less than a content word."""

    reference_matched: float
    """Total weight of the reference's matched words."""

    length: float
    """Total weight of the caption's words."""

    reference_length: float
    """Total weight of the reference's words."""

    matches: int
    """Number of matches."""

    chunks: int
    """Chunks of the alignment: runs of matches that are consecutive on both sides."""

    whole: bool
    """Whether all words on both sides are matched, in one chunk."""

    def score(self) -> float:
        """Compute METEOR, 0 to 1."""
        if not self.matched:
            return 0.0
        precision = self.matched / self.length
        recall = self.reference_matched / self.reference_length
        mean = precision * recall / (_ALPHA * precision + (1 - _ALPHA) * recall)
        fragmentation = 0.0 if self.whole else self.chunks / self.matches
        return mean * (1.0 - _GAMMA * float(fragmentation**_BETA))


def meteor(candidates: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]]) -> float:
    """Compute METEOR of a set, 0 to 1, from the summed counts of each caption and its best reference.

    Args:
        candidates: One caption per item, as words.
        references: The references of each item, as words.
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
    """Compare a caption with one reference, both as words."""
    matches = align(words, reference)
    chunks = chunks_of(matches)
    return MeteorCounts(
        matched=fsum(match.weight * _weight(words[match.position]) for match in matches),
        reference_matched=fsum(match.weight * _weight(reference[match.reference_position]) for match in matches),
        length=fsum(map(_weight, words)),
        reference_length=fsum(map(_weight, reference)),
        matches=len(matches),
        chunks=chunks,
        whole=len(matches) == len(words) == len(reference) and chunks == 1,
    )


def align(words: Sequence[str], reference: Sequence[str]) -> list[Match]:
    """Align words: the most exact matches; of these the fewest chunks, the most matches, the shortest distances.

    Two words that match no other word are always aligned. A match by stem counts nothing in the choice, although the
    paper counts all matches alike, because Meteor 1.5 sums the weights as integers. The search keeps the best `_BEAM`
    alignments at each word, which finds the optimum unless many words are repeated.

    Returns:
        The matches, in the caption's order.
    """
    pairs = _pairs(words, reference)
    uses = Counter(match.reference_position for found in pairs for match in found)
    # matched words of the reference (bits) and the latest one -> the best alignment so far
    states: dict[tuple[int, int], _Partial] = {(0, -2): _Partial(0, 0, 0, 0, ())}
    for found in pairs:
        certain = len(found) == 1 and uses[found[0].reference_position] == 1
        longer: dict[tuple[int, int], _Partial] = {}
        for (taken, latest), partial in states.items():
            for match in found:
                j = match.reference_position
                if not taken >> j & 1:
                    _keep(longer, (taken | 1 << j, j), partial.with_match(match, starts=j != latest + 1))
            if not certain:
                # a gap in the caption ends the chunk: no index of the reference is next after -2
                _keep(longer, (taken, -2), partial)
        if len(longer) > _BEAM:
            longer = dict(sorted(longer.items(), key=lambda item: item[1].order)[:_BEAM])
        states = longer
    return list(min(states.values(), key=lambda partial: partial.order).matches)


def _pairs(words: Sequence[str], reference: Sequence[str]) -> list[list[Match]]:
    """Return the possible matches of each word of the caption."""
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
    """An alignment of the caption's first words; the one with the smallest `order` is the best."""

    inexact: int  # minus the number of exact matches
    chunks: int
    unmatched: int  # minus the number of matches
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
            self.distance + abs(match.position - match.reference_position),
            (*self.matches, match),
        )


def _keep(found: dict[tuple[int, int], _Partial], state: tuple[int, int], partial: _Partial) -> None:
    if state not in found or partial.order < found[state].order:
        found[state] = partial


def chunks_of(matches: Sequence[Match]) -> int:
    """Count the chunks of an alignment."""
    return sum(
        i == 0
        or match.position != matches[i - 1].position + 1
        or match.reference_position != matches[i - 1].reference_position + 1
        for i, match in enumerate(matches)
    )


def _weight(word: str) -> float:
    return 1 - _DELTA if word in _FUNCTION_WORDS else _DELTA


@cache
def _stem(word: str) -> str:
    import snowballstemmer  # slow to import, and only METEOR needs it

    return str(snowballstemmer.stemmer("english").stemWord(word))
