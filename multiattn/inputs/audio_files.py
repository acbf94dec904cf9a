"""What a recording is read from: a file that soundfile knows, another container by PyAV, or an array.

All give float samples from -1 to 1 as `[samples, channels]`, at the rate they have.
"""

import io
import math
import re
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from ..errors import InputError
from .files import require_present

RECORDING = "a recording (wav, flac, ogg, opus, mp3, aiff)"

_HEAD = 4096  # bytes that are looked at to tell what a file is
_UNSTATED = 0x7F000000  # bytes of data; a program that writes into a pipe states about so many, for it cannot know
_MOST_CHANNELS = 64  # more, and time and channels are exchanged
_LOUDEST = 64.0  # of floats, where 1 is full scale; above that they are integers that were not divided

# What people pass by mistake, or what PyAV reads, told by its first bytes (offset, bytes, name).
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

_TEXT_FIRST = b"NIST_1A"  # a recording whose head is text


@runtime_checkable
class Source(Protocol):
    """Samples that can be read from any place on."""

    name: str
    """What to call it in a message."""
    rate: int
    """Samples a second (Hz)."""
    seconds: float | None
    """How long it is, as the file says; None where it does not say."""

    def seek(self, place: int) -> None:
        """Go to a sample; beyond the end there is nothing to read."""

    def read(self, count: int) -> np.ndarray:
        """The next samples, float32 `[samples, channels]`, fewer only at the end.

        Raises:
            InputError: The file is damaged.
        """

    def close(self) -> None:
        """Let go of the file."""


def open_path(path: str | Path) -> Source:
    """Open a file.

    Raises:
        InputError: There is none, or it is no recording.
    """
    name = f"`{path}`"
    if str(path).startswith(("http://", "https://")):
        raise InputError(f"{name} must be a file on this machine, but is a web address instead. Download it first.")
    path = Path(path)
    require_present(path)
    if path.is_dir():
        raise InputError(
            f"{name} must be {RECORDING}, but is a folder instead. `multiattn.inputs.find_recordings` lists its "
            "recordings."
        )
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD)
    except OSError as error:
        raise InputError(f"{name} must be a readable file, but opening it fails instead: {error.strerror}.") from error
    return _open(str(path), head, name)


def open_bytes(data: bytes, name: str) -> Source:
    """Open the bytes of a file; the errors are those of `open_path`."""
    return _open(io.BytesIO(data), data[:_HEAD], name)


def open_array(samples: np.ndarray, *, rate: int) -> Source:
    """Take samples `[t]` or `[channels, t]` that are in memory.

    Raises:
        InputError: They have another shape or another type.
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


def _open(file: str | io.BytesIO, head: bytes, name: str) -> Source:
    if not head:
        raise InputError(f"{name} must be {RECORDING}, but is empty instead. Fetch or export it again.")
    container = _looks_like(head, _CONTAINERS)
    if container:
        return _open_container(file, name, container)
    what = _looks_like(head, _LOOKALIKES) or ("text" if _is_text(head) and not head.startswith(_TEXT_FIRST) else "")
    if what:  # said before soundfile has it: what is called .mp3, it would search for sound, in vain and noisily
        raise InputError(f"{name} must be {RECORDING}, but is {what} instead. Is it the right file?")
    import soundfile

    if str(file).lower().endswith(".raw"):
        raise InputError(
            f"{name} must be {RECORDING}, but is raw samples, which say neither rate nor type, instead. Load them "
            "as an array, with their rate."
        )
    try:
        opened = soundfile.SoundFile(file)
    except soundfile.LibsndfileError as error:
        if "not recognised" in error.error_string or "unknown format" in error.error_string:
            raise InputError(
                f"{name} must be {RECORDING}, but is something else instead. Is it the right file?"
            ) from error
        if "does not exist" in error.error_string:  # so libsndfile says where its MP3 decoder finds nothing
            raise _damaged(name, "no sound is found in it") from error
        raise _damaged(name, error.error_string) from error
    return _File(opened, name)


def _looks_like(head: bytes, known: tuple[tuple[int, bytes, str], ...]) -> str:
    return next((what for offset, magic, what in known if head[offset:].startswith(magic)), "")


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:  # later than that, the head ends within a letter
            return False
        text = head[: error.start].decode("utf-8")
    return all(letter.isprintable() or letter.isspace() for letter in text)


def _damaged(name: str, reason: str) -> InputError:
    return InputError(
        f"{name} must be a whole recording, but is damaged or cut off instead ({reason.strip().rstrip('.')}). "
        "Fetch or export it again."
    )


class _Array:
    """Samples in memory, `[channels, t]`."""

    def __init__(self, samples: np.ndarray, name: str, rate: int, scale: np.float32) -> None:
        self.name, self.rate, self.seconds = name, rate, samples.shape[1] / rate
        self._samples, self._scale, self._place = samples, scale, 0

    def seek(self, place: int) -> None:
        self._place = place

    def read(self, count: int) -> np.ndarray:
        found = self._samples[:, self._place : self._place + count].T.astype(np.float32) * self._scale
        self._place += len(found)
        return found

    def close(self) -> None:
        pass


class _File:
    """A file by soundfile."""

    def __init__(self, file: Any, name: str) -> None:
        self.name, self.rate = name, file.samplerate
        self._count: int | None = None if file.frames >= 1 << 62 else file.frames  # a FLAC stream may not say
        self.seconds = None if self._count is None else self._count / self.rate
        self._file = file
        # what libsndfile noticed: it reads a WAV that is cut off as if it was whole
        for size, there in re.findall(r"^ *(?:data|SSND|riff) : (\d+) \(should be (\d+)\)", file.extra_info, re.M):
            if int(there) < int(size) < _UNSTATED:
                file.close()
                raise _damaged(name, f"{there} of {size} bytes are there")

    def seek(self, place: int) -> None:
        if self._count is not None:
            place = min(place, self._count)
        if place != self._file.tell():  # to where it is already, an MP3 decoder would lose what it has before that
            self._call(self._file.seek, place)

    def read(self, count: int) -> np.ndarray:
        place = self._file.tell()
        found: np.ndarray = self._call(self._file.read, count, dtype="float32", always_2d=True)
        if self._count is not None and len(found) < min(count, self._count - place):
            reason = f"it ends after {(place + len(found)) / self.rate:.3f} of {self._count / self.rate:.3f} seconds"
            raise _damaged(self.name, reason)
        return found

    def close(self) -> None:
        self._file.close()

    def _call(self, function: Any, *args: Any, **options: Any) -> Any:
        import soundfile

        try:
            return function(*args, **options)
        except soundfile.LibsndfileError as error:
            raise _damaged(self.name, error.error_string) from error


def _open_container(file: str | io.BytesIO, name: str, what: str) -> Source:
    """Open what soundfile does not read."""
    try:
        import av  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"{name} must be {RECORDING}, but is {what} instead. To read it, `pip install multiattn[av]`."
        ) from error
    from .audio_containers import Container

    return Container(file, name, what)
