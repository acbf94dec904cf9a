"""Recordings that soundfile does not read (m4a, mp4, webm, mka and others), or gives up as damaged, by PyAV.

Samples are counted as they are decoded: containers state times to a millisecond or guess them, so that no seek of
theirs finds a sample.
"""

from collections.abc import Callable, Iterator
from io import BufferedIOBase
from typing import Any

import numpy as np

from ..errors import InputError, reason_of
from .audio_forward import Forward
from .audio_losses import Losses, damaged
from .damage import Damage

_BLOCK = 1.0  # seconds of samples that are kept together
_GAP = 0.1  # seconds between the times of two frames that are filled with silence; shorter ones are rounding
_BROKEN_GAP = 0.05  # the same in a file that is known to be damaged
_PAUSE = 1.0  # seconds; longer gaps are damage, shorter ones are also left by recorders that skip silence or pause
_MOST_SILENCE = 3600.0  # seconds that are filled in all
_TOLERANCE = 0.5  # seconds that a file may be shorter than it states
_ERRORS = 1000  # errors in a row after which a file is given up

# those that are told by their first bytes; not playlists and the like, which would open other files
_FORMATS = (
    "aac,ac3,eac3,aiff,amr,ape,asf,au,avi,caf,dsf,flac,flv,iff,matroska,mov,mp3,mpc,mpc8,mpeg,mpegts,ogg,tak,tta,voc,w64,wav,"
    "wv,webm,mp4,m4a,3gp"
)

_ASF_FACTS = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")  # begins the file's properties, with its size

Opener = Callable[[], BufferedIOBase]
"""Opens the file once more, at its first byte."""


