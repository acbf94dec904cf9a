"""Level and noise of recordings: for clips that are joined, and for the augmentation in training. t = samples.

Random numbers come from the generator that is passed, and from nothing else.
"""

import math

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

_FAST = 4096  # samples; the Fourier transform of a multiple of it is quick, that of a prime number is not


def at_level(samples: Float32[Tensor, " t"], gain_db: float) -> Float32[Tensor, " t"]:
    """Make a recording louder by a gain in decibels, but no louder than full scale."""
    peak = float(samples.abs().max()) if len(samples) else 0.0
    factor: float = 10 ** (gain_db / 20)
    return samples * (min(factor, 1.0 / peak) if peak > 0 else factor)


def colored(count: int, rng: np.random.Generator, *, kind: str) -> Float32[Tensor, " t"]:
    """Make noise of mean power 1.

    Args:
        count: Samples.
        rng: The source of the random numbers.
        kind: `white`: the same power at all frequencies; `pink`: power per hertz that halves with each octave.
    """
    size = -(-count // _FAST) * _FAST
    white = rng.standard_normal(size, np.float32)
    if kind == "white":
        return torch.from_numpy(white[:count])
    spectrum = torch.fft.rfft(torch.from_numpy(white))
    spectrum /= torch.arange(len(spectrum)).clamp(min=1).sqrt()
    pink: Tensor = torch.fft.irfft(spectrum, size)[:count]
    return pink / pink.square().mean().sqrt().clamp(min=1e-12)


def with_noise(samples: Float32[Tensor, " t"], noise: Float32[Tensor, " t"], *, snr_db: float) -> Float32[Tensor, " t"]:
    """Add noise to a recording; silence stays silence.

    Args:
        samples: The recording.
        noise: Of the same length.
        snr_db: The mean power of the recording above that of the noise, in decibels.
    """
    signal_power, noise_power = (float(part.square().mean()) if len(part) else 0.0 for part in (samples, noise))
    if signal_power == 0 or noise_power == 0:
        return samples
    return samples + noise * math.sqrt(signal_power / noise_power / 10 ** (snr_db / 10))
