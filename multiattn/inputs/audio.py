"""Loading a recording from a path, bytes, an array or a tensor, as mono samples at a given sampling rate.

Dimensions: t = samples at that rate.
"""

import math
import weakref
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from ..checks import require
from ..errors import InputError
from .audio_files import Source, open_array, open_bytes, open_path
from .files import RECORDINGS
from .streams import NamedStream

AudioSource: TypeAlias = str | Path | bytes | NamedStream | np.ndarray | Tensor
"""What `load_audio` accepts."""

RATE = 16_000  # Hz

_TAPS = 6  # zero crossings of the resampling filter on each side: torchaudio's default
_ROLLOFF = 0.99  # cutoff frequency, as a share of half the lower rate: torchaudio's default
_FINEST = (
    640  # the ratio of the rates is rounded to a fraction of integers up to this; the filter grows with them to GBs
)
_LOUDEST = 1e12  # largest sample, which should be from -1 to 1; the squares of much larger ones are infinite
_PIECE = 1 << 18  # source samples that are read, checked and mixed at a time


def load_audio(source: AudioSource, *, rate: int = RATE, source_rate: int | None = None) -> Float32[Tensor, " t"]:
    """Load a whole recording as mono samples; `Recording` reads a long one in parts, and damaged ones where asked to.

    Args:
        source: A path or a web address; the bytes of a file; or an array or tensor `[t]` or `[channels, t]` of floats
            from -1 to 1 or of int16. Several channels are averaged.
        rate: Sampling rate of the result, in Hz.
        source_rate: Sampling rate of an array or tensor; `rate` where None. A file states its own.

    Returns:
        At least one sample.

    Raises:
        InputError: The source cannot be read, or has no samples or invalid ones. The message names the source, the
            reason and the remedy.
    """
    with Recording.open(source, rate=rate, source_rate=source_rate) as recording:
        return torch.cat(list(recording.blocks()))


def find_recordings(paths: Sequence[str | Path]) -> list[Path]:
    """List the recordings that files, folders and patterns stand for, as `Kind.find` does.

    Raises:
        InputError: A path does not exist, or a folder or pattern has no recording.
    """
    return RECORDINGS.find(paths)


