"""Pauses of a recording beside its words, found from its loudness, and word times with these pauses excluded.

Notation: t samples, k steps of 10 ms, w samples of a step's window, f frequencies, b frequency bands.

Attention tells where a word begins and ends to within a few hundredths of a second. `exclude_pauses` moves both to the
edge of the sound, where one is that near. What counts as silence is decided at each edge by the sound beside it: a
recording may begin with digital silence, noise may set in with a call, and music may play behind a part of it.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Float, Float64

STEP_SECONDS = 0.01
"""Time from one loudness measurement to the next."""

REACH_SECONDS = 0.1
"""How far a start or an end may move from within sound to an edge of it, in seconds, if attention is precise."""

FORWARD_SECONDS = 0.5
"""How far a start that lies in silence may move to where the sound begins, in seconds."""

PAUSE_SECONDS = 0.1
"""The shortest silence between two words that counts as a pause, in seconds: shorter ones are stops, as before a t."""

STOP_SECONDS = 0.05
"""The shortest silence that separates two words where attention does not tell of an end, in seconds."""

LONG_SECONDS = 0.2
"""No word has a silence of this length in it, in seconds."""

SAME_SECONDS = 0.03
"""With less than this (seconds) between an end and the next start, nothing tells where a pause would begin."""

CONTIGUOUS_SECONDS = 0.12
"""Where no pause is heard, a gap between two words that is shorter than this (seconds) belongs to the first."""

LEAST_SECONDS = 0.04
"""A word keeps at least this much time, in seconds."""

# how the loudness of a step is measured
_WINDOW_SECONDS = 0.02
_BANDS, _LOWEST_HZ = 12, 100.0  # evenly spaced on the mel scale; hum and rumble lie below
_DYNAMIC_RANGE = 50.0  # decibels below the loud parts: anything quieter counts as equally silent
_WIDE_RANGE = 60.0  # the same where the sound alone tells of ends
_MARGIN = 4.0  # decibels above its level that the background may reach by chance
_SPEECH = 1.0  # decibels above that margin, averaged over the bands: anything louder is no pause
_USUAL_PERCENT = 10.0  # the loudest of this share of a recording's steps, the quietest ones, is its background level
_QUIET_PERCENT = 20.0  # the same of the steps beside an edge
_NOTHING = -95.0  # decibels (0 is full scale): anything quieter is digital silence, which is no background
_DEPTH = 8.0  # decibels that a pause lies below the sound beside it, or what is there is no pause

# where the background beside an edge is measured
_BESIDE_STEPS, _NEXT_TO_STEPS = 30, 5  # at most so many steps on the silent side; so many at the edge are left out
_LEAST_STEPS = 8  # fewer tell nothing: then the background is that of the quietest steps
_QUIETEST_STEPS = 4
_CLICK_STEPS = 3  # a sound shorter than this within silence is a click


def exclude_pauses(
    spans: Sequence[tuple[float, float]],
    samples: Float[np.ndarray, " t"],
    *,
    rate: int,
    reach: float = REACH_SECONDS,
    ends_known: bool = True,
) -> list[tuple[float, float]]:
    """Move the starts and ends of words to the edges of the sound, and exclude the pauses between words.

    Args:
        spans: Start and end of each word in seconds, in order and without overlap, as attention tells them.
        samples: The recording, mono, from time 0 on.
        rate: Sampling rate in Hz.
        reach: How far a start or an end may move from within sound to an edge of it, in seconds.
        ends_known: Whether the ends say something of their own, or each is the next word's start. If so, the longest
            silence from the onset of a word to the next separates the two.

    Returns:
        As many spans, in order and without overlap. An edge stays where it is where no silence is near, or none that
        stands out from the sound beside it.
    """
    if not spans or not len(samples):
        return list(spans)
    sound = _Sound.of(samples, rate=rate, span=_DYNAMIC_RANGE if ends_known else _WIDE_RANGE)
    starts, ends = [start for start, _ in spans], [end for _, end in spans]
    for i in range(len(spans) + 1):
        low = starts[i - 1] + LEAST_SECONDS if i else 0.0
        high = starts[i + 1] if i + 1 < len(spans) else sound.seconds
        end = ends[i - 1] if i else None
        start = starts[i] if i < len(spans) else None
        if end is not None and not ends_known:
            latest = sound.seconds if start is None else start
            until = min(high - LEAST_SECONDS, latest + FORWARD_SECONDS)
            pause = sound.longest_silence(low, until, begin=latest + reach)
            if pause is not None:
                ends[i - 1] = pause[0]
                if start is not None:
                    starts[i] = pause[1]
                continue
        new_end, new_start = sound.edges(end, start, low=low, high=high - LEAST_SECONDS, reach=reach)
        if end is None or start is None:
            if start is not None:
                starts[i] = new_start
            else:
                ends[i - 1] = new_end
        elif new_start - new_end >= PAUSE_SECONDS:
            ends[i - 1], starts[i] = new_end, new_start
        elif start - end < CONTIGUOUS_SECONDS:
            ends[i - 1] = start
    limits = [*starts[1:], sound.seconds]
    return [
        sound.without_pause(start, max(start, min(end, limit)))
        for start, end, limit in zip(starts, ends, limits, strict=True)
    ]


class _Sound:
    """The loudness of a recording, step by step."""

    def __init__(self, bands: np.ndarray, total: np.ndarray, seconds: float) -> None:
        self._bands, self._total, self.seconds = bands, total, seconds  # (k, b) and (k,) in decibels
        self._sounds = total > _NOTHING
        # of the whole recording: with digital silence, where there is some, and without; the lower one comes first
        loud, quiet = np.percentile(bands, 95, axis=0), np.percentile(bands, _USUAL_PERCENT, axis=0)
        usual = [quiet, *([] if self._sounds.all() else [self._level(slice(None), _USUAL_PERCENT)])]
        self._usual = [one for one in usual if one is not None and (loud - one).mean() > _DEPTH]
        if len(self._usual) > 1 and (loud - self._usual[1]).min() < _MARGIN:  # what is left is sound in some band
            del self._usual[1]

    @classmethod
    def of(cls, samples: Float[np.ndarray, " t"], *, rate: int, span: float) -> "_Sound":
        power = _power(samples, step=max(1, round(STEP_SECONDS * rate)), window=max(2, round(_WINDOW_SECONDS * rate)))
        bands = 10 * np.log10(np.maximum(_by_band(power, rate=rate), 1e-12))  # (k, b)
        bands = np.maximum(bands, np.percentile(bands.max(axis=1), 95) - span)
        return cls(bands, 10 * np.log10(np.maximum(power.mean(axis=1), 1e-12)), len(samples) / rate)

    def longest_silence(self, low: float, high: float, *, begin: float = np.inf) -> tuple[float, float] | None:
        """Return the longest silence between two times in seconds that begins before a third; None if all are short."""
        first, last = _step(low, len(self._bands)), _step(high, len(self._bands))
        if last <= first:
            return None
        for background in self._usual:
            silent = self._silent(first, last, background)
            runs = np.flatnonzero(np.diff(silent, prepend=False, append=False)).reshape(-1, 2)
            early = [run for run in runs if (first + run[0]) * STEP_SECONDS < begin]
            start, stop = max(early, key=lambda run: run[1] - run[0], default=(0, 0))
            found = (first + max(start - 1, 0)) * STEP_SECONDS, min((first + stop + 1) * STEP_SECONDS, high)
            if stop > start and found[1] - found[0] >= STOP_SECONDS:
                return float(found[0]), float(found[1])
        return None

    def without_pause(self, start: float, end: float) -> tuple[float, float]:
        """Return what a word from `start` to `end` is without a long silence in it: the part before that, if any."""
        pause = self.longest_silence(start, end) if end - start > LONG_SECONDS else None
        if pause is None or pause[1] - pause[0] < LONG_SECONDS:
            return start, end
        return (start, pause[0]) if pause[0] - start >= LEAST_SECONDS else (min(pause[1], end), end)

    def edges(
        self, end: float | None, start: float | None, *, low: float, high: float, reach: float
    ) -> tuple[float, float]:
        """Find the silence between the end of one word and the start of the next, from `low` to `high` seconds.

        Returns:
            The end and the start, each where it was if no silence is near it; those of a word that is not there mean
            nothing.
        """
        steps = len(self._bands)
        given = (0.0 if end is None else end, self.seconds if start is None else start)
        is_one = end is not None and given[1] - end < SAME_SECONDS  # nothing tells where a pause begins
        first = _step(low, steps)
        last = steps if start is None else _step(min(high, start + FORWARD_SECONDS), steps)
        if last - first <= _QUIETEST_STEPS:
            return given
        around = self._total[max(0, first - _BESIDE_STEPS) : last + _BESIDE_STEPS]
        if np.percentile(around, 90) - np.sort(self._total[first:last])[_QUIETEST_STEPS - 1] <= _DEPTH:
            return given
        new_end, new_start = given
        if start is not None or is_one:
            at = _step(given[1], steps)
            for background in self._backgrounds(at - _BESIDE_STEPS, at - _NEXT_TO_STEPS, first, last):
                silent = self._silent(first, last, background)
                if start is not None:
                    new_start = _start_of_sound(silent, first, start, reach=reach)
                    new_start = start if new_start == start else max(low, min(new_start, high))
                if is_one:
                    new_end = max(low, min(new_start, _start_of_silence(silent, first, new_start)))
                if new_start - new_end >= PAUSE_SECONDS if is_one else new_start != start:
                    break
        if end is not None and not is_one:
            behind = _step(end, steps) + _NEXT_TO_STEPS + 1
            until = min(behind + _BESIDE_STEPS, steps if start is None else _step(start, steps) - _NEXT_TO_STEPS + 1)
            for background in self._backgrounds(behind, until, first, last):
                new_end = max(low, _end_of_sound(self._silent(first, last, background), first, end, reach=reach))
                if new_end != end:
                    break
        return new_end, new_start

    def _level(self, part: slice, percent: float) -> Float64[np.ndarray, " b"] | None:
        """Return the level of each band in the quiet steps of a part, without steps of digital silence; None if few."""
        bands = self._bands[part][self._sounds[part]]
        return None if len(bands) < _LEAST_STEPS else np.asarray(np.percentile(bands, percent, axis=0))

    def _backgrounds(self, begin: int, stop: int, first: int, last: int) -> Iterator[Float64[np.ndarray, " b"]]:
        """Return the usual background of the recording, and that from `begin` to `stop`, which may be louder."""
        yield from self._usual
        beside = self._background(begin, stop, first, last)
        around = self._bands[max(0, first - _BESIDE_STEPS) : last + _BESIDE_STEPS]
        if (np.percentile(around, 90, axis=0) - beside).mean() > _DEPTH:
            yield beside

    def _background(self, begin: int, stop: int, first: int, last: int) -> Float64[np.ndarray, " b"]:
        """Return the level of each band from `begin` to `stop`, or in the quietest steps of `first` to `last`."""
        found = self._level(slice(max(first, begin), max(0, stop)), _QUIET_PERCENT)
        if found is not None:
            return found
        level = np.convolve(self._bands[first:last].mean(axis=1), np.ones(_QUIETEST_STEPS), mode="valid")
        quietest = first + int(level.argmin())
        return np.asarray(self._bands[quietest : quietest + _QUIETEST_STEPS].mean(axis=0))

    def _silent(self, first: int, last: int, background: np.ndarray) -> Bool[np.ndarray, " _"]:
        """Return which steps do not rise above the background.

        Bands are compared one by one, since a weak consonant is loud in only a few of them, and hum in others.
        """
        above = np.clip(self._bands[first:last] - background - _MARGIN, 0.0, None).mean(axis=1)
        padded = np.pad(above, 1, mode="edge")
        silent = (padded[:-2] + padded[1:-1] + padded[2:]) / 3 < _SPEECH
        bounds = np.flatnonzero(np.diff(~silent, prepend=False, append=False)).reshape(-1, 2)
        for begin, stop in bounds:
            if stop - begin < _CLICK_STEPS and begin and stop < len(silent):
                silent[begin:stop] = True
        return np.asarray(silent)


# The window of a step beside speech, and its mean with its neighbors, contain some of the speech: an edge lies one step
# further inside the sound than the first silent step.


def _start_of_sound(silent: np.ndarray, first: int, start: float, *, reach: float) -> float:
    """Return where the sound begins that a word's start belongs to; the start where no silence is near before it."""
    at = min(max(round(start / STEP_SECONDS) - first, 0), len(silent) - 1)
    if silent[at]:
        following = np.flatnonzero(~silent[at:])
        found = (first + at + following[0] + 1) * STEP_SECONDS if len(following) else start
        return float(found) if found <= start + FORWARD_SECONDS else start
    before = np.flatnonzero(silent[:at])
    is_near = len(before) and at - before[-1] <= round(reach / STEP_SECONDS) + 1
    return float((first + before[-1] + 2) * STEP_SECONDS) if is_near else start


