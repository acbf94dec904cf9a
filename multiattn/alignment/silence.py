"""Pauses of a recording, found from its loudness, and word times with these pauses excluded.

Notation: t samples, k steps of 10 ms, w samples of a step's window, f frequencies.

An alignment path through attention has no notion of a pause: it gives the time of each pause to the word before or
after it. `exclude_pauses` therefore moves a boundary between two words to the pause nearest to it, where one is close
enough, and the pause then belongs to neither word.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64

STEP_SECONDS = 0.01
"""Time from one loudness measurement to the next."""

REACH_SECONDS = 0.2
"""How far a boundary may move to reach a pause, in seconds; it never moves further than the pause is long."""

PAUSE_SECONDS = 0.05
"""The shortest silence that counts as a pause, in seconds: shorter ones are stops within a word, as before a t."""

CLICK_SECONDS = 0.06
"""A sound shorter than this between two pauses, during which no word was attended to, does not split the pause. Of 0.06
and 0.12 on the digits of `tests/benchmarks/word_times.py` both took the mean error from 70 to 59 ms."""

# how the loudness of a step is measured
_WINDOW_SECONDS = 0.02
_BANDS, _LOWEST_HZ = 12, 100.0  # evenly spaced on the mel scale; hum and rumble lie below
_DYNAMIC_RANGE = 60.0  # decibels below the loud parts: anything quieter counts as equally silent
_QUIET_PERCENT = 10  # the loudest of this share of a band's steps, the quietest ones, is the band's background level
_MARGIN = 4.0  # decibels above its level that the background may reach by chance
_SPEECH = 1.0  # decibels above that margin, averaged over the bands: anything louder is no pause
_LEAST_LOUD = 3.0  # decibels that the loud parts must reach, or the recording is too even to have pauses


class Pause(NamedTuple):
    """A silence; start and end in seconds."""

    start: float
    end: float


def exclude_pauses(
    spans: Sequence[tuple[float, float]],
    samples: Float[np.ndarray, " t"],
    *,
    rate: int,
    attended: Sequence[tuple[float, float]] | None = None,
) -> list[tuple[float, float]]:
    """Exclude the pauses between words from the words' times.

    Args:
        spans: Start and end of each word in seconds, in order and without overlap.
        samples: The recording, mono, from time 0 on.
        rate: Sampling rate in Hz.
        attended: For each word, the times in seconds that were attended to for its first and its last token, rising
            from word to word. A pause that lies between the attended times of two words separates them, however far
            it is from their boundary; of several such pauses, the longest does. None: only pauses near a boundary
            count.

    Returns:
        As many spans, in order and without overlap. All are unchanged where no pauses are found.
    """
    free = pauses(samples, rate=rate)
    if attended:
        spans, free = _split_at_pauses(spans, free, attended)
    starts, ends = [start for start, _ in spans], [end for _, end in spans]
    for i in range(len(spans) + 1 if spans else 0):
        # the boundary between word i - 1 and word i: neither word may lose all its time to the pause
        low, left = (starts[i - 1], ends[i - 1]) if i else (-np.inf, starts[0])
        right, high = (starts[i], ends[i]) if i < len(spans) else (ends[-1], np.inf)
        near = [
            (distance, pause.start - pause.end, pause)
            for pause in free
            if low < pause.start and pause.end < high
            if (distance := max(pause.start - right, left - pause.end, 0.0))
            <= min(REACH_SECONDS, pause.end - pause.start)
        ]
        if not near:
            continue
        _, _, pause = min(near)
        if i:
            ends[i - 1] = pause.start
        if i < len(spans):
            starts[i] = pause.end
        free = [other for other in free if other.start >= pause.end]
    return list(zip(starts, ends, strict=True))


def _split_at_pauses(
    spans: Sequence[tuple[float, float]], free: list[Pause], attended: Sequence[tuple[float, float]]
) -> tuple[list[tuple[float, float]], list[Pause]]:
    """Replace boundaries by the pauses between attended times, where there are any; also return the unused pauses.

    Where attention is sharp, the alignment path starts the next word as soon as the last one was attended to, which is
    in the middle of that word.
    """
    before, after = [spans[0][0], *(end for _, end in spans)], [*(start for start, _ in spans), spans[-1][1]]
    last_attended = [-np.inf, *(last for _, last in attended)]
    first_attended = [*(first for first, _ in attended), np.inf]
    used = []
    for i in range(len(spans) + 1):
        between = [one for one in free if last_attended[i] < (one.start + one.end) / 2 < first_attended[i]]
        if between:
            pause = max(_join_over_clicks(between), key=lambda one: one.end - one.start)
            before[i], after[i] = pause.start, pause.end
            used.append(pause)
    found: list[tuple[float, float]] = []
    for start, end in zip(after[:-1], before[1:], strict=True):
        # a boundary of the alignment path may lie behind one that was moved to a pause
        start = max(start, found[-1][1]) if found else start
        found.append((start, max(start, end)))
    return found, [one for one in free if all(one.start >= other.end or one.end <= other.start for other in used)]


def _join_over_clicks(between: Sequence[Pause]) -> list[Pause]:
    """Join pauses that are separated by no more than a click."""
    found = [between[0]]
    for one in between[1:]:
        if one.start - found[-1].end < CLICK_SECONDS:
            found[-1] = Pause(found[-1].start, one.end)
        else:
            found.append(one)
    return found


def pauses(samples: Float[np.ndarray, " t"], *, rate: int) -> list[Pause]:
    """Find the pauses of a recording, those at its ends included; none where its loudness hardly varies."""
    level = prominence(samples, rate=rate)
    if not len(level) or np.percentile(level, 95) < _LEAST_LOUD:
        return []
    silent = np.concatenate([[False], level < _SPEECH, [False]])
    edges = np.flatnonzero(silent[1:] != silent[:-1])  # starts and ends in turn
    found = []
    for first, last in edges.reshape(-1, 2):
        # the window of a step beside speech, and its mean with its neighbors, contain some of the speech
        start, end = max(first - 1, 0) * STEP_SECONDS, min((last + 1) * STEP_SECONDS, len(samples) / rate)
        # at the ends of a recording a pause may be cut short
        if end - start >= PAUSE_SECONDS or first == 0 or last == len(level):
            found.append(Pause(float(start), float(end)))
    return found


def prominence(samples: Float[np.ndarray, " t"], *, rate: int) -> Float64[np.ndarray, " k"]:
    """Measure how far each 10 ms rises above the recording's background, in decibels, averaged over frequency bands.

    Bands are compared one by one, since a weak consonant is loud in only a few of them, and hum or rumble in others.
    """
    if not len(samples):
        return np.zeros(0)
    power = _power(samples, step=max(1, round(STEP_SECONDS * rate)), window=max(2, round(_WINDOW_SECONDS * rate)))
    level = 10 * np.log10(np.maximum(_by_band(power, rate=rate), 1e-20))  # (k, bands)
    level = np.maximum(level, np.percentile(level.max(axis=1), 95) - _DYNAMIC_RANGE)
    background = np.percentile(level, _QUIET_PERCENT, axis=0)
    above = np.clip(level - background - _MARGIN, 0.0, None).mean(axis=1)
    padded = np.pad(above, 1, mode="edge")
    smooth: np.ndarray = (padded[:-2] + padded[1:-1] + padded[2:]) / 3  # a click is no word
    return smooth


def _power(samples: np.ndarray, *, step: int, window: int) -> np.ndarray:
    """Return the power spectrum around the middle of each step, (k, f)."""
    count = -(-len(samples) // step)
    before = (window - step) // 2
    padded = np.pad(samples.astype(np.float64), (before, window + step))
    windows = np.lib.stride_tricks.sliding_window_view(padded, window)[: count * step : step]  # (k, w)
    return np.asarray(np.abs(np.fft.rfft(windows * np.hanning(window))) ** 2 / window)


def _by_band(power: np.ndarray, *, rate: int) -> np.ndarray:
    """Return the mean power of each band that contains a frequency, (k, bands)."""
    frequencies = np.linspace(0, rate / 2, power.shape[1])
    mel = np.log10(1 + frequencies / 700)
    edges = np.linspace(np.log10(1 + min(_LOWEST_HZ, rate / 8) / 700), mel[-1], _BANDS + 1)
    band = np.clip(np.searchsorted(edges, mel, side="right") - 1, -1, _BANDS - 1)
    return np.stack([power[:, band == i].mean(axis=1) for i in range(_BANDS) if (band == i).any()], axis=1)
