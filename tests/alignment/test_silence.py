import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multiattn.alignment import exclude_pauses

RATE = 16_000
WORDS = [(0.31, 0.72), (1.05, 1.41), (1.83, 2.4)]  # with silence before, between and after; in seconds
SECONDS = 2.9


def recording(*, noise_db=None, rate=RATE, words=WORDS, seconds=SECONDS):
    """Bursts of tones where the words are, in silence or noise."""
    times = np.arange(round(seconds * rate)) / rate
    sound = sum(np.sin(2 * np.pi * pitch * times) for pitch in (211, 523, 1301, 2909))
    spoken = np.any([(times >= start) & (times < end) for start, end in words], axis=0)
    samples = 0.1 * sound * spoken
    if noise_db is not None:
        samples = samples + 10 ** (noise_db / 20) * np.random.default_rng(0).normal(size=len(samples))
    return samples.astype(np.float32)


def off(words, *, start=0.0, end=0.0):
    """The words as attention tells them, with starts and ends off by so many seconds."""
    return [(a + start, b + end) for a, b in words]


def contiguous(share):
    """Words without ends of their own: each lasts until the next begins, somewhere in the pause between them."""
    cuts = [end + share * (start - end) for (_, end), (start, _) in itertools.pairwise(WORDS)]
    return list(itertools.pairwise([0.0, *cuts, SECONDS]))


@pytest.mark.parametrize("noise_db", [None, -60, -40])
@pytest.mark.parametrize(("start", "end"), [(0.0, 0.0), (-0.07, 0.07), (0.07, -0.07), (-0.07, -0.07)])
@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050])
def test_starts_and_ends_move_to_the_edges_of_the_sound(noise_db, start, end, rate):
    found = exclude_pauses(off(WORDS, start=start, end=end), recording(noise_db=noise_db, rate=rate), rate=rate)
    np.testing.assert_allclose(found, WORDS, atol=0.021)


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("ends_known", [False, True])
def test_words_without_ends_of_their_own_end_where_silence_begins(share, ends_known):
    found = exclude_pauses(contiguous(share), recording(noise_db=-60), rate=RATE, ends_known=ends_known)
    np.testing.assert_allclose(found, WORDS, atol=0.021)


def silent_front(samples, rng):
    return np.concatenate([np.zeros(3 * RATE), samples + 1e-3 * rng.normal(size=len(samples))]), 3.0


def gated(samples, rng):
    return samples + 3e-3 * rng.normal(size=len(samples)) * (samples != 0), 0.0


def noise_sets_in(samples, rng):
    noise = rng.normal(size=len(samples)) * np.where(np.arange(len(samples)) < 1.6 * RATE, 1e-4, 1e-2)
    return samples + noise, 0.0


@pytest.mark.parametrize("change", [silent_front, gated, noise_sets_in])
def test_backgrounds_may_change_within_a_recording(change):
    samples, shift = change(recording().astype(np.float64), np.random.default_rng(3))
    words = off(WORDS, start=shift, end=shift)
    found = exclude_pauses(off(words, start=0.05, end=-0.05), samples.astype(np.float32), rate=RATE)
    np.testing.assert_allclose(found, words, atol=0.03)


def test_music_behind_the_speech_leaves_the_times_as_attention_tells_them():
    times = np.arange(round(SECONDS * RATE)) / RATE
    music = 0.2 * sum(np.sin(2 * np.pi * pitch * times) for pitch in (220, 330, 523, 1301, 2909))
    spans = off(WORDS, start=0.03, end=-0.03)
    assert exclude_pauses(spans, (recording() + music).astype(np.float32), rate=RATE) == spans


def test_a_start_within_sound_moves_no_further_than_the_reach():
    spans = [(0.31, 0.72), (1.05, 1.41), (2.1, 2.4)]  # 0.27 s after its sound begins
    assert exclude_pauses(spans, recording(noise_db=-60), rate=RATE)[2][0] == 2.1
    assert exclude_pauses(spans, recording(noise_db=-60), rate=RATE, reach=0.3)[2][0] == pytest.approx(1.83, abs=0.021)


def test_a_start_in_silence_moves_to_the_sound():
    spans = [(0.05, 0.72), (0.85, 1.41), (1.6, 2.4)]
    np.testing.assert_allclose(exclude_pauses(spans, recording(noise_db=-60), rate=RATE), WORDS, atol=0.021)


def test_stops_between_words_are_no_pauses():
    samples = recording(words=[(0.31, 0.5), (0.55, 0.72)], noise_db=-60)
    found = exclude_pauses([(0.31, 0.52), (0.53, 0.72)], samples, rate=RATE)
    assert found[0][1] == found[1][0] == 0.53


def test_no_word_has_a_long_silence_in_it():
    found = exclude_pauses([(0.31, 1.41), (1.83, 2.4)], recording(noise_db=-60), rate=RATE)
    assert found[0] == pytest.approx((0.31, 0.72), abs=0.021)


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
@pytest.mark.parametrize("ends_known", [False, True])
def test_a_recording_of_even_loudness_has_no_pauses(samples, ends_known):
    seconds = len(samples) / RATE
    spans = [(0.1 * seconds, 0.4 * seconds), (0.4 * seconds, 0.9 * seconds)]
    assert exclude_pauses(spans, samples, rate=RATE, ends_known=ends_known) == spans


def test_loudness_of_the_whole_does_not_matter():
    samples = recording(noise_db=-45)
    spans = off(WORDS, start=0.06, end=-0.06)
    np.testing.assert_allclose(
        exclude_pauses(spans, samples, rate=RATE), exclude_pauses(spans, samples / 31, rate=RATE), atol=0.011
    )


def test_no_words_have_no_times():
    assert exclude_pauses([], recording(), rate=RATE) == []


@given(st.lists(st.floats(0, SECONDS), min_size=2, max_size=12), st.booleans(), st.booleans())
@settings(max_examples=60, deadline=None)
def test_words_stay_in_order_and_none_ends_before_it_begins(times, with_gaps, ends_known):
    times = sorted(times)
    spans = list(zip(times[::2], times[1::2], strict=False)) if with_gaps else list(itertools.pairwise(times))
    found = exclude_pauses(spans, recording(noise_db=-50), rate=RATE, ends_known=ends_known)
    flat = [time for span in found for time in span]
    assert len(found) == len(spans) and flat == sorted(flat)
    assert flat[0] >= 0 and flat[-1] <= SECONDS + 0.011
