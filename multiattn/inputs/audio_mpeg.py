"""Recordings in mp3 and mp2: the frames are found by `audio_mpeg_frames`, and decoded by PyAV one after the other.

ffmpeg's decoder is used without its demuxer, so that each sample has one place: what is read after a seek equals what
is read from the start, and where frames are damaged, silence of their length keeps the later times right.
"""

from bisect import bisect_right
from collections.abc import Iterator
from io import BufferedIOBase
from typing import Any

import numpy as np

from .audio_losses import Losses
from .audio_mpeg_frames import Frame, Frames, frame_data
from .damage import Damage

_BEFORE = 30  # frames decoded before the target of a seek: a frame may use bits of those before it
_UNSURE = 12  # frames at the start of a captured stream, for the same reason


class Mpeg:
    """An MPEG audio stream; a `Source`."""

    def __init__(self, stream: BufferedIOBase, frames: Frames, name: str, *, strict: bool) -> None:
        """Set the frames.

        Args:
            stream: The file, which is closed with this.
            frames: Its frames.
            name: The name of the file in messages.
            strict: Whether a damaged file is an error.

        Raises:
            InputError: The file is damaged, and `strict`.
        """
        self.name = name
        self._stream, self._frames, self._runs = stream, frames, frames.runs
        self._losses = Losses(name, strict=strict)
        seconds: dict[int, float] = {}
        for run in self._runs:
            seconds[run.frame.rate] = seconds.get(run.frame.rate, 0.0) + run.count * run.frame.samples / run.frame.rate
        self.rate = max(seconds, key=lambda rate: seconds[rate])
        self._channels = max(run.frame.channels for run in self._runs)
        self._is_even = len(seconds) == 1
        self._lay_out()
        self.seconds: float | None = self._total / self.rate
        self._pieces: Iterator[np.ndarray] = iter(())
        self._held = np.zeros((0, self._channels), np.float32)
        self._position = -1  # index of the next sample; -1: nothing is open yet

    @property
    def damage(self) -> Damage | None:
        """What is missing of what has been read."""
        return self._losses.damage(self.seconds)

    def seek(self, position: int) -> None:
        """Go to a sample."""
        position = min(position, self._total)
        near = self._position + self.rate if self._is_even else position
        if not 0 <= self._position <= position <= near:
            self._open(position)
        while self._position < position and len(self.read(min(position - self._position, 1 << 18))):
            pass

    def read(self, count: int) -> np.ndarray:
        """Read the next samples; fewer only at the end."""
        if self._position < 0:
            self._open(0)
        pieces, have = [self._held], len(self._held)
        while have < count and (piece := next(self._pieces, None)) is not None:
            pieces.append(piece)
            have += len(piece)
        joined = np.concatenate(pieces)
        samples, self._held = joined[:count], joined[count:]
        self._position += len(samples)
        return samples

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def _lay_out(self) -> None:
        """Place the runs on the clock of the samples, and find what is cut away and what is missing.

        A place in `_starts` counts all decoded samples, with those that `_cuts` leaves out.
        """
        frames, tag = self._frames, self._frames.tag
        self._starts: list[int] = []  # where each run begins
        self._silent: list[int] = []  # samples of silence before each run
        self._cuts: list[tuple[int, int]] = []
        at, num_frames = 0, 0
        for run in self._runs:
            lost = round(run.lost / frames.mean)
            silent = self._scaled(lost * run.frame.samples, run.frame)
            self._silent.append(silent)
            num_frames += lost
            at += silent
            self._starts.append(at)
            # as ffmpeg does it: the padding is known to be the first file's only where the second is like it
            if tag and frames.is_joined and self._is_even and run.first < tag.frames <= run.first + run.count:
                end = at + self._scaled((tag.frames - run.first) * run.frame.samples, run.frame)
                self._cuts.append((end - tag.padding, end))
            at += self._scaled(run.count * run.frame.samples, run.frame)
            num_frames += run.count
        if tag and tag.delay:
            self._cuts.insert(0, (0, min(at, tag.delay)))
        if tag and tag.frames == num_frames and tag.padding:
            self._cuts.append((max(0, at - tag.padding), at))
        self._end = at
        self._total = max(0, at - sum(end - start for start, end in self._cuts))
        for run, start, silent in zip(self._runs, self._starts, self._silent, strict=True):
            if run.lost and silent:
                first, last = (self._heard(place) / self.rate for place in (start - silent, start))
                self._losses.gap(first, last, f"{run.lost} bytes are no sound")
        if tag and tag.frames:
            missing = tag.frames - num_frames
        else:
            missing = int((tag.size if tag else 0) / frames.mean) - num_frames
        # a header that states too much is wrong, unless the file also ends inside a frame, or with something else
        if tag and missing > 1 and (frames.is_cut or frames.tail > 2 * frames.mean):
            frame = self._runs[0].frame
            ends, stated = self._total / self.rate, self._total / self.rate + missing * frame.samples / frame.rate
            self._losses.cut(ends, stated, f"it ends after {ends:.3f} of {stated:.3f} seconds")

    def _scaled(self, samples: int, frame: Frame) -> int:
        """Return samples of a frame's rate as samples of the recording's."""
        return round(samples * self.rate / frame.rate)

    def _heard(self, place: int) -> int:
        """Return the index, among the samples that are not cut away, of a place."""
        return place - sum(min(place, end) - start for start, end in self._cuts if start < place)

    def _place(self, position: int) -> int:
        """Return the place of a sample; the inverse of `_heard`."""
        for start, end in self._cuts:
            if position >= start:
                position += end - start
        return position

    def _open(self, position: int) -> None:
        """Begin to decode, so that the next sample is the one at `position`; where rates change, the first of all."""
        number = first = at = wanted = 0
        if self._is_even:
            wanted = self._place(position)
            number = max(0, bisect_right(self._starts, wanted) - 1)
            run = self._runs[number]
            index = run.first + min(run.count, max(0, wanted - self._starts[number]) // run.frame.samples)
            first = max(0, index - _BEFORE)
            number = bisect_right([run.first for run in self._runs], first) - 1
            run = self._runs[number]
            at = self._starts[number] + (first - run.first) * run.frame.samples
            at -= self._silent[number] if first == run.first else 0
        self._position = self._heard(wanted)
        self._held = np.zeros((0, self._channels), np.float32)
        self._pieces = self._decoded(number, first, at, wanted)

    def _decoded(self, number: int, first: int, at: int, wanted: int) -> Iterator[np.ndarray]:
        """Yield samples `[samples, channels]` from a place on.

        Args:
            number: The index of the run to begin with.
            first: The index of the frame to begin with.
            at: Its place.
            wanted: The place of the first sample to yield.
        """
        for place, piece in self._raw(number, first, at):
            # what is left of the piece after the cuts, in one part or more
            edges = [(-1, wanted), *self._cuts]
            begin, end = place, place + len(piece)
            for start, stop in edges:
                if stop <= begin or start >= end:
                    continue
                if start > begin:
                    yield piece[begin - place : start - place]
                begin = min(stop, end)
            if begin < end:
                yield piece[begin - place :]

    def _raw(self, number: int, first: int, at: int) -> Iterator[tuple[int, np.ndarray]]:
        """Yield everything that is decoded, with its place."""
        import av

        decoder = _decoder()
        data = frame_data(self._stream, self._frames.places, first)
        index = first
        for run, start, silent in list(zip(self._runs, self._starts, self._silent, strict=True))[number:]:
            if index == run.first and silent:
                yield at, np.zeros((silent, self._channels), np.float32)
                at += silent
            size, converter = run.frame.samples, self._converter(run.frame)
            while index < run.first + run.count:
                piece = None
                try:
                    for frame in decoder.decode(av.Packet(next(data))):
                        piece = frame
                except (av.FFmpegError, ValueError):
                    self._bad(index, at, size, run.frame)
                for part in _converted(self._even(piece, size), run.frame.rate, converter):
                    yield at, part
                    at += len(part)
                index += 1
            end = start + self._scaled(run.count * size, run.frame)
            if converter is not None and at < end:  # what the converter holds back
                rest = [even.to_ndarray().T for even in converter.resample(None)]
                rest = [*rest, np.zeros((end - at, self._channels), np.float32)]
                yield at, np.concatenate(rest)[: end - at]
            at = end

    def _bad(self, index: int, at: int, size: int, frame: Frame) -> None:
        """Note a frame that is not decoded; silence takes its place."""
        is_captured = self._frames.tag is None and index < _UNSURE
        if not is_captured and index < len(self._frames.places) - 1:
            start = self._heard(at) / self.rate
            self._losses.gap(start, start + size / frame.rate, "frames cannot be decoded")

    def _even(self, piece: Any, size: int) -> np.ndarray:
        """Return a frame as `[size, channels]`; silence for None."""
        if piece is None:
            return np.zeros((size, self._channels), np.float32)
        samples: np.ndarray = piece.to_ndarray().T
        if samples.shape[1] != self._channels:  # mono among stereo
            samples = np.repeat(samples[:, :1], self._channels, axis=1)
        if len(samples) < size:
            samples = np.pad(samples, ((0, size - len(samples)), (0, 0)))
        return samples[:size]

    def _converter(self, frame: Frame) -> Any:
        """Return a resampler for frames of another rate; None for the recording's own."""
        import av

        return None if frame.rate == self.rate else av.AudioResampler(format="fltp", rate=self.rate)


def _converted(samples: np.ndarray, rate: int, converter: Any) -> Iterator[np.ndarray]:
    """Yield samples `[samples, channels]` at the rate of a converter; as they are where there is none."""
    import av

    if converter is None:
        yield samples
        return
    layout = "stereo" if samples.shape[1] == 2 else "mono"
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.T), format="fltp", layout=layout)
    frame.sample_rate = rate
    for even in converter.resample(frame):
        yield even.to_ndarray().T


def _decoder() -> Any:
    import av

    decoder = av.CodecContext.create("mp3float", "r")
    decoder.thread_count = 1
    return decoder
