"""Random changes to training recordings; SpecAugment, which hides parts of their features, belongs to the task.

Random numbers come from the generator that is passed, and from nothing else. t, s = samples.
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

from multiattn.checks import require
from multiattn.data.noise import at_level, colored, with_noise
from multiattn.errors import InputError
from multiattn.inputs.resampling import resampled

Noise = Literal["white", "pink", "babble"]

_VOICES = (3, 7)  # babble has at least 3 voices and fewer than 7


@dataclass(frozen=True)
class AudioAugmentation:
    """How training recordings are varied. Every value can be set in the YAML under `data.init_args.augmentation`."""

    speed: tuple[float, ...] = (0.9, 1.0, 1.1)
    """Each recording is played at one of these speeds, which changes its pitch, too."""

    gain_db: tuple[float, float] | None = (-10.0, 5.0)
    """Lowest and highest change of its level in decibels; a peak above full scale is turned down to it."""

    noise: tuple[Noise, ...] = ("white", "pink")
    """One of these is added: `white` (even at all pitches), `pink` (stronger at low ones), or `babble` (other
    recordings of the split, which must be read for it)."""

    noise_db: tuple[float, float] = (5.0, 40.0)
    """Lowest and highest ratio of the recording's mean power to the noise's, in decibels."""

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
            rng: The source of the random numbers.
            other: Draws another recording of the split, for babble.
            speed: The speed to use instead of the one that is drawn.
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
    """Play a recording `factor` times as fast."""
    ratio = Fraction(factor).limit_denominator(100)
    if ratio == 1:
        return samples
    return torch.from_numpy(resampled(samples.numpy(), ratio.numerator, ratio.denominator))


def _babble(
    count: int, rng: np.random.Generator, other: Callable[[np.random.Generator], Tensor]
) -> Float32[Tensor, " t"]:
    """Mix several other recordings at equal power, each from a random position on and repeated."""
    found = torch.zeros(count)
    for _ in range(int(rng.integers(*_VOICES))):
        voice = other(rng)
        power = float(voice.square().mean()) if len(voice) else 0.0
        if power > 0:
            voice = voice.roll(int(rng.integers(len(voice))))
            found += voice.repeat(-(-count // len(voice)))[:count] / math.sqrt(power)
    return found
