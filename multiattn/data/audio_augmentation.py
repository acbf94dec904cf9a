"""Random changes to training recordings. What is hidden of their features afterwards is the task's business.

Everything here draws from the generator that it is given and from nothing else. t = samples.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from ..checks import require
from ..errors import InputError
from ..inputs.audio import resampled

Noise = Literal["white", "pink", "babble"]

_FULL_SCALE = 1.0
_FAST = 4096  # samples; the Fourier transform of a multiple of it is quick, that of a prime number is not
_VOICES = (3, 7)  # that speak at once in babble, from and below


@dataclass(frozen=True)
class AudioAugmentation:
    """How training recordings are varied. Every value can be set in the YAML under `data.init_args.augmentation`."""

    speed: tuple[float, ...] = (0.9, 1.0, 1.1)
    """Each recording is played at one of these speeds, which changes its pitch, too."""

    gain_db: tuple[float, float] | None = (-10.0, 5.0)
    """Its level is changed by so many decibels, from and to; a peak above full scale is turned down to it."""

    noise: tuple[Noise, ...] = ("white", "pink")
    """One of these is mixed in: even at all pitches, stronger at low ones, or other recordings of the split, which
    have to be read for it."""

    noise_db: tuple[float, float] = (5.0, 40.0)
    """How far the recording's mean power lies above the noise's, in decibels, from and to."""

    noise_share: float = 0.5
    """Share of the recordings that get noise."""

    def __post_init__(self) -> None:
        """Raise InputError where a value is out of range."""
        good = bool(self.speed) and all(0.5 <= factor <= 2.0 for factor in self.speed)
        require(good, "speed", must="factors from 0.5 to 2", value=self.speed, error=InputError)
        for name in ("gain_db", "noise_db"):
            value = getattr(self, name)
            good = value is None or (len(value) == 2 and all(map(math.isfinite, value)) and value[0] <= value[1])
            require(good, name, must="two rising numbers", value=value, error=InputError)
        known = get_args(Noise)
        good = all(kind in known for kind in self.noise) and bool(self.noise or self.noise_share == 0)
        require(good, "noise", must=f"among {', '.join(known)}", value=self.noise, error=InputError)
        good = 0 <= self.noise_share <= 1
        require(good, "noise_share", must="from 0 to 1", value=self.noise_share, error=InputError)

    def __call__(
        self,
        samples: Float32[Tensor, " t"],
        rng: np.random.Generator,
        *,
        other: Callable[[np.random.Generator], Tensor],
        speed: float | None = None,
    ) -> Float32[Tensor, " s"]:
        """Vary one recording.

        Args:
            samples: The recording.
            rng: Where chance comes from.
            other: Draws another recording of the split, for babble.
            speed: Where it is given, not drawn.
        """
        drawn = float(rng.choice(np.asarray(self.speed)))
        samples = at_speed(samples, drawn if speed is None else speed)
        if rng.random() < self.noise_share:
            kind = self.noise[rng.integers(len(self.noise))]
            level = rng.uniform(*self.noise_db)
            noise = _babble(len(samples), rng, other) if kind == "babble" else colored(len(samples), rng, kind=kind)
            samples = with_noise(samples, noise, snr_db=level)
        if self.gain_db is not None:
            samples = at_level(samples, rng.uniform(*self.gain_db))
        return samples


def at_speed(samples: Float32[Tensor, " t"], factor: float) -> Float32[Tensor, " s"]:
    """The recording played `factor` times as fast."""
    ratio = Fraction(factor).limit_denominator(100)
    return resampled(samples, ratio.numerator, ratio.denominator)


def at_level(samples: Float32[Tensor, " t"], gain_db: float) -> Float32[Tensor, " t"]:
    """The recording so many decibels louder, but no louder than full scale."""
    peak = float(samples.abs().max()) if len(samples) else 0.0
    factor = 10 ** (gain_db / 20)
    return samples * (min(factor, _FULL_SCALE / peak) if peak > 0 else factor)


def colored(count: int, rng: np.random.Generator, *, kind: str) -> Float32[Tensor, " t"]:
    """Noise of mean power 1: white, or pink, whose power in a band of so many hertz halves with each octave."""
    size = -(-count // _FAST) * _FAST
    white = rng.standard_normal(size, np.float32)
    if kind == "white":
        return torch.from_numpy(white[:count])
    spectrum = torch.fft.rfft(torch.from_numpy(white))
    spectrum /= torch.arange(len(spectrum)).clamp(min=1).sqrt()
    pink = torch.fft.irfft(spectrum, size)[:count]
    return pink / pink.square().mean().sqrt().clamp(min=1e-12)


def with_noise(samples: Float32[Tensor, " t"], noise: Float32[Tensor, " t"], *, snr_db: float) -> Float32[Tensor, " t"]:
    """The recording with noise, above whose mean power its own lies by so many decibels; silence stays silence."""
    own, other = (float(part.square().mean()) if len(part) else 0.0 for part in (samples, noise))
    if own == 0 or other == 0:
        return samples
    return samples + noise * math.sqrt(own / other / 10 ** (snr_db / 10))


def _babble(
    count: int, rng: np.random.Generator, other: Callable[[np.random.Generator], Tensor]
) -> Float32[Tensor, " t"]:
    """Several other recordings at once, each from some place on and over and over."""
    found = torch.zeros(count)
    for _ in range(int(rng.integers(*_VOICES))):
        voice = other(rng)
        power = float(voice.square().mean()) if len(voice) else 0.0
        if power == 0:
            continue
        voice = voice.roll(int(rng.integers(len(voice))))
        found += voice.repeat(-(-count // len(voice)))[:count] / math.sqrt(power)
    return found
