"""The sources of recordings, told apart by their first bytes, and arrays.

wav, flac, ogg and their like are read by soundfile, MPEG audio by `audio_mpeg`, and everything else, such as m4a and
webm, by `audio_containers`. All return float samples from -1 to 1 as `[samples, channels]`, at their own sampling rate.
"""

import io
import math
import weakref
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from ..errors import InputError, WrongKindError, reading
from .audio_containers import Container, Opener
from .audio_losses import damaged
from .audio_mpeg import Mpeg
from .audio_mpeg_frames import after_tags, find_frames, frame_of
from .audio_ogg import check_pages
from .audio_soundfile import NotSound, SoundFile
from .damage import Damage
from .fetch import stream_of
from .files import RECORDINGS, head_text, looks_like, require_file
from .streams import NamedStream, again

RECORDING = "a recording (wav, flac, ogg, opus, mp3, aiff)"

_HEAD = 4096  # bytes that tell the type of a file
_MOST_CHANNELS = 64  # with more, time and channels are probably exchanged
_LOUDEST = 64.0  # largest float, where 1 is full scale; larger ones are probably integers that were not divided

# Files that PyAV reads, and files that are passed by mistake: offset, bytes, name.
_CONTAINERS = (
    (4, b"ftyp", "an MP4 or M4A file"),
    (4, b"moov", "a QuickTime film"),
    (0, b"\x1aE\xdf\xa3", "a WebM or Matroska file"),
    (0, b"0&\xb2u\x8ef\xcf\x11", "a Windows Media file"),
    (0, b"\xff\xf1", "an AAC stream"),
    (0, b"\xff\xf9", "an AAC stream"),
    (0, b"\x00\x00\x01\xba", "an MPEG film"),
    (8, b"AVI ", "an AVI film"),
)
_LOOKALIKES = (
    (0, b"%PDF", "a PDF document"),
    (0, b"\x89PNG", "a picture"),
    (0, b"\xff\xd8\xff", "a picture"),
    (0, b"MThd", "a MIDI file (notes without sound)"),
    (0, b"version https://git-lfs", "a pointer of Git LFS (run `git lfs pull`)"),
)

_TEXT_FIRST = b"NIST_1A"  # recordings that begin with text


@runtime_checkable
class Source(Protocol):
    """Samples that can be read from any position on."""

    name: str
    """The name of the source in messages."""
    rate: int
    """Sampling rate, in Hz."""
    seconds: float | None
    """Duration, as the file states it; None where it does not."""

    @property
    def damage(self) -> Damage | None:
        """What is missing of what has been read so far; None where nothing is."""

    def seek(self, position: int) -> None:
        """Go to a sample; beyond the end, `read` returns none."""

    def read(self, count: int) -> np.ndarray:
        """Read the next samples, float32 `[samples, channels]`; fewer only at the end.

        Raises:
            InputError: The file is damaged.
        """

    def close(self) -> None:
        """Close the file."""


def open_path(path: str | Path | NamedStream, *, strict: bool = True) -> Source:
    """Open a file, or what is at a web address or on standard input.

    Args:
        path: The file.
        strict: Whether a damaged file is an error; else what can be read is, and `damage` says what is missing.

    Raises:
        InputError: The file does not exist, or is no recording.
    """
    if (elsewhere := stream_of(path)) is not None:
        file = elsewhere.open(RECORDINGS)
        try:
            source = _open(None, again(file), f"`{elsewhere.name}`", strict=strict)
        except BaseException:
            file.close()
            raise
        weakref.finalize(source, file.close)
        return source
    assert not isinstance(path, NamedStream)
    path = require_file(path, RECORDING, finder="find_recordings")
    return _open(path, lambda: path.open("rb"), f"`{path}`", strict=strict)


def open_bytes(data: bytes, name: str, *, strict: bool = True) -> Source:
    """Open the bytes of a file; arguments and errors are those of `open_path`."""
    return _open(None, lambda: _Bytes(data), name, strict=strict)


def open_array(samples: np.ndarray, *, rate: int) -> Source:
    """Use an array of samples `[t]` or `[channels, t]`.

    Raises:
        InputError: It has another shape or dtype, or values far outside of -1 to 1.
    """
    name = "the array"
    if samples.ndim not in (1, 2) or (samples.ndim == 2 and not 1 <= samples.shape[0] <= _MOST_CHANNELS):
        raise InputError(
            f"{name} must have the shape [t] or [channels, t], with up to {_MOST_CHANNELS} channels, but has "
            f"{list(samples.shape)} instead. Is it transposed?"
        )
    if samples.dtype == np.int16:
        scale = np.float32(1 / 32768)
    elif samples.dtype.kind == "f":
        scale = np.float32(1)
        loudest = np.abs(samples).max(initial=0)
        if math.isfinite(loudest) and loudest > _LOUDEST:
            raise InputError(
                f"{name} must have floats from -1 to 1, but has {loudest:g} instead. Divide by full scale (32768 for "
                "16 bits)."
            )
    else:
        raise InputError(f"{name} must be of floats or of int16, but is of {samples.dtype} instead. Convert it.")
    return _Array(samples if samples.ndim == 2 else samples[None], name, rate, scale)


