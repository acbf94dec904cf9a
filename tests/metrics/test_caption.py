import random
from dataclasses import asdict

import pytest

from multiattn.errors import InputError
from multiattn.metrics import CiderD, caption_scores, self_retrieval
from tests.metrics.sentences import captions


def test_all_figures_come_from_the_sentences_as_they_are():
    """Capitals, signs and the order of the references do not count."""
    candidates, references = captions(3)
    found = caption_scores(candidates, references)
    shouted = caption_scores(
        [f'"{text.upper()}" .' for text in candidates], [[f"{text}!" for text in texts[::-1]] for texts in references]
    )
    assert asdict(found) == pytest.approx(asdict(shouted))
    assert list(asdict(found)) == ["bleu1", "bleu2", "bleu3", "bleu4", "meteor", "rouge_l", "cider"]
    assert 1 > found.bleu1 > found.bleu2 > found.bleu3 > found.bleu4 > 0
    assert found.cider == pytest.approx(CiderD(references).score(candidates, range(13)).mean())


def test_perfect_captions_have_the_highest_figures():
    references = [["two dogs jump in the grass"], ["a man with a ball of red"]]
    found = asdict(caption_scores([texts[0] for texts in references], references))
    assert found == pytest.approx({**dict.fromkeys(found, 1.0), "cider": 10.0})


def test_captions_without_a_word_are_zero_and_no_error():
    found = asdict(caption_scores(["", "..."], [["a dog"], ["a man", "!"]]))
    assert found == pytest.approx(dict.fromkeys(found, 0.0))


def by_hand(candidates, references, drawn):
    """The share of captions that come nearest to their own item among those drawn for each; ties by halves."""
    right = 0.0
    for i, text in enumerate(candidates):
        likeness = {j: CiderD(references).score([text], [j])[0] for j in drawn[i]}
        best = [j for j in likeness if likeness[j] == max(likeness.values())]
        right += (i in best) / len(best)
    return right / len(candidates)


def test_self_retrieval_among_all_is_that_by_hand():
    candidates, references = captions(5)
    candidates[:5] = [texts[0] for texts in references[:5]]  # some do find their own
    candidates[7] = "zebra"  # and one is like nothing
    found = self_retrieval(candidates, references)
    assert found == pytest.approx(by_hand(candidates, references, [range(13)] * 13))
    assert 2 / 13 < found < 1


def test_self_retrieval_draws_a_pool_by_its_seed():
    candidates, references = captions(5, items=31)
    found = {seed: self_retrieval(candidates, references, pool=3, seed=seed) for seed in range(11)}
    assert found[3] == self_retrieval(candidates, references, pool=3, seed=3)
    assert len(set(found.values())) > 3
    assert all(value >= self_retrieval(candidates, references) for value in found.values())  # fewer to choose from


def test_captions_that_are_their_own_references_are_found_and_others_are_at_chance():
    generator = random.Random(0)
    references = [[f"{generator.random()} {generator.random()}"] for _ in range(101)]
    own = [texts[0] for texts in references]
    assert self_retrieval(own, references, pool=11) == 1
    assert self_retrieval([own[5]] * 101, references, pool=11) < 0.12
    assert self_retrieval(["nothing"] * 101, references, pool=11) == pytest.approx(1 / 11)


def test_self_retrieval_of_one_item_is_certain():
    assert self_retrieval(["a"], [["b"]]) == 1


@pytest.mark.parametrize("figure", [caption_scores, self_retrieval])
@pytest.mark.parametrize(
    ("candidates", "references", "message"),
    [
        ([], [], "`references` must have at least one item, but has none instead."),
        (
            ["a"],
            [[]],
            "`references` must have a list of at least one caption for each item, but item 0 has [] instead.",
        ),
        (
            ["a", "b"],
            [["a"], "a dog"],
            "`references` must have a list of at least one caption for each item, but item 1 has 'a dog' instead.",
        ),
        (
            ["a", "b"],
            [["a"]],
            "`len(candidates)` must be that of the items in `references` (1), but is 2 instead.",
        ),
    ],
)
def test_what_cannot_be_compared_is_named(figure, candidates, references, message):
    with pytest.raises(InputError) as caught:
        figure(candidates, references)
    assert str(caught.value) == message


def test_a_pool_of_one_is_refused():
    with pytest.raises(InputError, match=r"^`pool` must be at least 2, but is 1 instead\.$"):
        self_retrieval(["a"], [["a"]], pool=1)
