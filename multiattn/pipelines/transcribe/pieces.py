"""Chunks of a recording for one window of the model: pieces with speech, between which long pauses are left out.

Notation: t samples.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor


class Piece(NamedTuple):
    """A part of a recording that is in a chunk without a gap. Times are in seconds."""

    at: float
    """Where it begins in the chunk."""

    start: float
    """Where it begins in the recording."""

    seconds: float

    @property
    def end(self) -> float:
        """Where it ends in the recording."""
        return self.start + self.seconds


@dataclass(frozen=True, eq=False)
class Chunk:
    """What one window of the model reads of a recording."""

    samples: Float32[Tensor, " t"]
    rate: int
    """Samples a second."""

    pieces: tuple[Piece, ...]
    """In order; at least one."""

    @classmethod
    def whole(cls, samples: Float32[Tensor, " t"], *, start: float, rate: int) -> "Chunk":
        """Return a chunk of one piece, which begins at `start` (s)."""
        return cls(samples, rate, (Piece(0.0, start, len(samples) / rate),))

    @classmethod
    def joined(cls, parts: Sequence[tuple[float, Float32[Tensor, " _"]]], *, rate: int) -> "Chunk":
        """Return a chunk of several parts of a recording: the start (s) and the samples of each."""
        pieces, at = [], 0
        for start, samples in parts:
            pieces.append(Piece(at / rate, start, len(samples) / rate))
            at += len(samples)
        return cls(torch.cat([samples for _, samples in parts]), rate, tuple(pieces))

    @property
    def seconds(self) -> float:
        """Seconds that the window has of it."""
        return len(self.samples) / self.rate

    @property
    def start(self) -> float:
        """Where it begins in the recording, in seconds."""
        return self.pieces[0].start

    def between(self, start: float, end: float) -> "Chunk":
        """Return the part from `start` to `end`, in seconds from the start of this chunk; it must not be empty."""
        parts = []
        for piece in self.pieces:
            first, last = max(start, piece.at), min(end, piece.at + piece.seconds)
            samples = self.samples[round(first * self.rate) : round(last * self.rate)]
            if last > first and len(samples):
                parts.append((piece.start + first - piece.at, samples))
        return Chunk.joined(parts, rate=self.rate)


def span_in_recording(pieces: Sequence[Piece], start: float, end: float) -> tuple[float, float]:
    """Return the start and the end (s) in the recording of what lies from `start` to `end` (s) in a chunk.

    It begins in the last piece that begins no later, and ends in the first that ends no earlier.
    """
    first = next((piece for piece in reversed(pieces) if piece.at <= start), pieces[0])
    last = next((piece for piece in pieces if end <= piece.at + piece.seconds), pieces[-1])
    return first.start + start - first.at, last.start + end - last.at


def word_in_recording(pieces: Sequence[Piece], start: float, end: float) -> tuple[float, float]:
    """Return the start and the end (s) in the recording of a word of a chunk, which lies in one piece.

    One that lies over a pause that was left out is in the piece with most of it.
    """
    if len(pieces) == 1:
        return pieces[0].start + start - pieces[0].at, pieces[0].start + end - pieces[0].at

    def shared(piece: Piece) -> float:
        return min(end, piece.at + piece.seconds) - max(start, piece.at)

    own = max(pieces, key=shared)
    last = own.at + own.seconds
    return own.start + min(max(start, own.at), last) - own.at, own.start + min(max(end, own.at), last) - own.at


def with_pauses(
    values: Float[np.ndarray, "*rest frames"], pieces: Sequence[Piece], *, step: float
) -> Float[np.ndarray, "*rest recorded"]:
    """Return values over the frames of a chunk as values over the time of the recording: 0 in what was left out.

    Args:
        values: One for each frame.
        pieces: Those of the chunk.
        step: Seconds from one frame to the next.
    """
    if len(pieces) == 1:
        return values
    frames = values.shape[-1]
    centers = (np.arange(frames) + 0.5) * step
    starts = np.array([piece.at for piece in pieces])
    own = np.maximum(np.searchsorted(starts, centers, side="right") - 1, 0)
    shift = np.array([piece.start - piece.at for piece in pieces]) - pieces[0].start
    indices = np.arange(frames) + np.rint(shift[own] / step).astype(int)
    found = np.zeros((*values.shape[:-1], int(indices[-1]) + 1), values.dtype)
    found[..., indices] = values
    return found