def _start_of_silence(silent: np.ndarray, first: int, start: float) -> float:
    """Return where the silence begins that ends with the start of a word; the start if there is none."""
    at = min(max(round(start / STEP_SECONDS) - first - 2, 0), len(silent) - 1)
    if not silent[at]:
        return start
    before = np.flatnonzero(~silent[:at])
    return float((first + before[-1]) * STEP_SECONDS) if len(before) else float(first * STEP_SECONDS)


def _end_of_sound(silent: np.ndarray, first: int, end: float, *, reach: float) -> float:
    """Return where the sound ends that a word's end belongs to; the end where no silence is near after it."""
    at = min(max(round(end / STEP_SECONDS) - first, 0), len(silent) - 1)
    if silent[at]:
        before = np.flatnonzero(~silent[: at + 1])
        return float((first + before[-1]) * STEP_SECONDS) if len(before) else end
    following = np.flatnonzero(silent[at:])
    is_near = len(following) and following[0] <= round(reach / STEP_SECONDS) + 1
    return float((first + at + following[0] - 1) * STEP_SECONDS) if is_near else end


def _step(seconds: float, steps: int) -> int:
    return min(max(round(seconds / STEP_SECONDS), 0), steps)


def _power(samples: np.ndarray, *, step: int, window: int) -> Float64[np.ndarray, "k f"]:
    """Return the power spectrum around the middle of each step."""
    count = -(-len(samples) // step)
    before = (window - step) // 2
    padded = np.pad(samples.astype(np.float64), (before, window + step))
    windows = np.lib.stride_tricks.sliding_window_view(padded, window)[: count * step : step]  # (k, w)
    return np.asarray(np.abs(np.fft.rfft(windows * np.hanning(window))) ** 2 / window)


def _by_band(power: Float64[np.ndarray, "k f"], *, rate: int) -> Float64[np.ndarray, "k b"]:
    """Return the mean power of each band that contains a frequency."""
    frequencies = np.linspace(0, rate / 2, power.shape[1])
    mel = np.log10(1 + frequencies / 700)
    edges = np.linspace(np.log10(1 + min(_LOWEST_HZ, rate / 8) / 700), mel[-1], _BANDS + 1)
    band = np.clip(np.searchsorted(edges, mel, side="right") - 1, -1, _BANDS - 1)
    return np.stack([power[:, band == i].mean(axis=1) for i in range(_BANDS) if (band == i).any()], axis=1)
