"""Voice activity from loudness alone: whether samples are silent, and chunks of a recording cut at its pauses.

Notation: t samples, n frames of 10 ms.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float64

from ...inputs.audio import Recording
from .cutting import SILENCE_DB, is_silent
from .pieces import Chunk

_FRAMES = 100  # frames a second
_SMOOTH = 10  # frames over which loudness is averaged: shorter gaps occur within words
_QUIET = 30  # frames that must be quiet together where a chunk without a long pause is cut
_LONG = 200  # frames of a pause that no chunk extends over
_MARGIN = 30  # frames of a long pause that stay with the speech at each of its ends
_ABOVE_FLOOR, _BELOW_SPEECH = 10.0, 20.0  # dB: a pause is at most so far above the floor, and so far below speech


def cut_at_pauses(recording: Recording, *, longest: float, offset: float = 0.0) -> Iterator[Chunk]:
    """Cut a recording into chunks, in order; what is in no chunk is silence or the middle of a long pause.

    A chunk ends before a pause of two seconds or more, or, where it would become too long, at the quietest moment of
    its later half. No more than a chunk and a block of the recording are in memory.

    Args:
        recording: The recording.
        longest: Seconds that a chunk may have.
        offset: Where the recording begins, in seconds of the one that it is a part of, whose times the chunks have.

    Raises:
        InputError: The recording is damaged.
    """
    rate = recording.rate
    most = round(longest * rate)
    blocks = recording.blocks(min(longest, 30.0))
    buffer, start, is_over = torch.zeros(0), 0, False  # samples, where they begin, whether the recording ends with them
    while True:
        while not is_over and len(buffer) <= most:
            block = next(blocks, None)
            is_over = block is None
            buffer = buffer if block is None else torch.cat([buffer, block])
        if not len(buffer):
            return
        window = buffer[:most]
        cut = _next_cut(window.numpy(), rate, to_the_end=len(buffer) <= most)
        if not is_silent(window[: cut.end]):
            yield Chunk.whole(window[: cut.end].clone(), start=offset + start / rate, rate=rate)
        buffer, start = buffer[cut.resume :], start + cut.resume


class _Cut(NamedTuple):
    """Indices of samples."""

    end: int  # of the chunk that begins with the first sample; 0 where there is none
    resume: int  # where the search for the next chunk begins; above 0


def _next_cut(samples: np.ndarray, rate: int, *, to_the_end: bool) -> _Cut:
    """Find the next chunk.

    Args:
        samples: (t,) from the last cut on; as many as a chunk may have, or fewer at the end of the recording.
        rate: Sampling rate in Hz.
        to_the_end: Whether the recording ends with these samples.
    """
    energy = _energy(samples, rate)
    is_pause = _pauses(energy)
    bounds = np.flatnonzero(np.diff(is_pause, prepend=False, append=False)).reshape(-1, 2)
    for first, last in bounds.tolist():
        if last - first < _LONG:
            continue
        is_last = last == len(is_pause) and to_the_end
        return _Cut(
            _sample(first + _MARGIN, rate) if first else 0, len(samples) if is_last else _sample(last - _MARGIN, rate)
        )
    if to_the_end:
        return _Cut(len(samples), len(samples))
    together = np.convolve(energy, np.ones(_QUIET), mode="same")
    half = len(energy) // 2
    later = together[half : len(energy) - _QUIET // 2]
    quietest = half + len(later) - 1 - int(later[::-1].argmin()) if len(later) else len(energy) - 1
    cut = max(1, _sample(quietest, rate))
    return _Cut(cut, cut)


def _energy(samples: np.ndarray, rate: int) -> Float64[np.ndarray, " n"]:
    """Return the mean square of the samples (t,) of each frame."""
    starts = np.arange(0, -(-len(samples) * _FRAMES // rate)) * rate // _FRAMES
    sizes = np.diff(starts, append=len(samples))
    return np.asarray(np.add.reduceat(samples.astype(np.float64) ** 2, starts) / sizes)


def _pauses(energy: Float64[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """Return which frames belong to a pause: their level is near the quietest and far below the loudest frames."""
    smooth = np.convolve(energy, np.ones(min(_SMOOTH, len(energy))) / _SMOOTH, mode="same")
    level = 10 * np.log10(smooth + 1e-12)
    floor, speech = np.percentile(level, (10, 95))
    threshold = max(SILENCE_DB, min(floor + _ABOVE_FLOOR, speech - _BELOW_SPEECH))
    return np.asarray(level < threshold)


def _sample(frame: int, rate: int) -> int:
    """Return the index of the first sample of a frame."""
    return frame * rate // _FRAMES
