"""Recordings in containers that soundfile does not read (m4a, mp4, webm, mka), by PyAV: the extra `av`."""

import io
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..errors import InputError

_BEFORE = 1.0  # seconds that are decoded before a place that was gone to: a codec needs some packets to settle


class Container:
    """The first sound track of a file."""

    def __init__(self, file: str | io.BytesIO, name: str, what: str) -> None:
        """Open it.

        Raises:
            InputError: There is no sound in it, or it is damaged.
        """
        import av

        self.name = name
        try:
            self._container = av.open(file, "r")
        except (av.FFmpegError, ValueError) as error:
            raise _damaged(name, error) from error
        if not self._container.streams.audio:
            self._container.close()
            raise InputError(f"{name} must have sound, but is {what} without a sound track instead.")
        self._track = self._container.streams.audio[0]
        self.rate: int = self._track.codec_context.sample_rate
        self.seconds = self._seconds()
        self._frames = self._decoded()
        self._held = np.zeros((0, 1), np.float32)  # decoded, from `_place` on
        self._place = 0  # the next sample
        self._first: float | None = None  # seconds on the file's own clock at sample 0
        self._ended = False

    def _seconds(self) -> float | None:
        """Seconds that the file states."""
        if self._track.duration is not None and self._track.time_base is not None:
            return float(self._track.duration * self._track.time_base)
        if self._container.duration is not None:
            return float(self._container.duration) / 1_000_000  # microseconds
        return None

    def seek(self, place: int) -> None:
        """Go to a sample: forwards by decoding, backwards by the container's own marks."""
        if place < self._place:
            self._rewind(place)
        while self._place < place:
            if len(self.read(min(place - self._place, 1 << 18))) == 0:
                return

    def read(self, count: int) -> np.ndarray:
        """The next samples, fewer only at the end."""
        pieces = [self._held]
        have = len(self._held)
        while have < count:
            piece = next(self._frames, None)
            if piece is None:
                break
            pieces.append(piece)
            have += len(piece)
        pieces = [piece for piece in pieces if len(piece)]
        together = np.concatenate(pieces) if pieces else np.zeros((0, 1), np.float32)
        found, self._held = together[:count], together[count:]
        self._place += len(found)
        return found

    def close(self) -> None:
        """Let go of the file."""
        self._container.close()

    def _rewind(self, place: int) -> None:
        """Go to a sample that is past, or to one before it."""
        import av

        first = self._first or 0.0
        wanted = max(0.0, place / self.rate - _BEFORE) + first
        try:
            self._container.seek(int(wanted * 1_000_000), backward=True)
        except av.FFmpegError as error:
            raise _damaged(self.name, error) from error
        self._frames = self._decoded()
        self._held, self._place = np.zeros((0, 1), np.float32), 0
        start = self._next_time()
        if start is not None:
            self._place = round((start - first) * self.rate)
        if self._place < 0:  # what a codec puts before the beginning
            self._held, self._place = self._held[-self._place :], 0

    def _next_time(self) -> float | None:
        """Decode one frame, keep it, and say when it starts."""
        piece = next(self._frames, None)
        if piece is None:
            return None
        self._held = piece
        return self._time

    def _decoded(self) -> Iterator[np.ndarray]:
        """The frames of the track as `[samples, channels]`."""
        import av

        mixer = av.AudioResampler(format="fltp")
        self._time: float | None = None
        try:
            for frame in self._container.decode(self._track):
                self._time = frame.time
                if self._first is None:
                    self._first = frame.time or 0.0
                for even in mixer.resample(frame):
                    yield even.to_ndarray().T
        except av.FFmpegError as error:
            raise _damaged(self.name, error) from error


def _damaged(name: str, error: Any) -> InputError:
    reason = getattr(error, "strerror", None) or error  # a plain ValueError has none
    return InputError(
        f"{name} must be a whole recording, but is damaged or cut off instead ({reason}). Fetch or export it again."
    )