class Container:
    """The first sound track of a file; a `Source`."""

    def __init__(
        self,
        opener: Opener,
        name: str,
        what: str,
        *,
        strict: bool = True,
        broken: str = "",
        is_cut: bool = False,
    ) -> None:
        """Open the file.

        Args:
            opener: Opens the file.
            name: The name of the file in messages.
            what: The type of the file, for messages.
            strict: Whether a damaged file is an error.
            broken: What is known to be wrong with it, somewhere; empty where nothing is.
            is_cut: Whether its end is known to be missing.

        Raises:
            InputError: The file has no sound track, or is damaged and `strict`, or has nothing to be decoded.
        """
        self.name = name
        self._opener, self._what, self._broken, self._is_cut = opener, what, broken, is_cut
        self._losses = Losses(name, strict=strict)
        with opener() as stream:
            self._is_short, self._missing = missing_bytes(stream)
        if strict and self._is_short:
            raise damaged(name, self._is_short)
        self._reopen()
        self.rate: int = self._track.codec_context.sample_rate or 0
        self._layout = self._track.codec_context.layout.name if self._track.codec_context.channels else "mono"
        self.seconds = self._stated()
        channels = self._track.codec_context.channels or 1
        self._nothing = np.zeros((0, channels), np.float32)
        self._begin()
        self._samples = Forward(self._restart, self._block, rate=self.rate, channels=channels)
        if not self._samples.fill() and (self._has_failed or self._broken):
            self.close()
            raise damaged(name, "no sound can be decoded")

    @property
    def damage(self) -> Damage | None:
        """What is missing of what has been read."""
        return self._losses.damage(self._samples.decoded / self.rate if self._is_over else self.seconds)

    def seek(self, position: int) -> None:
        """Go to a sample."""
        self._samples.seek(position)

    def read(self, count: int) -> np.ndarray:
        """Read the next samples; fewer only at the end."""
        return self._samples.read(count)

    def close(self) -> None:
        """Close the file."""
        self._container.close()
        self._stream.close()

    def _reopen(self) -> None:
        import av

        self._stream = self._opener()
        try:
            self._container = av.open(
                self._stream, "r", metadata_errors="replace", options={"format_whitelist": _FORMATS}
            )
        except Exception as error:  # PyAV raises its own errors, ValueError and UnicodeError
            self._stream.close()
            raise damaged(self.name, str(getattr(error, "strerror", None) or reason_of(error))) from error
        tracks = self._container.streams.audio
        if not tracks:
            self.close()
            raise InputError(f"{self.name} must have sound, but is {self._what} without a sound track instead.")
        self._track = tracks[0]
        self._zero = _start_of_film(self._container)

    def _begin(self) -> None:
        self._is_over = self._has_failed = False
        self._frames = self._decode()

    def _restart(self) -> None:
        """Begin again at the first sample."""
        self.close()
        self._reopen()
        self._begin()

    def _block(self) -> np.ndarray:
        """Decode the next block of samples; an empty one at the end."""
        parts, have = [self._nothing], 0
        while have < _BLOCK * self.rate and (piece := next(self._frames, None)) is not None:
            parts.append(piece)
            have += len(piece)
        if not have and not self._is_over:
            self._is_over = True
            self._end()
        return np.concatenate(parts)

    def _stated(self) -> float | None:
        """Return the duration that the file states, in seconds; None where it is an estimate or of the film."""
        kind = self._container.format.name
        if kind.startswith(("mov", "flac", "avi", "wav", "aiff", "w64", "au", "tta", "ape", "wv")):
            if self._track.duration is not None and self._track.time_base is not None:
                start = float((self._track.start_time or 0) * self._track.time_base)
                return float(self._track.duration * self._track.time_base) + self._lead(start)
        if kind.startswith("matroska") and len(self._container.streams) == 1 and self._container.duration:
            return float(self._container.duration) / 1_000_000  # microseconds
        return None

    def _packets(self) -> Iterator[Any]:
        """Yield the decoded frames; `_has_failed` says that something before a frame could not be decoded."""
        import av

        packets = self._container.demux(self._track)
        errors = 0
        while errors < _ERRORS:
            try:
                packet = next(packets, None)
                if packet is None:
                    return
                frames = packet.decode()
            except av.FFmpegError as error:
                errors += 1
                self._has_failed = True
                if isinstance(error, av.EOFError):
                    return
                continue
            errors = 0
            self._has_failed = self._has_failed or packet.is_corrupt
            yield from frames

    def _decode(self) -> Iterator[np.ndarray]:
        """Yield the sound as `[samples, channels]`, with silence where the times of the frames leave a gap."""
        import av

        mixers: dict[tuple[str, str, int], Any] = {}
        expected = base = 0.0  # time of the next frame, by the last one; time of the first sample
        filled, at = 0.0, 0
        for frame in self._packets():
            gap = 0.0
            if (time := frame.time) is not None:
                if not at or time < expected - _PAUSE:  # the first frame, or that of another recording
                    expected, base = time, time - at / self.rate
                    if not at and (lead := self._lead(time)):
                        expected = base = time - lead
                gap = min(time - expected, time - base - at / self.rate)
                expected = time + frame.samples / frame.sample_rate
            gap = gap if self._shortest() < gap <= _MOST_SILENCE - filled else 0.0
            if at and (self._has_failed and (gap or not self._is_short) or gap > self._longest_pause()):
                reason = self._broken or "a part of it cannot be decoded"
                self._losses.gap(at / self.rate, at / self.rate + gap, reason)
            self._has_failed = False
            filled += gap
            silence = round(gap * self.rate)
            for start in range(0, silence, 1 << 16):
                yield np.zeros((min(1 << 16, silence - start), self._nothing.shape[1]), np.float32)
            at += silence
            key = (frame.format.name, frame.layout.name, frame.sample_rate)
            if key not in mixers:
                # packed: PyAV reads beyond the planes of 8 and more channels, which ends the process
                mixers[key] = av.AudioResampler(format="flt", layout=self._layout, rate=self.rate)
            frame.pts = None
            for even in mixers[key].resample(frame):
                samples = even.to_ndarray().reshape(even.samples, -1)
                at += len(samples)
                yield samples

    def _lead(self, start: float) -> float:
        """Return the seconds of silence before a sound track that starts at this time in a film."""
        lead = 0.0 if self._zero is None else start - self._zero
        return lead if _GAP < lead <= _MOST_SILENCE else 0.0

    def _shortest(self) -> float:
        """Return the seconds above which a gap is filled."""
        if self._container.format.name == "flac":  # its times are exact
            return 0.0
        return _BROKEN_GAP if self._broken else 0.002 if self._has_failed else _GAP

    def _longest_pause(self) -> float:
        """Return the seconds above which a gap is damage, although nothing failed."""
        is_recorder = self._container.format.name.startswith("mov") or self._track.codec_context.name.endswith("opus")
        return _PAUSE if is_recorder and not self._broken else 0.0

    def _end(self) -> None:
        """Note whether the recording ends too early."""
        end = self._samples.decoded / self.rate
        tolerance = 0.001 if self._container.format.name == "flac" else _TOLERANCE
        if self.seconds is not None and end < self.seconds - tolerance:
            self._losses.cut(end, self.seconds, f"it ends after {end:.3f} of {self.seconds:.3f} seconds")
        elif self._is_cut:
            self._losses.cut(end, None, self._broken or "its last page is missing")
        elif self.seconds is None and (self._has_failed or self._is_short):
            stated = None if self._missing is None or not end else end / (1 - self._missing)
            self._losses.cut(end, stated, self._is_short or "its end cannot be decoded")
        if (reason := self._broken or self._is_short) and self._losses.damage(end) is None:
            self._losses.somewhere(reason)


