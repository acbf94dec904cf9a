"""The sources of recordings: a file that soundfile reads, another container by PyAV, or an array.

All return float samples from -1 to 1 as `[samples, channels]`, at their own sampling rate.
"""

import io
import math
import re
import weakref
from pathlib import Path
from typing import Any, BinaryIO, Protocol, runtime_checkable

import numpy as np

from ..errors import InputError
from .audio_containers import Container, damaged
from .fetch import stream_of
from .files import RECORDINGS, head_text, looks_like, require_file, unreadable
from .streams import NamedStream

RECORDING = "a recording (wav, flac, ogg, opus, mp3, aiff)"

_HEAD = 4096  # bytes that tell the type of a file
_UNSTATED = 0x7F000000  # bytes of data; a program that writes into a pipe states about as many, without knowing
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

    def seek(self, position: int) -> None:
        """Go to a sample; beyond the end, `read` returns none."""

    def read(self, count: int) -> np.ndarray:
        """Read the next samples, float32 `[samples, channels]`; fewer only at the end.

        Raises:
            InputError: The file is damaged.
        """

    def close(self) -> None:
        """Close the file."""


def open_path(path: str | Path | NamedStream) -> Source:
    """Open a file, or what is at a web address or on standard input.

    Raises:
        InputError: The file does not exist, or is no recording.
    """
    if (elsewhere := stream_of(path)) is not None:
        file = elsewhere.open(RECORDINGS)
        try:
            head = file.read(_HEAD)
            file.seek(0)
            source = _open(file, head, f"`{elsewhere.name}`")
        except BaseException:
            file.close()
            raise
        weakref.finalize(source, file.close)
        return source
    assert not isinstance(path, NamedStream)
    path, name = require_file(path, RECORDING, finder="find_recordings"), f"`{path}`"
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD)
    except OSError as error:
        raise unreadable(name, error) from error
    return _open(str(path), head, name)


def open_bytes(data: bytes, name: str) -> Source:
    """Open the bytes of a file; the errors are those of `open_path`."""
    return _open(io.BytesIO(data), data[:_HEAD], name)


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


def _open(file: str | BinaryIO, head: bytes, name: str) -> Source:
    if not head:
        raise InputError(f"{name} must be {RECORDING}, but is empty instead. Fetch or export it again.")
    if container := looks_like(head, _CONTAINERS):
        return _open_container(file, name, container)
    is_text = head_text(head) is not None and not head.startswith(_TEXT_FIRST)
    what = looks_like(head, _LOOKALIKES) or ("text" if is_text else "")
    if what:  # refused before soundfile opens it, which searches any .mp3 for sound and prints warnings
        raise InputError(f"{name} must be {RECORDING}, but is {what} instead. Is it the right file?")
    import soundfile

    if str(file).lower().endswith(".raw"):
        raise InputError(
            f"{name} must be {RECORDING}, but is raw samples, which state neither rate nor type, instead. Load them "
            "as an array, with their rate."
        )
    try:
        opened = soundfile.SoundFile(file)
    except soundfile.LibsndfileError as error:
        if "not recognised" in error.error_string or "unknown format" in error.error_string:
            raise InputError(
                f"{name} must be {RECORDING}, but is something else instead. Is it the right file?"
            ) from error
        if "does not exist" in error.error_string:  # libsndfile's message where its MP3 decoder finds nothing
            raise damaged(name, "no sound is found in it") from error
        raise damaged(name, error.error_string) from error
    return _File(opened, name)


class _Array:
    """Samples in memory, `[channels, t]`."""

    def __init__(self, samples: np.ndarray, name: str, rate: int, scale: np.float32) -> None:
        self.name, self.rate, self.seconds = name, rate, samples.shape[1] / rate
        self._samples, self._scale, self._position = samples, scale, 0

    def seek(self, position: int) -> None:
        self._position = position

    def read(self, count: int) -> np.ndarray:
        samples = self._samples[:, self._position : self._position + count].T.astype(np.float32) * self._scale
        self._position += len(samples)
        return samples

    def close(self) -> None:
        pass


class _File:
    """A file that soundfile reads."""

    def __init__(self, file: Any, name: str) -> None:
        self.name, self.rate = name, file.samplerate
        self._count: int | None = None if file.frames >= 1 << 62 else file.frames  # a FLAC stream may not state it
        self.seconds = None if self._count is None else self._count / self.rate
        self._file = file
        # from libsndfile's log: it reads a WAV that is cut off as if it were whole
        for size, there in re.findall(r"^ *(?:data|SSND|riff) : (\d+) \(should be (\d+)\)", file.extra_info, re.M):
            if int(there) < int(size) < _UNSTATED:
                file.close()
                raise damaged(name, f"{there} of {size} bytes are there")

    def seek(self, position: int) -> None:
        if self._count is not None:
            position = min(position, self._count)
        if position != self._file.tell():  # a needless seek would reset the state of the MP3 decoder
            self._call(self._file.seek, position)

    def read(self, count: int) -> np.ndarray:
        start = self._file.tell()
        samples: np.ndarray = self._call(self._file.read, count, dtype="float32", always_2d=True)
        if self._count is not None and len(samples) < min(count, self._count - start):
            reason = f"it ends after {(start + len(samples)) / self.rate:.3f} of {self._count / self.rate:.3f} seconds"
            raise damaged(self.name, reason)
        return samples

    def close(self) -> None:
        self._file.close()

    def _call(self, function: Any, *args: Any, **options: Any) -> Any:
        import soundfile

        try:
            return function(*args, **options)
        except soundfile.LibsndfileError as error:
            raise damaged(self.name, error.error_string) from error


def _open_container(file: str | BinaryIO, name: str, what: str) -> Source:
    """Open a container that soundfile does not read."""
    try:
        import av  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"{name} must be {RECORDING}, but is {what} instead. To read it, `pip install multiattn[av]`."
        ) from error
    return Container(file, name, what)