class Recording:
    """An open recording that is read in parts, without holding all of it in memory. A context manager."""

    def __init__(self, source: Source, *, rate: int) -> None:
        """Use `open` instead."""
        self.rate = rate
        """Sampling rate of the results of `read` and `blocks`, in Hz."""
        self._source = source
        self._close = weakref.finalize(self, source.close)
        ratio = Fraction(source.rate, rate).limit_denominator(_FINEST)
        self._from, self._to = ratio.numerator, ratio.denominator  # this many samples become this many
        lower = min(self._from, self._to) * _ROLLOFF
        # source samples on each side that a resampled sample depends on, in whole periods of the filter
        self._reach = math.ceil(math.ceil(_TAPS * self._from / lower) / self._from + 1) * self._from

    @classmethod
    def open(
        cls, source: AudioSource, *, rate: int = RATE, source_rate: int | None = None, strict: bool = True
    ) -> "Recording":
        """Open a recording.

        Args:
            source: As for `load_audio`.
            rate: As for `load_audio`.
            source_rate: As for `load_audio`.
            strict: Whether a damaged recording is refused; else what can be read of it is, and `damaged` says what is
                missing.

        Raises:
            InputError: As for `load_audio`.
        """
        for name, value in {"rate": rate, "source_rate": source_rate}.items():
            require(value is None or value >= 1, name, must="at least 1 Hz", value=value, error=InputError)
        if isinstance(source, Tensor):
            source = source.detach().cpu().float().numpy() if source.is_floating_point() else source.cpu().numpy()
        if isinstance(source, np.ndarray):
            return cls(open_array(source, rate=source_rate or rate), rate=rate)
        must = "None for a file, which states its rate"
        require(source_rate is None, "source_rate", must=must, value=source_rate, error=InputError)
        if isinstance(source, bytes):
            return cls(open_bytes(source, "the bytes"), rate=rate)
        if not isinstance(source, str | Path | NamedStream):
            raise InputError(
                f"`source` must be a path, bytes, an array or a tensor, but is of type {type(source).__name__} instead."
            )
        return cls(open_path(source), rate=rate)

    @property
    def name(self) -> str:
        """The name of the recording in messages."""
        return self._source.name

    @property
    def duration(self) -> float | None:
        """Seconds, as the file states them; None where it does not. A damaged file may end earlier."""
        return self._source.seconds

    def read(self, start: float, end: float) -> Float32[Tensor, " t"]:
        """Read the samples from `start` to `end`, in seconds; fewer, or none, where the recording ends earlier.

        Raises:
            InputError: The file is damaged there.
        """
        first, last = round(max(start, 0.0) * self.rate), round(max(end, 0.0) * self.rate)
        if last <= first:
            return torch.zeros(0)
        # whole periods of the filter, and the samples before and after that they depend on
        begin = max(0, first // self._to * self._from - self._reach)
        stop = -(-last // self._to) * self._from + self._reach
        self._source.seek(begin)
        samples = resampled(self._mono(stop - begin, at=begin), self._from, self._to)
        offset = begin // self._from * self._to
        return samples[first - offset : last - offset].clone()

    def blocks(self, seconds: float = 30.0) -> Iterator[Float32[Tensor, " t"]]:
        """Yield the recording in blocks of this many seconds; joined, they equal the recording read at once.

        Raises:
            InputError: There are no samples, or the file is damaged.
        """
        # periods of the filter in a block, at least one
        periods = max(1, round(seconds * self.rate / self._to))
        size, reach = periods * self._from, self._reach
        self._source.seek(0)
        held = torch.zeros(0)  # source samples from `begin` on that are still needed
        begin = start = 0  # indices of source samples; the next block starts at `start`
        while True:
            need = start + size + reach - begin - len(held)
            new = self._mono(need, at=begin + len(held))
            held = torch.cat([held, new])
            is_last = len(new) < need
            found = resampled(held, self._from, self._to)
            first = (start - begin) // self._from * self._to
            block = found[first:] if is_last else found[first : first + periods * self._to]
            if len(block):
                yield block.clone()
            elif start == 0:
                raise InputError(f"{self.name} must have at least one sample, but has none instead. Record it again.")
            if is_last:
                return
            start += size
            kept = max(0, start - reach)
            held, begin = held[kept - begin :], kept

    def close(self) -> None:
        """Close the file."""
        self._close()

    def __enter__(self) -> "Recording":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _mono(self, count: int, *, at: int) -> Float32[Tensor, " s"]:
        """Read the next source samples as mono; fewer at the end. `at` is their index, for the error message."""
        pieces = []
        while count > 0:
            piece = self._source.read(min(count, _PIECE))  # [samples, channels]
            if not np.isfinite(piece).all():
                where = (at + int(np.argmin(np.isfinite(piece).all(axis=1)))) / self._source.rate
                raise InputError(
                    f"{self.name} must have finite samples, but has NaN or infinite ones instead, from second "
                    f"{where:.3f} on. Repair or record it again."
                )
            if (loudest := np.abs(piece).max(initial=0)) > _LOUDEST:
                raise InputError(
                    f"{self.name} must have samples from -1 to 1, but has {loudest:g} instead. Repair or record it "
                    "again."
                )
            pieces.append(piece.mean(axis=1, dtype=np.float32))
            at, count = at + len(piece), count - len(piece)
            if len(piece) == 0:
                break
        return torch.from_numpy(np.concatenate(pieces)) if pieces else torch.zeros(0)


def resampled(samples: Float32[Tensor, " s"], source: int, target: int) -> Float32[Tensor, " t"]:
    """Resample from `source` to `target` Hz, or any rates with that ratio: the filter is shorter for small ones."""
    if source == target or len(samples) == 0:
        return samples
    return _resampler(source, target)(samples)


@lru_cache(maxsize=16)
def _resampler(source: int, target: int) -> Callable[[Tensor], Tensor]:
    import torchaudio.transforms  # takes seconds, and only recordings at another rate need it

    return torchaudio.transforms.Resample(  # type: ignore[no-any-return]
        source, target, lowpass_filter_width=_TAPS, rolloff=_ROLLOFF
    )
