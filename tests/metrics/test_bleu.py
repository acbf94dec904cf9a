import math

import pytest

from multiattn.metrics import tokenize as tokenize
from multiattn.metrics.caption import bleu
from tests.metrics.sentences import captions


def naive(candidates: list[list[str]], references: list[list[list[str]]], order: int) -> float:
    """The definition of the paper, with lists and loops."""

    def runs(words: list[str], n: int) -> list[str]:
        return [" ".join(words[i : i + n]) for i in range(len(words) - n + 1)]

    logs = 0.0
    for n in range(1, order + 1):
        right = guessed = 0
        for words, several in zip(candidates, references, strict=True):
            for run in set(runs(words, n)):
                right += min(runs(words, n).count(run), max(runs(one, n).count(run) for one in several))
            guessed += len(runs(words, n))
        if not right:
            return 0.0
        logs += math.log(right / guessed) / order
    length = sum(map(len, candidates))
    closest = 0
    for words, several in zip(candidates, references, strict=True):
        closest += sorted((abs(len(one) - len(words)), len(one)) for one in several)[0][1]
    return math.exp(min(0.0, 1 - closest / length) + logs)


@pytest.mark.parametrize("seed", range(7))
def test_it_is_the_definition(seed):
    candidates, references = captions(seed)
    words = [tokenize(text) for text in candidates]
    several = [[tokenize(text) for text in texts] for texts in references]
    assert bleu(words, several) == pytest.approx([naive(words, several, order) for order in (1, 2, 3, 4)], abs=1e-3)


def test_a_word_counts_no_more_often_than_in_a_reference():
    """The example of the paper: 2 of 7."""
    words = ["the"] * 7
    references = [["the", "cat", "is", "on", "the", "mat"], ["there", "is", "a", "cat", "on", "the", "mat"]]
    assert bleu([words], [references])[0] == pytest.approx(2 / 7)


def test_a_caption_that_is_a_reference_is_perfect():
    words = "two dogs run in red grass".split()
    assert bleu([words], [[["a"], words]]) == pytest.approx([1.0] * 4)


def test_short_captions_pay_and_of_two_lengths_equally_near_the_shorter_counts():
    reference = "a b c d e f g h".split()
    assert bleu([reference[:5]], [[reference]])[0] == pytest.approx(math.exp(1 - 8 / 5))
    assert bleu([reference[:6]], [[reference, reference[:4]]])[0] == pytest.approx(1.0)  # 4 and not 8


def test_counts_are_added_up_before_they_are_divided():
    assert bleu([["a"], ["b", "c", "d"]], [[["a"]], [["x", "y", "z"]]])[0] == pytest.approx(1 / 4)


def test_nothing_in_common_and_no_words_at_all_are_zero():
    assert bleu([["a"]], [[["b"]]]) == pytest.approx([0.0] * 4, abs=1e-3)
    assert bleu([[]], [[["b"]]]) == pytest.approx([0.0] * 4)
    assert bleu([["a"]], [[[]]])[0] == pytest.approx(0.0, abs=1e-6)
