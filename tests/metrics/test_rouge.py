from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multiattn.metrics.caption import common_subsequence, rouge_l

words = st.lists(st.sampled_from("abc"), max_size=7)


@given(words, words)
def test_the_longest_common_subsequence_is_that_of_trying_all(first, second):
    def subsequences(sequence):
        return {some for n in range(len(sequence) + 1) for some in combinations(sequence, n)}

    longest = max(map(len, subsequences(first) & subsequences(second)))
    assert common_subsequence(first, second) == longest


def test_known_figures():
    """The example of Lin 2004, section 3.1: 3/4 for one candidate, 1/2 for the other."""
    reference = "police killed the gunman".split()
    assert rouge_l(["police kill the gunman".split()], [[reference]]) == pytest.approx(3 / 4)
    assert rouge_l(["the gunman kill police".split()], [[reference]]) == pytest.approx(1 / 2)


def test_recall_counts_more():
    reference = "a b c d".split()
    precision, recall, beta = 1.0, 0.5, 1.2
    expected = (1 + beta**2) * precision * recall / (recall + beta**2 * precision)
    assert rouge_l(["a b".split()], [[reference]]) == pytest.approx(expected)
    assert rouge_l([reference], [["a b".split()]]) > expected


def test_the_best_precision_and_the_best_recall_may_be_of_two_references():
    several = ["a".split(), "a b c d e".split()]
    assert rouge_l(["a b c x".split()], [several]) == pytest.approx((1 + 1.44) * (3 / 4) * 1.0 / (1.0 + 1.44 * (3 / 4)))


def test_a_set_is_the_mean_of_its_items():
    assert rouge_l([["a"], ["b"]], [[["a"]], [["c"]]]) == pytest.approx(0.5)


@pytest.mark.parametrize(("candidate", "reference"), [([], ["a"]), (["a"], []), ([], []), (["a"], ["b"])])
def test_nothing_in_common_is_zero(candidate, reference):
    assert rouge_l([candidate], [[reference]]) == 0
