"""Recordings that soundfile reads: wav, flac, ogg, opus, aiff, au, caf, w64 and others.

libsndfile tells in its log that a file is shorter than its header says, and gives up a flac with a damaged frame: PyAV
then goes on with it, where it can.
"""

import io
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, reading, reason_of
from .audio_containers import Container, Opener
from .audio_forward import Forward
from .audio_losses import Losses, damaged
from .damage import Damage

_UNSTATED = 0x7F000000  # bytes of data; a program that writes into a pipe states about as many, without knowing
_UNKNOWN = 1 << 62  # samples that libsndfile states where it does not know their number

# how libsndfile's log says that a file is shorter than its header: how long it should be, and is
_SHORT = (
    re.compile(r"^ *(?:data|SSND|riff|BODY|Data Size|Riff size) *: (\d+) \(should be (\d+)\)", re.M),
    re.compile(r"Data length (\d+) should be (\d+)"),
    re.compile(r"File seems to be truncated\. (?P<there>\d+) <--> (?P<size>\d+)"),
)


class NotSound(Exception):
    """soundfile does not read the file.

    Args:
        reason: What is wrong with a file of a known type; empty for one of an unknown type.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class SoundFile:
    """A file that soundfile reads; a `Source`."""

    def __init__(self, path: Path | None, opener: Opener, name: str, *, strict: bool) -> None:
        """Open the file.

        Args:
            path: Its path; None where it is in memory.
            opener: Opens it.
            name: The name of the file in messages.
            strict: Whether a damaged file is an error.

        Raises:
            NotSound: It is not a file that soundfile reads.
            InputError: It is damaged, and `strict`.
        """
        self.name, self._opener, self._strict = name, opener, strict
        self._losses = Losses(name, strict=strict)
        self._other: Container | None = None  # goes on where soundfile has given up
        self._position = 0
        self._is_over = False  # it has been given up, and PyAV does not read it either
        self._open()
        file = self._file
        self.rate: int = file.samplerate
        self._count: int | None = None if file.frames >= _UNKNOWN else file.frames  # a flac may not state it
        self.seconds = None if self._count is None or not self.rate else self._count / self.rate
        self._forward: Forward | None = None  # for Ogg, in which libsndfile's seeks miss by up to a block
        if file.format == "OGG":
            self._forward = Forward(
                self._restart, lambda: self._read(self.rate), rate=self.rate, channels=file.channels
            )
        self._note_shortness()

    @property
    def damage(self) -> Damage | None:
        """What is missing of what has been read."""
        return self._other.damage if self._other else self._losses.damage(self.seconds)

    def seek(self, position: int) -> None:
        """Go to a sample."""
        if self._other:
            self._other.seek(position)
            return
        if self._is_over and not self._forward:  # what is before the damage can still be read
            self._restart()
            self._position, self._is_over = 0, False
        if self._count is not None:
            position = min(position, self._count)
        if position == self._position:
            return
        try:
            if self._forward:
                self._forward.seek(position)
                self._position = position
                return
            if self._file.seekable():
                self._file.seek(position)
                self._position = position
                return
            if position < self._position:
                self._restart()
                self._position = 0
        except RuntimeError as error:  # soundfile's
            self._give_up(_reason(error), at=position)
            return
        while self._position < position and len(self.read(min(1 << 16, position - self._position))):
            pass

    def read(self, count: int) -> np.ndarray:
        """Read the next samples; fewer only at the end."""
        if self._other:
            return self._other.read(count)
        if self._is_over:
            return np.zeros((0, 1), np.float32)
        wanted = count if self._count is None else min(count, self._count - self._position)
        try:
            samples = self._forward.read(wanted) if self._forward else self._read(wanted)
        except RuntimeError as error:
            if self._file.closed:
                raise
            self._give_up(_reason(error), at=self._position)
            return self.read(count)
        is_short = self._count is not None and len(samples) < wanted
        if is_short and self._file.format == "FLAC":  # what it returns may be from beyond the damage
            self._give_up("frames are missing", at=self._position)
            return self.read(count)
        self._position += len(samples)
        if is_short and self._count is not None:
            end, stated = self._position / self.rate, self._count / self.rate
            reason = f"it ends after {end:.3f} of {stated:.3f} seconds"
            self._losses.cut(end, stated, reason)
            self._count = self._position
        return samples

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        self._stream.close()
        if self._other:
            self._other.close()

    def _open(self) -> None:
        import soundfile

        self._stream = self._opener()
        try:
            # by its number, not by its path, whose suffix libsndfile takes at its word
            number = None
            with suppress(io.UnsupportedOperation):  # bytes in memory, or a view of a file that others read, too
                number = self._stream.fileno()
            self._file: Any = soundfile.SoundFile(self._stream if number is None else number, closefd=False)
            # MPEG in a wav: its length is an estimate too. MIDI dumps: libsndfile prints what is wrong with them
            if self._file.subtype.startswith("MPEG") or self._file.format == "SDS":
                self._file.close()
                raise NotSound("")
            if self._file.format in ("WAV", "WAVEX") and not self._file.frames and self._is_unfinished():
                self._file.close()
                raise NotSound("")
        except soundfile.LibsndfileError as error:
            self._stream.close()
            unknown = ("not recognised", "unknown format", "unsupported", "unimplemented", "unspecified")
            reason = _reason(error)
            raise NotSound("" if any(word in reason.lower() for word in unknown) else reason) from error
        except BaseException:
            self._stream.close()
            raise

    def _is_unfinished(self) -> bool:
        """Tell whether samples follow a WAV's header that states none: its writer was ended too early."""
        with self._opener() as stream:
            stream.seek(12)
            while len(chunk := stream.read(8)) == 8:
                size = int.from_bytes(chunk[4:], "little")
                if chunk[:4] == b"data":
                    after, there = stream.tell(), stream.seek(0, 2)
                    stream.seek(after)
                    follows = stream.read(8)  # a chunk with facts may follow the data of an empty recording
                    is_chunk = follows[:4].isascii() and follows[:4].decode("ascii").isprintable()
                    return (
                        not size
                        and there > after
                        and not (is_chunk and after + 8 + int.from_bytes(follows[4:], "little") <= there)
                    )
                stream.seek(size + size % 2, 1)
        return False

    def _restart(self) -> None:
        self.close()
        self._open()

    def _read(self, count: int) -> np.ndarray:
        samples: np.ndarray = self._file.read(count, dtype="float32", always_2d=True)
        return samples

    def _note_shortness(self) -> None:
        """Find out, from libsndfile's log, whether the file is shorter than its header says."""
        for pattern in _SHORT:
            for match in pattern.finditer(self._file.extra_info):
                named = match.groupdict()
                size, there = (int(named[key]) for key in ("size", "there")) if named else map(int, match.groups())
                if there < size < _UNSTATED and self.seconds is not None:
                    self._close_if_strict()
                    stated = self.seconds * size / there if there else None
                    self._losses.cut(self.seconds, stated, f"{there} of {size} bytes are there")
                    return
        if "Seems to be a truncated file" in self._file.extra_info and self.seconds is not None:
            self._close_if_strict()
            self._losses.cut(self.seconds, None, "it is cut off")

    def _close_if_strict(self) -> None:
        if self._strict:
            self.close()

    def _give_up(self, reason: str, *, at: int) -> None:
        """Let PyAV go on from a sample, or end the recording there.

        Raises:
            InputError: Damaged files are errors.
        """
        if self._strict:
            raise damaged(self.name, reason)
        try:
            with reading(self.name, "a recording"):
                other = Container(self._opener, self.name, "a file", strict=False, broken=reason)
                other.seek(at)
            self._other = other
            self.seconds = other.seconds
        except InputError:
            self._losses.cut(at / self.rate, self.seconds, reason)
            self._is_over = True


def _reason(error: Exception) -> str:
    return str(getattr(error, "error_string", "") or reason_of(error))
