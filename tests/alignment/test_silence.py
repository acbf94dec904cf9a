import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multiattn.alignment import exclude_pauses
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
    """The words of an alignment path: each pause belongs to a neighbor, or is shared."""
    cuts = [end + share * (start - end) for (_, end), (start, _) in itertools.pairwise(WORDS)]
    return list(itertools.pairwise([0.0, *cuts, SECONDS]))


@pytest.mark.parametrize("noise_db", [None, -60, -40])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050])
def test_words_lose_the_pauses(noise_db, share, rate):
    found = exclude_pauses(contiguous(share), recording(noise_db=noise_db, rate=rate), rate=rate)
    np.testing.assert_allclose(found, WORDS, atol=0.021)


def test_a_boundary_beyond_reach_stays():
    spans = contiguous(0.5)
    spans[0], spans[1] = (spans[0][0], 1.36), (1.36, spans[1][1])  # 0.31 s after the pause
    found = exclude_pauses(spans, recording(), rate=RATE)
    assert found[0][1] == found[1][0] == 1.36
    np.testing.assert_allclose(found[2], WORDS[2], atol=0.021)


def test_a_boundary_moves_no_further_than_the_pause_is_long():
    words = [(0.3, 1.0), (1.1, 2.0)]
    at = [(0.3, 1.24), (1.24, 2.0)]  # 0.14 s after a pause of 0.1
    assert exclude_pauses(at, recording(words=words), rate=RATE)[0][1] == 1.24
    near = exclude_pauses([(0.3, 1.15), (1.15, 2.0)], recording(words=words), rate=RATE)
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
def test_a_recording_of_even_loudness_has_no_pauses(samples):
    assert pauses(samples, rate=RATE) == []
    assert exclude_pauses([(0.1, 0.4), (0.4, 0.9)], samples, rate=RATE) == [(0.1, 0.4), (0.4, 0.9)]


def test_loudness_of_the_whole_does_not_matter():
    quiet = recording(noise_db=-45)
    np.testing.assert_allclose(prominence(quiet, rate=RATE), prominence(quiet / 31, rate=RATE), atol=1e-3)


def test_no_words_have_no_times():
    assert exclude_pauses([], recording(), rate=RATE) == exclude_pauses([], recording(), rate=RATE, attended=[]) == []


@given(st.lists(st.floats(0, SECONDS), min_size=2, max_size=13))
@settings(max_examples=40)
def test_words_stay_in_order_and_none_ends_before_it_begins(cuts):
    found = exclude_pauses(list(itertools.pairwise(sorted(cuts))), recording(), rate=RATE)
    flat = [time for span in found for time in span]
    assert len(found) == len(cuts) - 1 and flat == sorted(flat)
    assert flat[0] >= 0 and flat[-1] <= SECONDS


LOW_RATE = 8000


def tones(*spans: tuple[float, float], seconds: float) -> np.ndarray:
    """Bursts of noise in faint noise."""
    rng = np.random.default_rng(7)
    found = 1e-3 * rng.standard_normal(round(seconds * LOW_RATE))
    for start, end in spans:
        first, last = round(start * LOW_RATE), round(end * LOW_RATE)
        found[first:last] += 0.3 * rng.standard_normal(last - first)
    return found


def test_a_pause_between_the_attended_times_separates_two_words_however_far_from_the_boundary():
    samples = tones((0.3, 0.8), (1.2, 1.7), seconds=2.0)
    path = [(0.0, 0.45), (0.45, 2.0)]  # the second word begins in the midst of the first
    assert exclude_pauses(path, samples, rate=LOW_RATE)[0][1] == pytest.approx(0.45, abs=0.02)
    found = exclude_pauses(path, samples, rate=LOW_RATE, attended=[(0.4, 0.4), (1.3, 1.3)])
    assert np.array(found) == pytest.approx(np.array([[0.3, 0.8], [1.2, 1.7]]), abs=0.03)


def test_the_longest_of_several_pauses_between_the_attended_times_separates_two_words():
    samples = tones((0.2, 0.5), (0.6, 0.9), (1.3, 1.6), seconds=1.9)  # a stop in the first word, then a pause
    found = exclude_pauses([(0.0, 0.55), (0.55, 1.9)], samples, rate=LOW_RATE, attended=[(0.3, 0.3), (1.4, 1.4)])
    assert np.array(found) == pytest.approx(np.array([[0.2, 0.9], [1.3, 1.6]]), abs=0.03)


def test_a_click_in_a_pause_belongs_to_the_pause():
    samples = tones((0.3, 0.8), (1.1, 1.13), (1.5, 1.9), seconds=2.2)
    found = exclude_pauses([(0.0, 0.5), (0.5, 2.2)], samples, rate=LOW_RATE, attended=[(0.4, 0.4), (1.6, 1.6)])
    assert np.array(found) == pytest.approx(np.array([[0.3, 0.8], [1.5, 1.9]]), abs=0.03)


def test_without_a_pause_between_the_attended_times_the_boundary_stays():
    samples = tones((0.3, 1.7), seconds=2.0)
    found = exclude_pauses([(0.0, 0.9), (0.9, 2.0)], samples, rate=LOW_RATE, attended=[(0.5, 0.5), (1.3, 1.3)])
    assert np.array(found) == pytest.approx(np.array([[0.3, 0.9], [0.9, 1.7]]), abs=0.03)


@pytest.mark.parametrize("seed", range(11))
def test_words_stay_in_order_whatever_is_attended_to(seed):
    rng = np.random.default_rng(seed)
    samples = tones((0.2, 0.5), (0.8, 1.0), (1.4, 1.9), seconds=2.2)
    edges = np.sort(rng.uniform(0, 2.2, 6)).reshape(3, 2)
    attended = np.sort(rng.uniform(0, 2.2, 6)).reshape(3, 2)
    found = np.array(
        exclude_pauses(list(map(tuple, edges)), samples, rate=LOW_RATE, attended=list(map(tuple, attended)))
    ).ravel()
    assert (np.diff(found) >= 0).all() and found[0] >= 0 and found[-1] <= 2.2 + 1e-9
