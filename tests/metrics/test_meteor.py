from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multiattn.metrics import tokenize as tokenize
from multiattn.metrics.meteor import align, chunks_of, counts, meteor

words = st.lists(st.sampled_from("a dog dogs run running".split()), max_size=6)

STEMS = {"dogs": "dog", "running": "run"}


def order(first: list[str], second: list[str], matches: list[tuple[int, int]]) -> tuple[int, ...]:
    """By this the smallest alignment is the best."""
    exact = sum(first[i] == second[j] for i, j in matches)
    chunks = sum((i - 1, j - 1) not in matches for i, j in matches)
    return -exact, chunks, -len(matches), sum(abs(i - j) for i, j in matches)


def best_of_all(first: list[str], second: list[str]) -> tuple[int, ...]:
    """The best alignment's order, by trying every way to give each word a partner or none."""

    def alike(word: str, other: str) -> bool:
        return STEMS.get(other, other) == STEMS.get(word, word)

    choices: list[list[int | None]] = []
    for word in first:
        partners = [j for j, other in enumerate(second) if alike(word, other)]
        alone = len(partners) == 1 and sum(alike(other, word) for other in first) == 1
        choices.append([*partners] if alone else [None, *partners])
    found = []
    for partners in product(*choices):
        taken = [j for j in partners if j is not None]
        if len(set(taken)) == len(taken):
            found.append(order(first, second, [(i, j) for i, j in enumerate(partners) if j is not None]))
    return min(found)


@given(words, words)
@settings(deadline=None)
def test_the_alignment_is_the_best_of_all(first, second):
    found = align(first, second)
    assert order(first, second, [(match.position, match.reference_position) for match in found]) == best_of_all(
        first, second
    )
    assert chunks_of(found) == best_of_all(first, second)[1]
    assert [match.weight for match in found] == [
        1.0 if first[match.position] == second[match.reference_position] else 0.6 for match in found
    ]


def test_the_parameters_for_english():
    """By hand: 'dogs' and 'dog' share a stem, 'the' is a function word, in one piece of three words on both sides."""
    found = counts("the red dogs".split(), "see the red dog".split())
    matched = 1.0 * 0.25 + 1.0 * 0.75 + 0.6 * 0.75
    assert (found.matched, found.reference_matched) == pytest.approx((matched, matched))
    assert (found.length, found.reference_length) == pytest.approx((0.25 + 2 * 0.75, 0.25 + 3 * 0.75))
    assert (found.matches, found.chunks, found.whole) == (3, 1, False)
    precision, recall = matched / 1.75, matched / 2.5
    mean = precision * recall / (0.85 * precision + 0.15 * recall)
    assert found.score() == pytest.approx(mean * (1 - 0.6 * (1 / 3) ** 0.2))


# what Meteor 1.5 gives with -l en -m "exact stem" -w "1.0 0.6"
KNOWN = [
    (
        "a person in a red hat and shoes doing stunts on a red bike while a person in yellow watches",
        "a person is doing a trick in the air on a bike while his friend takes a picture",
        0.2135371214240794,
    ),
    (
        "a person in a red hat and shoes doing stunts on a red bike while a person in yellow watches",
        "a red bike jumps toward a person in yellow",
        0.3269801687541703,
    ),
    (
        "a man in a blue shirt is standing on a ladder cleaning windows",
        "a boy in blue climbs the ladders to clean a window",
        0.19322033898305083,
    ),
    (
        "a black and tan dog is running with a white and gray dog along dirt",
        "two dogs run on a dirt area near a forest",
        0.11501057082452432,
    ),
    ("two young children play in the grass", "children playing in the tall grass", 0.34661393218918635),
]


@pytest.mark.parametrize(("caption", "reference", "figure"), KNOWN)
def test_it_is_the_figure_of_the_original(caption, reference, figure):
    assert counts(tokenize(caption), tokenize(reference)).score() == pytest.approx(figure, abs=1e-9)


def test_the_same_sentence_is_one():
    sentence = "a dog runs".split()
    assert meteor([sentence], [[["owl"], sentence]]) == pytest.approx(1.0)
    assert meteor([sentence, sentence[:2]], [[sentence], [sentence]]) < 1


def test_the_same_words_in_pieces_are_less():
    whole, turned = "a red dog runs".split(), "runs dog red a".split()
    assert 0.3 < meteor([turned], [[whole]]) < 0.5  # 1 - 0.6


def test_the_best_reference_counts_and_counts_are_added_up_before_they_are_divided():
    short, long = ["dog"], "two dogs run in red grass".split()
    alone = counts(short, short), counts(long, ["grass"])
    total = meteor([short, long], [[["owl"], short], [["grass"], ["owl"]]])
    precision = (alone[0].matched + alone[1].matched) / (alone[0].length + alone[1].length)
    mean = precision * 1.0 / (0.85 * precision + 0.15 * 1.0)
    assert total == pytest.approx(mean * (1 - 0.6 * (2 / 2) ** 0.2))


@pytest.mark.parametrize(("candidate", "reference"), [([], ["a"]), (["a"], []), ([], []), (["a"], ["b"])])
def test_nothing_in_common_is_zero(candidate, reference):
    assert meteor([candidate], [[reference]]) == 0