def _open(path: Path | None, opener: Opener, name: str, *, strict: bool) -> Source:
    with reading(name, RECORDING), opener() as stream:
        head = stream.read(_HEAD)
        if tags := after_tags(stream) if head.startswith(b"ID3") else 0:
            stream.seek(tags)
            head = stream.read(_HEAD)
            if not head:
                raise damaged(name, "no sound is found in it")
    if not head:
        raise WrongKindError(f"{name} must be {RECORDING}, but is empty instead. Fetch or export it again.")
    if tags and head.startswith((b"RIFF", b"FORM", b"RF64")):
        # through a stream, libsndfile takes the length of the tags off the sound
        opener = partial(_after, opener, tags)
    suffix = path.suffix.lower() if path else ""
    if container := looks_like(head, _CONTAINERS):
        return _open_container(opener, name, container, strict=strict)
    is_text = not tags and head_text(head) is not None and not head.startswith(_TEXT_FIRST)
    what = looks_like(head, _LOOKALIKES) or ("text" if is_text else "")
    if what:
        raise WrongKindError(f"{name} must be {RECORDING}, but is {what} instead. Is it the right file?")
    if suffix == ".raw":
        raise InputError(
            f"{name} must be {RECORDING}, but is raw samples, which state neither rate nor type, instead. Load them "
            "as an array, with their rate."
        )
    if head.startswith(b"OggS"):
        with reading(name, RECORDING), opener() as stream:
            pages = check_pages(stream)
        broken = pages.lost or ("its last page is missing" if pages.is_cut else "")
        if broken and strict:
            raise damaged(name, broken)
        if broken or pages.links > 1:  # libsndfile reads the first of several only
            return _open_container(opener, name, "an Ogg file", strict=strict, broken=broken, is_cut=pages.is_cut)
    if head.startswith(b"fLaC") and _is_joined(opener, tags):
        return _open_container(opener, name, "a FLAC file", strict=strict)
    if frame_of(head[:4]) and (found := _open_mpeg(opener, name, strict=strict)):
        return found
    try:
        # libsndfile would take these for mp3 and for a MIDI dump, and print what is wrong with them
        if head[0] == 0xFF and head[1:2] >= b"\xe0" or head.startswith(b"\xf0\x7e"):
            raise NotSound("")
        return SoundFile(path, opener, name, strict=strict)
    except NotSound as error:
        if found := _open_mpeg(opener, name, strict=strict):
            return found
        try:
            return _open_container(opener, name, "a film", strict=strict)
        except InputError:
            if error.reason:
                raise damaged(name, error.reason) from error
            if suffix == ".mp3":
                raise damaged(name, "no sound is found in it") from error
            raise WrongKindError(
                f"{name} must be {RECORDING}, but is something else instead. Is it the right file?"
            ) from error


def _is_joined(opener: Opener, start: int) -> bool:
    """Tell whether another FLAC file follows the one at `start`; libsndfile reads the first only."""
    mark = b"fLaC\x00\x00\x00\x22"
    with opener() as stream:
        stream.seek(start + 4)
        held = b""
        while data := stream.read(1 << 20):
            if mark in held + data:
                return True
            held = data[-len(mark) :]
    return False


def _open_mpeg(opener: Opener, name: str, *, strict: bool) -> Source | None:
    """Open an MPEG audio stream; None where the file is none."""
    stream = opener()
    with reading(name, RECORDING):
        try:
            frames = find_frames(stream)
            if frames is not None:
                return Mpeg(stream, frames, name, strict=strict)
        except BaseException:
            stream.close()
            raise
    stream.close()
    return None


def _open_container(
    opener: Opener, name: str, what: str, *, strict: bool, broken: str = "", is_cut: bool = False
) -> Source:
    """Open a file that PyAV reads."""
    with reading(name, RECORDING):
        return Container(opener, name, what, strict=strict, broken=broken, is_cut=is_cut)


class _Bytes(io.BytesIO):
    """The bytes of a file; like a file that soundfile opens, it takes a seek before the start without complaint."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return super().seek(max(0, offset) if whence == 0 else offset, whence)


def _after(opener: Opener, start: int) -> io.BufferedReader:
    return io.BufferedReader(_After(opener(), start))


class _After(io.RawIOBase):
    """A file from an offset on; closing it closes the file."""

    def __init__(self, file: io.BufferedIOBase, start: int) -> None:
        self._file, self._start = file, start
        file.seek(start)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0, /) -> int:
        place = self._start + max(0, offset) if whence == 0 else offset
        return self._file.seek(place, whence) - self._start

    def tell(self) -> int:
        return self._file.tell() - self._start

    def readinto(self, buffer: Any, /) -> int:
        return self._file.readinto(buffer)

    def close(self) -> None:
        self._file.close()
        super().close()


class _Array:
    """Samples in memory, `[channels, t]`."""

    def __init__(self, samples: np.ndarray, name: str, rate: int, scale: np.float32) -> None:
        self.name, self.rate, self.seconds = name, rate, samples.shape[1] / rate
        self._samples, self._scale, self._position = samples, scale, 0
        self.damage = None

    def seek(self, position: int) -> None:
        self._position = position

    def read(self, count: int) -> np.ndarray:
        samples = self._samples[:, self._position : self._position + count].T.astype(np.float32) * self._scale
        self._position += len(samples)
        return samples

    def close(self) -> None:
        pass
