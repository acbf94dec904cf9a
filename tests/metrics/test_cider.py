from collections import Counter

import numpy as np
import pytest

from multiattn.errors import InputError
from multiattn.metrics import CiderD
from multiattn.metrics import tokenize as tokenize
from tests.metrics.sentences import captions


def naive(candidate: str, item: int, references: list[list[str]]) -> float:
    """Equations 1 to 4 of the paper and its clipping, with one vector over all runs of an order."""

    def runs(text: str, n: int) -> Counter[str]:
        words = tokenize(text)
        return Counter(" ".join(words[i : i + n]) for i in range(len(words) - n + 1))

    total = 0.0
    for n in (1, 2, 3, 4):
        documents = [{run for text in texts for run in runs(text, n)} for texts in references]
        axes = sorted(set(runs(candidate, n)).union(*documents))
        rarity = np.array([np.log(len(references) / max(1, sum(run in one for one in documents))) for run in axes])
        ours = np.array([runs(candidate, n)[run] for run in axes]) * rarity
        for text in references[item]:
            theirs = np.array([runs(text, n)[run] for run in axes]) * rarity
            scale = np.linalg.norm(ours) * np.linalg.norm(theirs)
            apart = max(0, len(tokenize(candidate)) - 1) - max(0, len(tokenize(text)) - 1)
            if scale > 0:
                likeness = (np.minimum(ours, theirs) * theirs).sum() / scale
                total += likeness * np.exp(-(apart**2) / 72) / len(references[item])
    return 10 * total / 4


@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_definition(seed):
    candidates, references = captions(seed)
    candidates[3] += " zebra zebra unicorn"  # words of no reference
    found = CiderD(references).score(candidates, range(13))
    assert found == pytest.approx([naive(text, i, references) for i, text in enumerate(candidates)], abs=1e-9)
    assert found.any()
    assert len(set(found)) > 7


def test_any_caption_may_be_scored_against_any_item_in_any_order():
    candidates, references = captions(11)
    scorer = CiderD(references)
    indices = [7, 0, 7, 12, 3, 0]
    texts = [candidates[1], candidates[1], candidates[2], candidates[2], "", "yak"]
    together = scorer.score(texts, indices)
    assert together.dtype == np.float64
    assert together == pytest.approx([naive(text, i, references) for text, i in zip(texts, indices, strict=True)])
    alone = [scorer.score([text], [i])[0] for text, i in zip(texts, indices, strict=True)]
    assert together.tolist() == alone
    assert together[4:].tolist() == [0, 0]


def test_ten_is_a_caption_that_is_its_only_reference():
    references = [["two dogs jump in the grass"], ["a man with a ball of red"], ["an owl sits there alone"]]
    scores = CiderD(references).score([texts[0] for texts in references], range(3))
    assert scores == pytest.approx([10.0] * 3)


def test_saying_a_word_again_and_again_is_not_rewarded():
    scorer = CiderD([["a red dog runs"], ["a man sits"], ["a yak eats"]])
    once, often = scorer.score(["a red dog runs", "red red red red"], [0, 0])
    assert 0 < often < once / 4


def test_of_one_item_alone_every_score_is_zero():
    assert CiderD([["a dog", "a man"]]).score(["a dog"], [0]).tolist() == [0]


def test_no_captions_give_no_scores():
    assert CiderD([["a dog"]]).score([], []).shape == (0,)


def test_captions_and_indices_must_be_as_many():
    with pytest.raises(InputError, match=r"^`len\(candidates\)` must be that of `indices` \(2\), but is 1 instead\.$"):
        CiderD([["a dog"], ["a man"]]).score(["a"], [0, 1])
