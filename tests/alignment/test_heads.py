import pytest

from multiattn.alignment import HeadScore, choose_heads, rank_heads, score_heads
from multiattn.errors import ModelError
from tests.alignment.following import FRAMES, HEADS, LAYERS, START, context, recognizer

FRAMES_OF_ROWS = [12.0, 20.0, 31.0, 44.0, 57.0, 71.0, 75.0]
TOKENS = [START, 5, 7, 3, 11, 4]


def ranked(heads, **options):
    model = recognizer(FRAMES_OF_ROWS, heads)
    return rank_heads(scored(model, **options))


def scored(model, *, texts=(TOKENS,), recordings=1):
    return score_heads(model, context(recordings), texts, prompt_lengths=[1] * len(texts), frames=[FRAMES] * len(texts))


@pytest.mark.parametrize("layer", range(LAYERS))
@pytest.mark.parametrize("head", range(HEADS))
def test_the_head_that_follows_is_found_among_all(layer, head):
    others = {(one, two): "parked" for one in range(LAYERS) for two in range(HEADS)}
    others |= {(0, 0): "flat", (2, 1): "reversed"}
    found = ranked({**others, (layer, head): "follows"})
    assert found[0][:2] == (layer, head)
    assert found[0].monotonic == 1 and found[0].score > 0.7
    assert all(one.score == 0 for one in found[1:])
    assert choose_heads(found) == [(layer, head)]


def test_scores_tell_why_a_head_is_not_chosen():
    found = {one[:2]: one for one in ranked({(0, 0): "parked", (0, 1): "reversed", (1, 0): "follows"})}
    assert found[0, 0].monotonic == 0 and found[0, 0].sharp > 0.7
    assert found[0, 1].monotonic == -1 and found[0, 1].sharp > 0.7
    assert found[1, 1].sharp < 0.35  # 21 of 83 frames


def test_scores_are_means_over_recordings_with_enough_text():
    model = recognizer(FRAMES_OF_ROWS, {(1, 0): "follows"})
    texts = [TOKENS, TOKENS[:3], TOKENS[:5], TOKENS]
    both = scored(model, texts=texts, recordings=2)
    assert [len(scores) for scores in both] == [LAYERS * HEADS, 0, LAYERS * HEADS, LAYERS * HEADS]
    assert both[0] == sorted(both[0])
    best = rank_heads(both)[0]
    of_head = [one for scores in both for one in scores if one[:2] == (1, 0)]
    assert best.sharp == pytest.approx(sum(one.sharp for one in of_head) / 3)
    assert best.sharp != of_head[0].sharp


def test_heads_are_chosen_near_the_best_and_not_too_many():
    some = [HeadScore(i, 0, 1.0, sharp) for i, sharp in enumerate((0.9, 0.8, 0.64, 0.62, 0.1))]
    assert choose_heads(some) == [(0, 0), (1, 0), (2, 0)]  # 0.63 is 70 %
    assert choose_heads(some, share=0.1, most=2) == [(0, 0), (1, 0)]
    assert choose_heads([HeadScore(2, 1, 1.0, 0.9), HeadScore(0, 3, 1.0, 0.9)]) == [(0, 3), (2, 1)]


def test_a_model_without_such_heads_is_refused():
    with pytest.raises(ModelError, match="no head of the model follows the speech: it has no alignment heads to find"):
        choose_heads(ranked({(0, 1): "reversed", (2, 0): "parked"}))


def test_recordings_with_too_little_text_are_refused():
    with pytest.raises(ModelError, match="`scored` must have a transcript of at least 3 tokens, but has none"):
        rank_heads(scored(recognizer(FRAMES_OF_ROWS, {}), texts=[TOKENS[:3]]))
