"""Where a recording may be cut: at its pauses, told from its loudness alone.

Dimensions: t = samples, n = frames of 10 ms.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Float64
from torch import Tensor

from ...inputs.audio import Recording

SILENCE_DB = -70.0
"""Samples that stay below this level (dB; 0 is full scale) are silence: nobody speaks, whatever a model writes."""

_FRAMES = 100  # a second
_SMOOTH = 10  # frames whose loudness is averaged: less may be a gap within a word
_QUIET = 30  # frames that are to be quiet together where a cut has to be made
_LONG = 200  # frames of a pause that no piece reaches over
_REST = 30  # frames of a long pause that stay with the speech at each of its ends
_ABOVE_FLOOR, _BELOW_SPEECH = 10.0, 20.0  # dB: no louder than the first, and quieter than the second, is a pause


class Piece(NamedTuple):
    """A part of a recording that a model takes at once."""

    start: float
    """Seconds from the recording's start."""

    samples: Float32[Tensor, " t"]


def is_silent(samples: Float[Tensor, " t"]) -> bool:
    """Whether there is nothing to hear."""
    return not len(samples) or float(samples.abs().max()) < 10 ** (SILENCE_DB / 20)


def cut_at_pauses(recording: Recording, *, longest: float) -> Iterator[Piece]:
    """The pieces of a recording, in order; what is in none of them is silence, or amid a pause of two seconds or more.

    A piece ends before such a pause, or, where it would become too long, at the quietest place in its later half. No
    more than a piece and a block of the recording are in memory.

    Args:
        recording: Where they are from.
        longest: Seconds that a piece may have.

    Raises:
        InputError: The recording is damaged.
    """
    rate = recording.rate
    most = round(longest * rate)
    blocks = recording.blocks(min(longest, 30.0))
    held, start, is_over = torch.zeros(0), 0, False  # samples, where they begin, whether they go on to the end
    while True:
        while not is_over and len(held) <= most:
            block = next(blocks, None)
            is_over = block is None
            held = held if block is None else torch.cat([held, block])
        if not len(held):
            return
        part = held[:most]
        step = _next_step(part.numpy(), rate, to_the_end=len(held) <= most)
        piece = part[: step.end]
        if not is_silent(piece):
            yield Piece(start / rate, piece.clone())
        held, start = held[step.go_on :], start + step.go_on


class _Step(NamedTuple):
    """What is done with the samples at hand."""

    end: int  # of the piece that begins with the first of them; 0 where there is none
    go_on: int  # where to look next: above 0


def _next_step(samples: np.ndarray, rate: int, *, to_the_end: bool) -> _Step:
    """The next piece of samples (t,).

    Args:
        samples: From where the last piece was cut off; as many as a piece may have, or fewer at the end.
        rate: Of them (Hz).
        to_the_end: Whether the recording ends with them.
    """
    energy = _energy(samples, rate)
    is_pause = _pauses(energy)
    bounds = np.flatnonzero(np.diff(is_pause, prepend=False, append=False)).reshape(-1, 2)
    for first, last in bounds.tolist():
        ends = last == len(is_pause)
        if last - first < _LONG:
            continue
        go_on = len(samples) if ends and to_the_end else _at(last - _REST, rate)
        return _Step(_at(first + _REST, rate) if first else 0, go_on)
    if to_the_end:
        return _Step(len(samples), len(samples))
    together = np.convolve(energy, np.ones(_QUIET), mode="same")
    half = len(energy) // 2
    later = together[half : len(energy) - _QUIET // 2]
    place = half + len(later) - 1 - int(later[::-1].argmin()) if len(later) else len(energy) - 1
    cut = max(1, _at(place, rate))
    return _Step(cut, cut)


def _energy(samples: np.ndarray, rate: int) -> Float64[np.ndarray, " n"]:
    """The mean square of the samples (t,) of each frame."""
    starts = np.arange(0, -(-len(samples) * _FRAMES // rate)) * rate // _FRAMES
    sizes = np.diff(starts, append=len(samples))
    sums: np.ndarray = np.add.reduceat(samples.astype(np.float64) ** 2, starts) / sizes
    return sums


def _pauses(energy: Float64[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """Which frames are pause: near the floor of what is there, and far below its speech."""
    smooth = np.convolve(energy, np.ones(min(_SMOOTH, len(energy))) / _SMOOTH, mode="same")
    level = 10 * np.log10(smooth + 1e-12)
    floor, speech = np.percentile(level, (10, 95))
    threshold = max(SILENCE_DB, min(floor + _ABOVE_FLOOR, speech - _BELOW_SPEECH))
    found: np.ndarray = level < threshold
    return found


def _at(frame: int, rate: int) -> int:
    """The first sample of a frame."""
    return frame * rate // _FRAMES
