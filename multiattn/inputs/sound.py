"""An open recording that is read in parts, whatever its samples are handed on as. Importing this imports no torch.

Dimensions: t = samples at the rate asked for, s = samples of the source.
"""

import math
import weakref
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Generic, TypeAlias, TypeVar

import numpy as np
from jaxtyping import Float32

from ..checks import require
from ..errors import InputError, reading
from .audio_files import RECORDING, Source, open_array, open_bytes, open_path
from .audio_losses import Losses
from .audio_views import Channel, Part, Watched
from .damage import Damage
from .resampling import half_length, ratio, resampled
from .streams import NamedStream
from .tensors import TensorLike

AudioSource: TypeAlias = str | Path | bytes | NamedStream | np.ndarray | TensorLike
"""What a recording is opened from."""

Samples = TypeVar("Samples")
_Sound = TypeVar("_Sound", bound="Sound[Any]")

RATE = 16_000  # Hz

_SLOWEST, _FASTEST = 1_000, 768_000  # Hz: sampling rates that are taken
_LOUDEST = 1e12  # largest sample, which should be from -1 to 1; the squares of much larger ones are infinite
_PIECE = 1 << 18  # source samples that are read, checked and mixed at a time; fewer with more than two channels


class Sound(Generic[Samples]):
    """An open recording that is read in parts, without holding all of it in memory. A context manager.

    What derives from it says what samples are: tensors of a `Recording`, arrays of an `ArrayRecording`.
    """

    _as_samples: ClassVar[Any]

    def __init__(self, source: Source, *, rate: int, strict: bool = True, losses: Losses | None = None) -> None:
        """Use `open` instead."""
        self.rate = rate
        """Sampling rate of the results of `read` and `blocks`, in Hz."""
        self._source = source
        self._close = weakref.finalize(self, source.close)
        self._losses = Losses(source.name, strict=strict) if losses is None else losses
        self._count: int | None = None  # source samples, once the end has been read
        if not _SLOWEST <= source.rate <= _FASTEST:
            self._close()
            raise InputError(
                f"{source.name} must have a sampling rate of {_SLOWEST} to {_FASTEST} Hz, but has {source.rate} Hz "
                "instead. Convert it."
            )
        self._from, self._to = ratio(source.rate, rate)  # this many samples become this many
        # source samples on each side that a resampled sample depends on, in whole periods of the filter
        self._reach = math.ceil(half_length(self._from, self._to) / self._from + 1) * self._from

    @classmethod
    def open(
        cls: type[_Sound],
        source: AudioSource,
        *,
        rate: int = RATE,
        source_rate: int | None = None,
        strict: bool = True,
        watch: Callable[[float], None] | None = None,
    ) -> _Sound:
        """Open a recording.

        Args:
            source: As for `load_audio`.
            rate: As for `load_audio`.
            source_rate: As for `load_audio`.
            strict: Whether a damaged recording is refused; else what can be read of it is, with silence where the
                length of a damaged part is known, and `damaged` says what is missing.
            watch: Called before each read, with the second up to which the source has been read; what it raises ends
                the reading.

        Raises:
            InputError: As for `load_audio`.
        """
        found = cls._source_of(source, rate=rate, source_rate=source_rate, strict=strict)
        return cls(found if watch is None else Watched(found, watch), rate=rate, strict=strict)

    @staticmethod
    def _source_of(source: AudioSource, *, rate: int, source_rate: int | None, strict: bool) -> Source:
        for name, value in {"rate": rate, "source_rate": source_rate}.items():
            require(value is None or value >= 1, name, must="at least 1 Hz", value=value, error=InputError)
        if isinstance(source, TensorLike):
            values = source.detach().cpu()
            source = values.float().numpy() if values.is_floating_point() else values.numpy()
        if isinstance(source, np.ndarray):
            return open_array(source, rate=source_rate or rate)
        must = "None for a file, which states its rate"
        require(source_rate is None, "source_rate", must=must, value=source_rate, error=InputError)
        if isinstance(source, bytes):
            return open_bytes(source, "the bytes", strict=strict)
        if not isinstance(source, str | Path | NamedStream):
            raise InputError(
                f"`source` must be a path, bytes, an array or a tensor, but is of type {type(source).__name__} instead."
            )
        return open_path(source, strict=strict)

    @property
    def name(self) -> str:
        """The name of the recording in messages."""
        return self._source.name

    @property
    def source_rate(self) -> int:
        """Sampling rate of the source, in Hz."""
        return self._source.rate

    @cached_property
    def channels(self) -> int:
        """Number of channels of the source; at least 1."""
        self._seek(0)
        return max(1, int(self._piece(1).shape[1]))

    def channel(self: _Sound, index: int) -> _Sound:
        """Return one channel, from 0, as a recording of its own, which reads from this one and is closed with it."""
        return type(self)(Channel(self._source, index, self), rate=self.rate, losses=self._losses)

    def part(self: _Sound, start: float, end: float) -> _Sound:
        """Return the part from `start` to `end` (s) as a recording, which reads from this one and is closed with it."""
        first = round(start * self._source.rate)
        last = None if end == math.inf else round(end * self._source.rate)
        return type(self)(Part(self._source, first, last, self), rate=self.rate, strict=self._losses.is_strict)

    def pieces(self, *, frames: int) -> Iterator[np.ndarray]:
        """Yield the source samples `[samples, channels]` at their own rate, in pieces of whole frames but the last.

        Args:
            frames: Frames a second.

        Raises:
            InputError: The file is damaged, and was opened strictly.
        """
        size = max(1, self._source.rate // frames)
        size *= max(1, _PIECE // (size * self.channels))
        self._seek(0)
        at = 0
        while len(piece := self._piece(size)):
            yield self._finite(piece, at)
            at += len(piece)
            if len(piece) < size:
                return

    @property
    def duration(self) -> float | None:
        """Seconds, as the file states them; None where it does not. `measured` is what is there."""
        return self._source.seconds

    @property
    def measured(self) -> float | None:
        """Seconds of sound that were found; None until the end has been read."""
        return None if self._count is None else self._count / self._source.rate

    def measure(self) -> float:
        """Return `measured`, for which the recording is read to its end where it has not been.

        Raises:
            InputError: The file is damaged, and was opened strictly.
        """
        if self._count is None:
            for _ in self.blocks():
                pass
        assert self._count is not None
        return self._count / self._source.rate

    @property
    def damaged(self) -> Damage | None:
        """What is missing of a damaged recording; complete once it has been read to its end. None where nothing is."""
        return self._source.damage or self._losses.damage(self.measured)

    def read(self, start: float, end: float) -> Samples:
        """Read the samples from `start` to `end`, in seconds; fewer, or none, where the recording ends earlier.

        Raises:
            InputError: The file is damaged there, and was opened strictly.
        """
        first, last = round(max(start, 0.0) * self.rate), round(max(end, 0.0) * self.rate)
        if last <= first:
            return self._samples(np.zeros(0, np.float32))
        # whole periods of the filter, and the samples before and after that they depend on
        begin = max(0, first // self._to * self._from - self._reach)
        stop = -(-last // self._to) * self._from + self._reach
        self._seek(begin)
        samples = resampled(self._mono(stop - begin, at=begin), self._from, self._to)
        offset = begin // self._from * self._to
        return self._samples(samples[first - offset : last - offset].copy())

    def blocks(self, seconds: float = 30.0) -> Iterator[Samples]:
        """Yield the recording in blocks of this many seconds; joined, they equal the recording read at once.

        Nothing is yielded where it has no samples.

        Raises:
            InputError: The file is damaged, and was opened strictly.
        """
        # periods of the filter in a block, at least one
        periods = max(1, round(seconds * self.rate / self._to))
        size, reach = periods * self._from, self._reach
        self._seek(0)
        held = np.zeros(0, np.float32)  # source samples from `begin` on that are still needed
        begin = start = 0  # indices of source samples; the next block starts at `start`
        while True:
            need = start + size + reach - begin - len(held)
            new = self._mono(need, at=begin + len(held))
            held = np.concatenate([held, new])
            is_last = len(new) < need
            found = resampled(held, self._from, self._to)
            first = (start - begin) // self._from * self._to
            block = found[first:] if is_last else found[first : first + periods * self._to]
            if len(block):
                yield self._samples(block.copy())
            if is_last:
                return
            start += size
            kept = max(0, start - reach)
            held, begin = held[kept - begin :], kept

    def close(self) -> None:
        """Close the file."""
        self._close()

    def __enter__(self: _Sound) -> _Sound:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def empty(self) -> InputError:
        """Return the error for a recording without samples, for a caller that needs some."""
        return InputError(f"{self.name} must have at least one sample, but has none instead. Record it again.")

    def _samples(self, values: np.ndarray) -> Samples:
        """Return samples (t,) in the form in which they are read."""
        return type(self)._as_samples(values)  # type: ignore[no-any-return]

    def _seek(self, position: int) -> None:
        with reading(self.name, RECORDING):
            self._source.seek(position)

    def _mono(self, count: int, *, at: int) -> Float32[np.ndarray, " s"]:
        """Read the next source samples as mono; fewer at the end. `at` is their index."""
        pieces = []
        most = _PIECE
        while count > 0:
            piece = self._piece(min(count, most))  # [samples, channels]
            pieces.append(self._finite(piece, at).mean(axis=1, dtype=np.float32))
            at, count = at + len(piece), count - len(piece)
            most = max(1 << 10, 2 * _PIECE // max(2, piece.shape[1]))
            if len(piece) == 0:
                break
        if count > 0:
            self._count = at
        return np.concatenate(pieces) if pieces else np.zeros(0, np.float32)

    def _piece(self, count: int) -> np.ndarray:
        if not self._close.alive:
            raise RuntimeError(f"{self.name} is closed")
        with reading(self.name, RECORDING):
            return self._source.read(count)

    def _finite(self, piece: np.ndarray, at: int) -> np.ndarray:
        """Return samples with silence in the place of those that are no sound.

        Raises:
            InputError: There are such, and the recording was opened strictly.
        """
        if np.abs(piece).max(initial=0) <= _LOUDEST:  # not so for NaN
            return piece
        is_sound = np.isfinite(piece).all(axis=1)
        reason, must = "has NaN or infinite ones", "finite samples"
        if is_sound.all():
            reason, must = f"has {np.abs(piece).max():g}", "samples from -1 to 1"
        is_sound &= (np.abs(piece) <= _LOUDEST).all(axis=1)
        [wrong] = np.nonzero(~is_sound)
        where = (at + int(wrong[0])) / self._source.rate
        if self._losses.is_strict:
            raise InputError(
                f"{self.name} must have {must}, but {reason} instead, from second {where:.3f} on. Repair or record it "
                "again."
            )
        first, last = np.flatnonzero(np.diff(~is_sound, prepend=False, append=False)).reshape(-1, 2).T
        for start, end in zip(first.tolist(), last.tolist(), strict=True):
            self._losses.gap(
                (at + start) / self._source.rate,
                (at + end) / self._source.rate,
                "some of its samples are infinite or no numbers" if "NaN" in reason else "some samples are too large",
            )
        return np.where(is_sound[:, None], piece, np.float32(0))


class ArrayRecording(Sound[np.ndarray]):
    """A recording whose samples are arrays (t,) in float32."""

    _as_samples = staticmethod(lambda values: values)
