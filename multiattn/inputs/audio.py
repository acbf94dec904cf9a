"""Loading a recording from a path, bytes, an array or a tensor, as mono samples at a given sampling rate.

Dimensions: t = samples at that rate.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float32
from torch import Tensor

from .files import RECORDINGS
from .sound import RATE, AudioSource, Sound

__all__ = ["RATE", "AudioSource", "Recording", "find_recordings", "load_audio"]


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
        blocks = list(recording.blocks())
        if not blocks:
            raise recording.empty()
        return torch.cat(blocks)


def find_recordings(paths: Sequence[str | Path]) -> list[Path]:
    """List the recordings that files, folders and patterns stand for, as `Kind.find` does.

    Raises:
        InputError: A path does not exist, or a folder or pattern has no recording.
    """
    return RECORDINGS.find(paths)


class Recording(Sound[Tensor]):
    """A recording whose samples are tensors (t,) in float32."""

    _as_samples = staticmethod(torch.from_numpy)
