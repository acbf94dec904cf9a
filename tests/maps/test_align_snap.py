import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multiattn.alignment import snapped
from multiattn.alignment.silence import pauses, prominence

RATE = 16_000
WORDS = [(0.31, 0.72), (1.05, 1.41), (1.83, 2.4)]  # with silence before, between and after; in seconds
SECONDS = 2.9


def recording(*, noise_db=None, rate=RATE, words=WORDS):
    """Bursts of tones where the words are, in silence or noise."""
    times = np.arange(round(SECONDS * rate)) / rate
    sound = sum(np.sin(2 * np.pi * pitch * times) for pitch in (211, 523, 1301, 2909))
    spoken = np.any([(times >= start) & (times < end) for start, end in words], axis=0)
    samples = 0.1 * sound * spoken
    if noise_db is not None:
        samples = samples + 10 ** (noise_db / 20) * np.random.default_rng(0).normal(size=len(samples))
    return samples.astype(np.float32)


def contiguous(share):
    """What a path through attention says: each pause is a neighbor's, or shared."""
    cuts = [end + share * (start - end) for (_, end), (start, _) in itertools.pairwise(WORDS)]
    return list(itertools.pairwise([0.0, *cuts, SECONDS]))


@pytest.mark.parametrize("noise_db", [None, -60, -40])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050])
def test_words_lose_the_pauses(noise_db, share, rate):
    found = snapped(contiguous(share), recording(noise_db=noise_db, rate=rate), rate=rate)
    np.testing.assert_allclose(found, WORDS, atol=0.021)


def test_a_boundary_beyond_reach_stays():
    spans = contiguous(0.5)
    spans[0], spans[1] = (spans[0][0], 1.36), (1.36, spans[1][1])  # 0.31 s after the pause
    found = snapped(spans, recording(), rate=RATE)
    assert found[0][1] == found[1][0] == 1.36
    np.testing.assert_allclose(found[2], WORDS[2], atol=0.021)


def test_a_boundary_moves_no_further_than_the_pause_is_long():
    words = [(0.3, 1.0), (1.1, 2.0)]
    at = [(0.3, 1.24), (1.24, 2.0)]  # 0.14 s after a pause of 0.1
    assert snapped(at, recording(words=words), rate=RATE)[0][1] == 1.24
    near = snapped([(0.3, 1.15), (1.15, 2.0)], recording(words=words), rate=RATE)
    np.testing.assert_allclose(near, words, atol=0.021)


def test_stops_within_a_word_are_no_pauses():
    samples = recording(words=[(0.31, 0.5), (0.53, 0.72)])
    assert [round(pause.end - pause.start, 1) for pause in pauses(samples, rate=RATE)] == [0.3, 2.2]


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros(16_001, dtype=np.float32),
        np.sin(np.arange(16_001) / 5).astype(np.float32),
        np.random.default_rng(1).normal(size=16_001).astype(np.float32),
        np.zeros(0, dtype=np.float32),
        np.ones(1, dtype=np.float32),
    ],
    ids=["silence", "a tone", "noise", "nothing", "one sample"],
)
def test_what_is_all_about_as_loud_has_no_pauses(samples):
    assert pauses(samples, rate=RATE) == []
    assert snapped([(0.1, 0.4), (0.4, 0.9)], samples, rate=RATE) == [(0.1, 0.4), (0.4, 0.9)]


def test_loudness_of_the_whole_does_not_matter():
    quiet = recording(noise_db=-45)
    np.testing.assert_allclose(prominence(quiet, rate=RATE), prominence(quiet / 31, rate=RATE), atol=1e-3)


def test_no_words_stay_none():
    assert snapped([], recording(), rate=RATE) == []


@given(st.lists(st.floats(0, SECONDS), min_size=2, max_size=13))
@settings(max_examples=40)
def test_words_stay_in_order_and_none_ends_before_it_begins(cuts):
    found = snapped(list(itertools.pairwise(sorted(cuts))), recording(), rate=RATE)
    flat = [time for span in found for time in span]
    assert len(found) == len(cuts) - 1 and flat == sorted(flat)
    assert flat[0] >= 0 and flat[-1] <= SECONDS
