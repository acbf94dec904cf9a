import numpy as np
import pytest

from multiattn.alignment import Progress, progress

FRAMES, SECONDS = 499, 0.02


def attention_at(seconds, spread=0.04):
    times = (np.arange(FRAMES) + 0.5) * SECONDS
    near = np.exp(-((times - np.array(seconds, dtype=float)[:, None]) ** 2) / (2 * spread**2))
    return (near / near.sum(axis=1, keepdims=True)).astype(np.float32)[None]


def moved(seconds, **kwargs):
    return progress(attention_at(seconds, **kwargs), frame_seconds=SECONDS)


def test_speech_moves_on():
    found = moved(np.linspace(0.3, 9.1, 31))
    assert (found.tokens, found.stalled_share, found.backwards_share) == (31, 0, 0)
    assert found.focus > 0.99 and found.reached == pytest.approx(8.5, abs=0.2)  # the median of the last five
    assert not found.stalled and not found.backwards


def test_quick_speech_is_no_stall():
    assert moved(1 + np.arange(37) * 0.05).stalled_share == 0  # 20 tokens a second


def test_standing_still_is_a_stall():
    found = moved([*np.linspace(0.3, 3.0, 11), *[3.0] * 19])
    assert found.stalled_share == pytest.approx(21 / 30)  # one attention_at 0.27 s before
    assert found.stalled and not found.backwards
    assert moved([0.5] * 11).stalled_share == 0  # one less than a run


def test_repeating_is_backwards():
    again = np.linspace(0.5, 4.0, 11)
    found = moved([*again, *again, *again])
    assert found.backwards and not found.stalled
    assert not moved([*again, *(4.0 + again)]).backwards


def test_one_outlier_is_no_progress():
    steady = np.linspace(0.5, 4.0, 17)
    outlier = np.insert(steady, 5, 9.0)
    assert moved(outlier).backwards_share == 0
    assert moved(outlier).reached == moved(steady).reached


def test_uniform_attention_has_no_focus():
    flat = np.full((2, 7, FRAMES), 1 / FRAMES, dtype=np.float32)
    assert progress(flat, frame_seconds=SECONDS).focus == pytest.approx(0.5 / (FRAMES * SECONDS), rel=0.05)


def test_weights_may_be_of_any_sum_and_zero():
    once = attention_at([1.0, 2.0, 3.0])
    assert progress(8 * once, frame_seconds=SECONDS) == progress(once, frame_seconds=SECONDS)
    assert progress(0 * once, frame_seconds=SECONDS).focus == 0


def test_no_tokens_are_no_progress():
    assert progress(np.zeros((3, 0, 5), dtype=np.float32)) == Progress(0, 0.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize("shape", [(0, 3, 5), (2, 3, 0)])
def test_progress_needs_heads_and_frames(shape):
    with pytest.raises(ValueError, match="`weights` must have heads and frames, but are of shape"):
        progress(np.zeros(shape, dtype=np.float32))
