"""Where words were looked for, and the pauses that lie between two of them."""

import itertools

import numpy as np
import pytest

from multiattn.alignment.dtw import rising_frames
from multiattn.alignment.silence import snapped

RATE = 8000


def sounds(*spans: tuple[float, float], seconds: float) -> np.ndarray:
    """Tones with a little noise everywhere."""
    rng = np.random.default_rng(7)
    found = 1e-3 * rng.standard_normal(round(seconds * RATE))
    for start, end in spans:
        first, last = round(start * RATE), round(end * RATE)
        found[first:last] += 0.3 * rng.standard_normal(last - first)
    return found


@pytest.mark.parametrize("seed", range(7))
@pytest.mark.parametrize(("rows", "frames"), [(1, 5), (3, 7), (5, 3)])
def test_rising_frames_are_the_best_of_all_that_never_fall(rows, frames, seed):
    look = np.random.default_rng(seed).dirichlet(np.full(frames, 0.3), rows)
    found = rising_frames(look)
    assert (np.diff(found) >= 0).all()
    told = np.log(np.maximum(look, 1e-9))
    best = max(
        told[np.arange(rows), list(path)].sum() for path in itertools.combinations_with_replacement(range(frames), rows)
    )
    assert told[np.arange(rows), found].sum() == pytest.approx(best)


def test_a_pause_between_two_looks_parts_their_words_however_far_the_path_is_from_it():
    samples = sounds((0.3, 0.8), (1.2, 1.7), seconds=2.0)
    path = [(0.0, 0.45), (0.45, 2.0)]  # the second word begins in the midst of the first
    assert snapped(path, samples, rate=RATE)[0][1] == pytest.approx(0.45, abs=0.02)
    found = snapped(path, samples, rate=RATE, looks=[(0.4, 0.4), (1.3, 1.3)])
    assert np.array(found) == pytest.approx(np.array([[0.3, 0.8], [1.2, 1.7]]), abs=0.03)


def test_of_several_pauses_between_two_looks_the_longest_parts_them():
    samples = sounds((0.2, 0.5), (0.6, 0.9), (1.3, 1.6), seconds=1.9)  # a stop in the first word, then a pause
    found = snapped([(0.0, 0.55), (0.55, 1.9)], samples, rate=RATE, looks=[(0.3, 0.3), (1.4, 1.4)])
    assert np.array(found) == pytest.approx(np.array([[0.2, 0.9], [1.3, 1.6]]), abs=0.03)


def test_a_click_in_a_pause_is_part_of_it():
    samples = sounds((0.3, 0.8), (1.1, 1.13), (1.5, 1.9), seconds=2.2)
    found = snapped([(0.0, 0.5), (0.5, 2.2)], samples, rate=RATE, looks=[(0.4, 0.4), (1.6, 1.6)])
    assert np.array(found) == pytest.approx(np.array([[0.3, 0.8], [1.5, 1.9]]), abs=0.03)


def test_without_a_pause_between_the_looks_the_path_stays():
    samples = sounds((0.3, 1.7), seconds=2.0)
    found = snapped([(0.0, 0.9), (0.9, 2.0)], samples, rate=RATE, looks=[(0.5, 0.5), (1.3, 1.3)])
    assert np.array(found) == pytest.approx(np.array([[0.3, 0.9], [0.9, 1.7]]), abs=0.03)


@pytest.mark.parametrize("seed", range(11))
def test_words_stay_in_order_whatever_the_looks(seed):
    rng = np.random.default_rng(seed)
    samples = sounds((0.2, 0.5), (0.8, 1.0), (1.4, 1.9), seconds=2.2)
    edges = np.sort(rng.uniform(0, 2.2, 6)).reshape(3, 2)
    looks = np.sort(rng.uniform(0, 2.2, 6)).reshape(3, 2)
    found = np.array(snapped(list(map(tuple, edges)), samples, rate=RATE, looks=list(map(tuple, looks)))).ravel()
    assert (np.diff(found) >= 0).all() and found[0] >= 0 and found[-1] <= 2.2 + 1e-9


def test_no_words_have_no_times():
    assert snapped([], sounds((0.2, 0.5), seconds=0.7), rate=RATE, looks=[]) == []
