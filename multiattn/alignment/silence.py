"""Word times out of the silence around words, by the recording's own loudness.

Notation: t samples, k steps of 10 ms, w samples of a step's window, f frequencies.

A path through attention knows no pauses: it gives each to the word before or after it. But a recording says where it
is quiet. So a boundary between two words goes to the pause nearest to it, where one is close by, and neither has it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64

STEP_SECONDS = 0.01
"""From one measurement of loudness to the next."""

REACH_SECONDS = 0.2
"""How far a boundary may move to reach a pause, in seconds; and never further than the pause is long."""

PAUSE_SECONDS = 0.05
"""The shortest silence that parts words, in seconds: shorter ones are stops within a word, as before a t."""

CLICK_SECONDS = 0.06
"""A shorter sound between two pauses, where no word was looked for, parts them not. Of 0.06 and 0.12 on the digits of
`tests/benchmarks/word_times.py` both took the mean error from 70 to 59 ms."""

# of how loud a step is
_WINDOW_SECONDS = 0.02
_BANDS, _LOWEST_HZ = 12, 100.0  # evenly spaced on the mel scale; below are hum and rumble
_DEEPEST = 60.0  # decibels below the loud parts: what is quieter is silence, however quiet
_QUIET_SHARE = 10  # percent of the steps, the quietest of a band, whose loudest is the band's background
_MARGIN = 4.0  # decibels above it that the background itself may reach by chance
_SPEECH = 1.0  # decibels above that, in the mean of the bands: what is louder is no pause
_LEAST_LOUD = 3.0  # decibels that the loud parts must reach: else all is about as loud, and nothing is a pause


class Pause(NamedTuple):
    """A silence, in seconds."""

    start: float
    end: float


def snapped(
    spans: Sequence[tuple[float, float]],
    samples: Float[np.ndarray, " t"],
    *,
    rate: int,
    looks: Sequence[tuple[float, float]] | None = None,
) -> list[tuple[float, float]]:
    """Times with the pauses between words left out.

    Args:
        spans: Start and end of each word in seconds, in order, none beginning before the one before it ends.
        samples: The recording, mono, from time 0 on.
        rate: Samples a second, in Hz.
        looks: Of each word, the times in seconds at which its first and its last piece were looked for, rising
            from word to word. A pause between two words' looks parts them however far it is from the path's boundary,
            and the longest of several does. Where None, only pauses near a boundary do.

    Returns:
        As many, in order, none beginning before the one before it ends. All are unchanged where the recording has no
        pauses that its loudness tells.
    """
    free = pauses(samples, rate=rate)
    if looks:
        spans, free = _parted(spans, free, looks)
    starts, ends = [start for start, _ in spans], [end for _, end in spans]
    for i in range(len(spans) + 1 if spans else 0):
        # between word i - 1 and word i: neither may lose all its time to the pause
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


def _parted(
    spans: Sequence[tuple[float, float]], free: list[Pause], looks: Sequence[tuple[float, float]]
) -> tuple[list[tuple[float, float]], list[Pause]]:
    """Spans whose boundaries are the pauses between the looks, where there are any, and the other pauses.

    A path through sharp looks begins the next word as soon as the one before has been looked for, in the midst of it.
    """
    before, after = [spans[0][0], *(end for _, end in spans)], [*(start for start, _ in spans), spans[-1][1]]
    last_looks = [-np.inf, *(last for _, last in looks)]
    first_looks = [*(first for first, _ in looks), np.inf]
    taken = []
    for i in range(len(spans) + 1):
        between = [one for one in free if last_looks[i] < (one.start + one.end) / 2 < first_looks[i]]
        if between:
            pause = max(_bridged(between), key=lambda one: one.end - one.start)
            before[i], after[i] = pause.start, pause.end
            taken.append(pause)
    found: list[tuple[float, float]] = []
    for start, end in zip(after[:-1], before[1:], strict=True):
        # a boundary that no pause gave may lie behind one that a pause gave
        start = max(start, found[-1][1]) if found else start
        found.append((start, max(start, end)))
    return found, [one for one in free if all(one.start >= other.end or one.end <= other.start for other in taken)]


def _bridged(between: Sequence[Pause]) -> list[Pause]:
    """Pauses with only a click between them as one."""
    found = [between[0]]
    for one in between[1:]:
        if one.start - found[-1].end < CLICK_SECONDS:
            found[-1] = Pause(found[-1].start, one.end)
        else:
            found.append(one)
    return found


def pauses(samples: Float[np.ndarray, " t"], *, rate: int) -> list[Pause]:
    """The silences of a recording that can part words, and those at its ends; none where all is about as loud."""
    level = prominence(samples, rate=rate)
    if not len(level) or np.percentile(level, 95) < _LEAST_LOUD:
        return []
    silent = np.concatenate([[False], level < _SPEECH, [False]])
    edges = np.flatnonzero(silent[1:] != silent[:-1])  # starts and ends in turn
    found = []
    for first, last in edges.reshape(-1, 2):
        # a step beside speech has some of it in its window, and in the mean with its neighbors
        start, end = max(first - 1, 0) * STEP_SECONDS, min((last + 1) * STEP_SECONDS, len(samples) / rate)
        # at the ends of a recording there may be little of a silence
        if end - start >= PAUSE_SECONDS or first == 0 or last == len(level):
            found.append(Pause(float(start), float(end)))
    return found


def prominence(samples: Float[np.ndarray, " t"], *, rate: int) -> Float64[np.ndarray, " k"]:
    """How far each 10 ms stands out of the recording's background, in decibels, as the mean of bands of pitch.

    By bands, for a weak consonant is loud in a few of them, and hum or rumble in others.
    """
    if not len(samples):
        return np.zeros(0)
    power = _power(samples, step=max(1, round(STEP_SECONDS * rate)), window=max(2, round(_WINDOW_SECONDS * rate)))
    level = 10 * np.log10(np.maximum(_by_band(power, rate=rate), 1e-20))  # (k, bands)
    level = np.maximum(level, np.percentile(level.max(axis=1), 95) - _DEEPEST)
    background = np.percentile(level, _QUIET_SHARE, axis=0)
    above = np.clip(level - background - _MARGIN, 0.0, None).mean(axis=1)
    padded = np.pad(above, 1, mode="edge")
    smooth: np.ndarray = (padded[:-2] + padded[1:-1] + padded[2:]) / 3  # a click makes no word
    return smooth


def _power(samples: np.ndarray, *, step: int, window: int) -> np.ndarray:
    """The power spectrum around the middle of each step, (k, f)."""
    count = -(-len(samples) // step)
    before = (window - step) // 2
    padded = np.pad(samples.astype(np.float64), (before, window + step))
    windows = np.lib.stride_tricks.sliding_window_view(padded, window)[: count * step : step]  # (k, w)
    found: np.ndarray = np.abs(np.fft.rfft(windows * np.hanning(window))) ** 2 / window
    return found


def _by_band(power: np.ndarray, *, rate: int) -> np.ndarray:
    """The mean power of each band that has a frequency, (k, bands)."""
    frequencies = np.linspace(0, rate / 2, power.shape[1])
    mel = np.log10(1 + frequencies / 700)
    edges = np.linspace(np.log10(1 + min(_LOWEST_HZ, rate / 8) / 700), mel[-1], _BANDS + 1)
    band = np.clip(np.searchsorted(edges, mel, side="right") - 1, -1, _BANDS - 1)
    return np.stack([power[:, band == i].mean(axis=1) for i in range(_BANDS) if (band == i).any()], axis=1)
