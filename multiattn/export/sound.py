"""A recording in figures and pages: its waveform, its log-mel spectrogram, and the sound itself as a data URI."""

import io
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Float32, UInt8

from ..checks import check_argument
from .html import base64_of

_DEPTH = 6.0
"""Powers of ten below the loudest point at which the spectrogram is black."""

_MELS = 80

_BLOCK_SECONDS = 30.0
"""Length of sound that is processed at once: the spectrum of a long recording is never in memory as a whole."""

_EXACT_SECONDS = 300.0
"""A recording up to this long is embedded as FLAC, without loss; a longer one as Opus, a tenth of the size."""

_OPUS_RATES = (8_000, 12_000, 16_000, 24_000, 48_000)  # Hz


def check_sound(samples: np.ndarray, rate: int) -> None:
    """Raise ValueError unless `samples` is a mono recording of finite numbers, at least one, and `rate` is usable."""
    if samples.ndim != 1 or not len(samples) or not np.issubdtype(samples.dtype, np.floating):
        raise ValueError(
            "`samples` must be a mono recording of floating numbers, at least one, "
            f"but has shape {samples.shape} and type {samples.dtype} instead."
        )
    if not np.isfinite(samples).all():
        raise ValueError("`samples` must be finite, but holds NaN or infinity.")
    check_argument(
        type(rate) is int and rate >= 1000, "rate", must="a whole number of samples a second from 1000", value=rate
    )


def log_mel_picture(samples: Float[np.ndarray, " t"], *, rate: int) -> Iterator[UInt8[np.ndarray, "mels frames"]]:
    """Yield the log-mel spectrogram, 0 (quiet) to 255 (the loudest point), high pitch on top, 100 frames a second.

    Yields:
        Blocks of half a minute; the last one has the rest, in whole frames.
    """
    import torch

    from ..inputs.mel import AudioPreprocessing

    hop = rate // 100
    window = 5 * hop // 2
    shape = AudioPreprocessing(sample_rate=rate, window=window, hop=hop, mels=min(_MELS, window // 4))
    size = round(_BLOCK_SECONDS * 100) * hop
    tail = -len(samples) % hop
    blocks = []
    for start in range(0, len(samples), size):
        # with the samples on both sides that the first and the last window overlap
        before = min(start, 2 * hop)
        after = 2 * hop if start + size < len(samples) else tail
        part = torch.zeros(before + min(size, len(samples) - start) + after)
        known = samples[start - before : start - before + len(part)]
        part[: len(known)] = torch.from_numpy(known.astype(np.float32))
        power = shape.log_power(part).numpy()[:, before // hop :]
        blocks.append(power[:, : size // hop].astype(np.float16))
    peak = max(float(block.max()) for block in blocks)
    for block in blocks:
        share = (block.astype(np.float32) - (peak - _DEPTH)) / _DEPTH
        yield np.round(255 * np.clip(share[::-1], 0, 1)).astype(np.uint8)


def envelope(samples: Float[np.ndarray, " t"], columns: int) -> Float32[np.ndarray, "2 {columns}"]:
    """Return the lowest and highest sample in each of `columns` equal stretches, relative to the loudest sample."""
    edges = np.linspace(0, len(samples), columns + 1).astype(np.int64)
    starts = np.minimum(edges[:-1], len(samples) - 1)  # fewer samples than columns: some are repeated
    loudest = float(np.abs(samples).max()) or 1.0
    lowest, highest = np.minimum.reduceat(samples, starts), np.maximum.reduceat(samples, starts)
    return (np.stack([lowest, highest]) / loudest).astype(np.float32)


def sound_uri(samples: Float[np.ndarray, " t"], *, rate: int) -> str:
    """Return the recording as a data URI that a browser plays: FLAC, or Opus if it is longer than five minutes."""
    import soundfile

    opus = len(samples) > _EXACT_SECONDS * rate and rate in _OPUS_RATES
    file = io.BytesIO()
    kind, subtype = ("OGG", "OPUS") if opus else ("FLAC", "PCM_16")
    size = round(_BLOCK_SECONDS * rate)
    with soundfile.SoundFile(file, "w", samplerate=rate, channels=1, format=kind, subtype=subtype) as sound:
        for start in range(0, len(samples), size):
            sound.write(np.clip(samples[start : start + size], -1.0, 1.0))
    return f"data:audio/{'ogg' if opus else 'flac'};base64,{base64_of(file.getvalue())}"