def _start_of_film(container: Any) -> float | None:
    """Return the earliest start of the streams of a film, in seconds; None for a file of sound, also with a cover."""
    from av.stream import Disposition

    streams = [one for one in container.streams if not one.disposition & Disposition.attached_pic]
    if not any(one.type == "video" for one in streams):
        return None
    starts = [one.start_time * one.time_base for one in streams if one.start_time is not None and one.time_base]
    return float(min(starts)) if starts else None


def missing_bytes(stream: BufferedIOBase) -> tuple[str, float | None]:
    """Return what an MP4, Matroska, ASF or CAF file lacks, by the sizes that its parts state; empty where it is whole.

    Args:
        stream: The file.

    Returns:
        What is wrong, and the share of the sound that is missing; None where the bytes do not say it.
    """
    share = None
    there = stream.seek(0, 2)
    stream.seek(0)
    head = stream.read(64)
    at = 0
    if head[:4] == b"\x1aE\xdf\xa3":
        for _ in range(2):  # the header, and the segment with everything
            stream.seek(at + 4)
            first = stream.read(8)
            if not first or not first[0]:
                return "", None
            width = 9 - first[0].bit_length()
            size = int.from_bytes(first[:width], "big") & ((1 << 7 * width) - 1)
            if size == (1 << 7 * width) - 1:  # not stated
                return "", None
            at += 4 + width + size
    elif head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        for _ in range(100_000):
            stream.seek(at)
            box = stream.read(16)
            if len(box) < 8:
                break
            size = int.from_bytes(box[:4], "big")
            if size == 1:
                size = int.from_bytes(box[8:16], "big")
            if size < 8:  # to the end of the file, or invalid
                return "", None
            at += size
    elif head[:4] == b"caff":
        at = 8
        for _ in range(100_000):
            stream.seek(at)
            chunk = stream.read(12)
            if len(chunk) < 12 or chunk[4] & 0x80:  # -1: to the end of the file
                break
            size = int.from_bytes(chunk[4:], "big")
            if chunk[:4] == b"data" and size > there - at - 12:
                share = 1 - (there - at - 12) / size
            at += 12 + size
    elif head.startswith(b"0&\xb2u"):
        stream.seek(0)
        place = (head := stream.read(1 << 16)).find(_ASF_FACTS)
        if place >= 0:
            at = int.from_bytes(head[place + 40 : place + 48], "little")
    return (f"{there} of {at} bytes are there", share) if at > there else ("", None)
