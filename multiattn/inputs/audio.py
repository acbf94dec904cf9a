"""A recording from wherever it comes: path, bytes, array or tensor, always to mono samples at the rate asked for.

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

from ..errors import InputError
from .audio_files import Source, open_array, open_bytes, open_path
from .files import RECORDINGS

AudioSource: TypeAlias = str | Path | bytes | np.ndarray | Tensor
"""What `load_audio` accepts."""

RATE = 16_000  # samples a second (Hz)

_TAPS = 6  # zero crossings of the resampling filter each way: torchaudio's default
_ROLLOFF = 0.99  # of the lower of the two rates, where it starts to cut: torchaudio's default
_FINEST = 640  # the ratio of two odd rates is taken as one of numbers up to this: a finer one needs a filter of GBs
_LOUDEST = 1e12  # of samples that are meant to be from -1 to 1; the squares of much louder ones are infinite
_PIECE = 1 << 18  # source samples that are read, checked and mixed at a time


def load_audio(source: AudioSource, *, rate: int = RATE, source_rate: int | None = None) -> Float32[Tensor, " t"]:
    """Load a whole recording as mono samples; `Recording` reads a long one in parts.

    Args:
        source: A path; the bytes of a file; or an array or tensor `[t]` or `[channels, t]` of floats from -1 to 1 or
            of int16. Channels are mixed: the mean of them.
        rate: Samples a second (Hz) of the result.
        source_rate: Samples a second of an array or tensor; `rate` where None. Files say theirs themselves.

    Returns:
        At least one sample.

    Raises:
        InputError: The source cannot be read, has no samples, or some that are no numbers. The message names it, the
            reason and the mend.
    """
    with Recording.open(source, rate=rate, source_rate=source_rate) as recording:
        return torch.cat(list(recording.blocks()))


def find_recordings(paths: Sequence[str | Path]) -> list[Path]:
    """List the recordings that files, folders and patterns stand for, as `Kind.find` does it.

    Raises:
        InputError: A path does not exist, or a folder or pattern has no recording.
    """
    return RECORDINGS.find(paths)


class Recording:
    """An open recording, of which only the parts asked for are in memory. Close it, or use it in a `with`."""

    def __init__(self, source: Source, *, rate: int) -> None:
        """Use `open` instead."""
        self.rate = rate
        """Samples a second (Hz) that `read` and `blocks` give."""
        self._source = source
        self._close = weakref.finalize(self, source.close)
        ratio = Fraction(source.rate, rate).limit_denominator(_FINEST)
        self._from, self._to = ratio.numerator, ratio.denominator  # so many samples become so many
        lower = min(self._from, self._to) * _ROLLOFF
        # source samples that a sample of the result depends on each way, in whole periods of the filter
        self._reach = math.ceil(math.ceil(_TAPS * self._from / lower) / self._from + 1) * self._from

    @classmethod
    def open(cls, source: AudioSource, *, rate: int = RATE, source_rate: int | None = None) -> "Recording":
        """Open a recording; the arguments and errors are those of `load_audio`."""
        for name, value in {"rate": rate, "source_rate": source_rate}.items():
            if value is not None and value < 1:
                raise InputError(f"`{name}` must be at least 1 Hz, but is {value} instead.")
        if isinstance(source, Tensor):
            source = source.detach().cpu().float().numpy() if source.is_floating_point() else source.cpu().numpy()
        if isinstance(source, np.ndarray):
            return cls(open_array(source, rate=source_rate or rate), rate=rate)
        if source_rate is not None:
            raise InputError(
                f"`source_rate` must be None where the source is a file, which says its rate, but is {source_rate} "
                "instead."
            )
        if isinstance(source, bytes):
            return cls(open_bytes(source, "the bytes"), rate=rate)
        if not isinstance(source, str | Path):
            raise InputError(
                f"`source` must be a path, bytes, an array or a tensor, but is of type {type(source).__name__} instead."
            )
        return cls(open_path(source), rate=rate)

    @property
    def name(self) -> str:
        """What to call it in a message."""
        return self._source.name

    @property
    def duration(self) -> float | None:
        """Seconds, as the file states them; None where it does not. A damaged file may end before."""
        return self._source.seconds

    def read(self, start: float, end: float) -> Float32[Tensor, " t"]:
        """The samples from one time to another, in seconds; fewer, or none, where the recording ends before.

        Raises:
            InputError: The file is damaged there.
        """
        first, last = round(max(start, 0.0) * self.rate), round(max(end, 0.0) * self.rate)
        if last <= first:
            return torch.zeros(0)
        # whole periods of the filter, with what it reaches into before and after
        begin = max(0, first // self._to * self._from - self._reach)
        stop = -(-last // self._to) * self._from + self._reach
        self._source.seek(begin)
        samples = self._resampled(self._mono(stop - begin, at=begin))
        offset = begin // self._from * self._to
        return samples[first - offset : last - offset].clone()

    def blocks(self, seconds: float = 30.0) -> Iterator[Float32[Tensor, " t"]]:
        """The whole recording in blocks of so many seconds, the last one shorter; together as if read at once.

        Raises:
            InputError: There are no samples, or the file is damaged.
        """
        # periods of the filter in a block, one at least
        periods = max(1, round(seconds * self.rate / self._to))
        size, reach = periods * self._from, self._reach
        self._source.seek(0)
        held = torch.zeros(0)  # what is read and still needed, from `begin` on
        begin = start = 0  # source samples; the next block starts at `start`
        while True:
            need = start + size + reach - begin - len(held)
            new = self._mono(need, at=begin + len(held))
            held = torch.cat([held, new])
            is_last = len(new) < need
            found = self._resampled(held)
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
        """Let go of the file."""
        self._close()

    def __enter__(self) -> "Recording":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _mono(self, count: int, *, at: int) -> Float32[Tensor, " s"]:
        """The next source samples, mixed; fewer at the end. `at` is where they are, for the error."""
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

    def _resampled(self, samples: Float32[Tensor, " s"]) -> Float32[Tensor, " t"]:
        """The samples at `rate`."""
        return resampled(samples, self._from, self._to)


def resampled(samples: Float32[Tensor, " s"], source: int, target: int) -> Float32[Tensor, " t"]:
    """Samples at the rate `target`, of such at the rate `source`; without a common factor, for the filter grows."""
    if source == target or len(samples) == 0:
        return samples
    return _resampler(source, target)(samples)


@lru_cache(maxsize=16)
def _resampler(source: int, target: int) -> Callable[[Tensor], Tensor]:
    import torchaudio.transforms  # takes seconds, and not every recording needs it

    return torchaudio.transforms.Resample(  # type: ignore[no-any-return]
        source, target, lowpass_filter_width=_TAPS, rolloff=_ROLLOFF
    )
