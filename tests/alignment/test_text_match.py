from functools import cache

import numpy as np
import pytest

from multiattn.alignment.text_match import ALIKE, aligned, match_words


def best_score(one: list[int], other: list[int]) -> int:
    """The greatest sum by trying everything: an independent statement of the rules."""

    @cache
    def best(i: int, j: int, last: str) -> int:
        if i == len(one) and j == len(other):
            return 0
        options = []
        if i < len(one) and j < len(other):
            options.append((4 if one[i] == other[j] else -3) + best(i + 1, j + 1, "pair"))
        if i < len(one):
            options.append((-1 if last == "up" else -5) + best(i + 1, j, "up"))
        if j < len(other):
            options.append((-1 if last == "left" else -5) + best(i, j + 1, "left"))
        return max(options)

    return best(0, 0, "pair")


def score_of(pairs: list[tuple[int, int]], one: list[int], other: list[int]) -> int:
    """The sum of an alignment, whose gaps are taken in the better order."""
    total, last = 0, (-1, -1)
    for i, j in [*pairs, (len(one), len(other))]:
        for gap in (i - last[0] - 1, j - last[1] - 1):
            total -= 4 + gap if gap else 0
        if i < len(one):
            total += 4 if one[i] == other[j] else -3
        last = (i, j)
    return total


@pytest.mark.parametrize("seed", range(40))
def test_an_alignment_has_the_greatest_sum(seed: int) -> None:
    rng = np.random.default_rng(seed)
    one, other = (rng.integers(0, 3, size=rng.integers(0, 9)) for _ in range(2))
    pairs = aligned(one, other)
    assert pairs == sorted(set(pairs)) and all(a[1] < b[1] for a, b in zip(pairs, pairs[1:], strict=False))
    assert score_of(pairs, one.tolist(), other.tolist()) == best_score(one.tolist(), other.tolist())


def test_a_sentence_that_was_not_said_is_missing_in_one_piece() -> None:
    given = "we went home . he saw the man on the hill and the dog ran off".split()
    said = "we went home . the dog ran off".split()
    match = match_words(given, said)
    assert [given[pair.given] for pair in match.pairs] == said
    assert [pair.given for pair in match.pairs] == [0, 1, 2, 3, 12, 13, 14, 15]
    assert all(share < ALIKE for share in match.alike[4:12])


def test_what_is_spelled_in_another_way_is_alike() -> None:
    given = "there were twentyfour of them in some one s house".split()
    said = "there were twenty four of them in someones house".split()
    match = match_words(given, said)
    assert min(match.alike) == pytest.approx(1) == min(match.alike_found)
    assert len(match.pairs) == 6


@pytest.mark.parametrize("seed", range(5))
def test_of_long_texts_every_word_that_was_kept_is_found(seed: int) -> None:
    rng = np.random.default_rng(seed)
    said = [f"w{number}" for number in rng.integers(0, 300, size=900)]
    keep = rng.random(900) > 0.2
    given = [word for word, kept in zip(said, keep, strict=True) if kept]
    given[400:400] = [chr(97 + number % 20) * 3 for number in range(60)]
    match = match_words(given, said)
    right = dict(zip([i if i < 400 else i + 60 for i in range(int(keep.sum()))], np.flatnonzero(keep), strict=True))
    assert sum(right.get(pair.given) == pair.found for pair in match.pairs) > 0.97 * keep.sum()
    assert max(match.alike[405:455]) < ALIKE


def test_nothing_in_common() -> None:
    assert match_words([], ["a"]).pairs == match_words(["a"], []).pairs == match_words(["bc"], ["de"]).pairs == ()
    many = match_words(["abc"] * 10_000, ["de"] * 10_000)  # more pairs than are compared
    assert many.pairs == () and set(many.alike) == {0.0}
