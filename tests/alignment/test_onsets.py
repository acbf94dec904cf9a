"""Onset heads and the onsets they tell, on attention whose truth is known, and on a real Whisper."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multiattn.alignment.dtw import monotonic_frames
from multiattn.alignment.onset_heads import (
    BOUNDARY_LAG,
    INSIDE_LAG,
    KNOWN,
    OnsetHead,
    choose_onset_heads,
    peaks,
    score,
)
from multiattn.alignment.onsets import TokenOnsets, _least_gaps, _path, known_onset_heads
from multiattn.inputs.text import Word

FRAME = 0.02
ONSETS = np.array([0.11, 0.42, 0.55, 0.93, 1.21, 1.64, 2.05])  # of six words and the end token, in seconds
FRAMES = 131
WORDS = [Word("word", 5 * i, 5 * i + 4, (i,)) for i in range(6)]


def attending(seconds, *, width=0.02, rest=0.2):
    """Attention (n, m) that peaks at a time for each token, a share of it anywhere else."""
    times = np.arange(FRAMES) * FRAME
    peak = np.exp(-(((times[None] - np.asarray(seconds)[:, None]) / width) ** 2) / 2)
    return ((1 - rest) * peak / peak.sum(axis=1, keepdims=True) + rest / FRAMES).astype(np.float32)


def found_among(heads):
    return choose_onset_heads({one: [peaks(x[:-1], frame_seconds=FRAME)] for one, x in heads.items()}, [list(range(6))])


def test_a_peak_is_found_between_the_frames():
    found = peaks(attending(ONSETS, rest=0.0), frame_seconds=FRAME)
    np.testing.assert_allclose(found.seconds, ONSETS, atol=0.004)
    assert (found.share > 0.9).all()


def test_heads_that_do_not_follow_the_speech_score_less():
    rng = np.random.default_rng(0)
    follows = score(peaks(attending(ONSETS), frame_seconds=FRAME))
    broad = score(peaks(attending(ONSETS, width=0.2), frame_seconds=FRAME))
    parked = score(peaks(attending(np.full(7, 0.5)), frame_seconds=FRAME))
    reversed_ = score(peaks(attending(ONSETS[::-1]), frame_seconds=FRAME))
    anywhere = score(peaks(attending(rng.uniform(0, 2.5, 7)), frame_seconds=FRAME))
    assert follows > 0.6 > broad > 0 and parked == reversed_ == 0 and anywhere < 0.5


def test_the_earliest_of_two_kinds_of_heads_marks_the_boundary():
    rng = np.random.default_rng(1)
    jitter = rng.normal(0, 0.004, (3, 7))
    heads = {
        (2, 0): attending(ONSETS - 0.01 + jitter[0]),
        (1, 3): attending(ONSETS + 0.062 + jitter[1]),
        (2, 5): attending(ONSETS + 0.08 + jitter[2], rest=0.4),
        (1, 1): attending(ONSETS + rng.uniform(-0.2, 0.2, 7)),  # follows, but not at a fixed distance
        (2, 2): attending(np.full(7, 1.0), rest=0.0),
    }
    found = found_among(heads)
    assert [(one.layer, one.head) for one in found] == [(2, 0), (1, 3), (2, 5)]
    assert [one.lag for one in found] == pytest.approx([BOUNDARY_LAG, 0.057, 0.075], abs=0.012)
    assert all(one.weight > 0 for one in found)


def test_heads_of_one_kind_look_just_inside_the_word():
    found = found_among({(1, 0): attending(ONSETS + 0.05), (1, 1): attending(ONSETS + 0.06)})
    assert np.median([one.lag for one in found]) == pytest.approx(INSIDE_LAG)


@pytest.mark.parametrize("count", [1, 2])
def test_a_text_of_one_or_two_tokens_has_onset_heads_too(count):
    weights = attending(ONSETS[: count + 1])
    found = choose_onset_heads({(0, 0): [peaks(weights[:-1], frame_seconds=FRAME)]}, [[0]])
    assert [(one.layer, one.head) for one in found] == [(0, 0)]
    begins, _ = _path({(0, 0): weights}, found, FRAME, [Word("a", 0, 1, (0,))])
    assert len(begins) == count + 1


def test_onsets_are_where_the_heads_look_less_their_lags():
    heads = (OnsetHead(0, 0, -0.015, 1.0), OnsetHead(0, 1, 0.06, 0.5))
    weights = {(0, 0): attending(ONSETS - 0.015), (0, 1): attending(ONSETS + 0.06)}
    begins, ends = _path(weights, heads, FRAME, WORDS)
    np.testing.assert_allclose(begins, ONSETS, atol=0.0101)
    assert ends is not None and ends.shape == (7, round(FRAMES * FRAME / 0.01))
    one_odd = weights | {(0, 0): attending([*ONSETS[:3] - 0.015, 0.2, *ONSETS[4:] - 0.015])}  # a row that looks back
    np.testing.assert_allclose(_path(one_odd, heads, FRAME, WORDS)[0], ONSETS, atol=0.0201)


def test_boundary_heads_tell_where_a_word_ends_before_a_pause():
    heads = (OnsetHead(0, 0, -0.015, 1.0), OnsetHead(0, 1, 0.06, 1.0))
    before = ONSETS - 0.015
    before[3] = 0.70  # the third word ends long before the fourth begins
    begins, ends = _path({(0, 0): attending(before), (0, 1): attending(ONSETS + 0.06)}, heads, FRAME, WORDS)
    onsets = TokenOnsets(begins, ends)
    assert onsets.word_end(3, after=begins[2], before=begins[3]) == pytest.approx(0.715, abs=0.02)
    assert onsets.word_end(4, after=begins[3], before=begins[4]) == pytest.approx(ONSETS[4], abs=0.02)
    unknown = TokenOnsets(begins, None)
    assert unknown.word_end(3, after=begins[2], before=begins[3]) == begins[3]


@given(st.integers(1, 7), st.integers(1, 13), st.integers(0, 99), st.lists(st.integers(0, 4), min_size=7, max_size=7))
@settings(max_examples=60, deadline=None)
def test_onsets_keep_their_distance_where_there_is_room(rows, frames, seed, gaps):
    attention = np.random.default_rng(seed).random((rows, frames))
    gaps = [0, *gaps[1:rows]]
    found = monotonic_frames(attention, gaps=gaps)
    assert (np.diff(found) >= 0).all() and 0 <= found[0] and found[-1] < frames
    if sum(gaps) < frames:
        assert (np.diff(found) >= gaps[1:]).all()
    np.testing.assert_array_equal(monotonic_frames(attention, gaps=[0] * rows), monotonic_frames(attention))


def test_a_word_takes_time_for_its_letters():
    words = [Word("a", 0, 1, (0,)), Word("strengths", 2, 11, (1, 2)), Word(",", 11, 12, (3,))]
    assert _least_gaps(words, 5) == [0, 4, 0, 9, 0]


def test_published_models_are_known_by_their_alignment_heads():
    tiny = [(1, 0), (2, 0), (2, 5), (3, 0), (3, 1), (3, 2), (3, 3), (3, 4)]
    assert known_onset_heads(tiny[::-1]) == KNOWN[frozenset(tiny)]
    assert known_onset_heads(tiny[1:]) is None and known_onset_heads(None) is None
    for heads in KNOWN.values():
        assert heads[0].lag == BOUNDARY_LAG and all(0.03 < one.lag < 0.08 for one in heads[1:])
