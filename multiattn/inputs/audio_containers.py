"""Recordings in containers that soundfile does not read (m4a, mp4, webm, mka), by PyAV: the extra `av`."""

from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

from ..errors import InputError

_BEFORE = 1.0  # seconds that are decoded before the target of a seek: a codec needs some packets to settle


class Container:
    """The first sound track of a file; a `Source`."""

    def __init__(self, file: str | BinaryIO, name: str, what: str) -> None:
        """Open the file.

        Args:
            file: The path or the bytes.
            name: The name of the file in messages.
            what: The type of the file, for messages.

        Raises:
            InputError: The file has no sound track, or is damaged.
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
        self._held = np.zeros((0, 1), np.float32)  # decoded samples from `_position` on
        self._position = 0  # index of the next sample
        self._first: float | None = None  # time of sample 0 on the file's own clock, in seconds

    def _seconds(self) -> float | None:
        """Return the duration that the file states, in seconds."""
        if self._track.duration is not None and self._track.time_base is not None:
            return float(self._track.duration * self._track.time_base)
        if self._container.duration is not None:
            return float(self._container.duration) / 1_000_000  # microseconds
        return None

    def seek(self, position: int) -> None:
        """Go to a sample: forwards by decoding, backwards by the container's index."""
        if position < self._position:
            self._rewind(position)
        while self._position < position:
            if len(self.read(min(position - self._position, 1 << 18))) == 0:
                return

    def read(self, count: int) -> np.ndarray:
        """Read the next samples; fewer only at the end."""
        pieces = [self._held]
        have = len(self._held)
        while have < count and (piece := next(self._frames, None)) is not None:
            pieces.append(piece)
            have += len(piece)
        pieces = [piece for piece in pieces if len(piece)]
        joined = np.concatenate(pieces) if pieces else np.zeros((0, 1), np.float32)
        samples, self._held = joined[:count], joined[count:]
        self._position += len(samples)
        return samples

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def _rewind(self, position: int) -> None:
        """Go back to a sample, or to one before it."""
        import av

        first = self._first or 0.0
        wanted = max(0.0, position / self.rate - _BEFORE) + first
        try:
            self._container.seek(int(wanted * 1_000_000), backward=True)
        except av.FFmpegError as error:
            raise _damaged(self.name, error) from error
        self._frames = self._decoded()
        self._held, self._position = np.zeros((0, 1), np.float32), 0
        if (piece := next(self._frames, None)) is not None:
            self._held = piece
            if self._time is not None:  # of this frame
                self._position = round((self._time - first) * self.rate)
        if self._position < 0:  # samples that a codec puts before the beginning
            self._held, self._position = self._held[-self._position :], 0

    def _decoded(self) -> Iterator[np.ndarray]:
        """Yield the frames of the track as `[samples, channels]`."""
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
    return damaged(name, str(getattr(error, "strerror", None) or error))  # a plain ValueError has no `strerror`


def damaged(name: str, reason: str) -> InputError:
    """Return the error for a damaged recording."""
    return InputError(
        f"{name} must be a whole recording, but is damaged or cut off instead ({reason.strip().rstrip('.')}). "
        "Fetch or export it again."
    )
