"""What log-mel features are computed with, and the arrays that need no torch: the filters, and Whisper's features.

Dimensions: t = samples, frames = feature frames, one per hop.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Literal, TypeVar

import numpy as np
from jaxtyping import Float32
from numpy.lib.stride_tricks import sliding_window_view

from ..checks import check_choices, check_rules, require, require_fields
from ..errors import ModelError

Scale = Literal["whisper", "normalized"]
_Settings = TypeVar("_Settings", bound="MelSettings")

_MOST = {"sample_rate": 768_000, "window": 2**16, "hop": 2**16, "mels": 1024}
_MOST_SECONDS = 3600  # of a chunk that a model takes at once
_MOST_FRAMES = 2**20

FLOOR = 1e-10
"""The smallest power in a mel band, before the logarithm."""

DEPTH = 8.0
"""The dynamic range: values this many powers of ten below the loudest are raised to that level."""

_AT_ONCE = 2048  # frames


@dataclass(frozen=True)
class MelSettings:
    """Log-mel features of mono samples.

    With `scale` "whisper" they equal Whisper's, for recordings of whole hops.

    Source: Radford et al. 2022, "Robust Speech Recognition via Large-Scale Weak Supervision", section 2.2;
    openai-whisper, audio.py.
    """

    sample_rate: int = 16_000
    """Sampling rate of the model's input, in Hz."""
    window: int = 400
    """Samples of one Fourier transform."""
    hop: int = 160
    """Samples from one frame to the next."""
    mels: int = 80
    """Frequency bands, evenly spaced on Slaney's mel scale from 0 Hz to half the sampling rate."""
    scale: Scale = "whisper"
    """Scaling of the power in a band, after the logarithm to base ten, limited to 8 below the recording's maximum.
    "whisper" adds 4 and divides by 4, which keeps the recording's level; "normalized" gives each band mean 0 and
    standard deviation 1 over the recording, which removes it."""
    pad_to: float | None = 30.0
    """Seconds that a shorter recording is padded to with silence; no padding where None."""
    max_seconds: float = 30.0
    """Seconds of the longest chunk that the model takes at once."""
    background_seconds: float = 0.0
    """Of "normalized" only: so many seconds of background count for the mean and the standard deviation as if they
    stood beside the recording. The background of a band is its quietest tenth, or 30 dB below the recording's maximum
    where that is less. Without it, a word alone, with no pause around it, loses what its sounds have in common."""

    def __post_init__(self) -> None:
        """Raise ModelError where a field cannot be used."""
        for name, most in _MOST.items():
            number = getattr(self, name)
            # a published file may have any type
            holds = type(number) is int and 1 <= number <= most
            require(holds, name, must=f"a whole number from 1 to {most}", value=number)
        check_rules(
            self,
            ("hop", self.hop <= self.window, f"at most `window` ({self.window} samples)"),
            ("mels", self.mels <= self.window // 2, f"at most half of `window` ({self.window})"),
            error=ModelError,
        )
        check_choices(self, error=ModelError)
        background = self.background_seconds
        holds = type(background) in (int, float) and 0 <= background <= _MOST_SECONDS
        must = f"seconds from 0 to {_MOST_SECONDS}"
        if self.scale != "normalized":
            holds, must = background == 0, "0 unless `scale` is normalized"
        require(holds, "background_seconds", must=must, value=background)
        longest = self.max_seconds
        pad_to = longest if self.pad_to is None else self.pad_to
        for name, seconds in {"max_seconds": longest, "pad_to": pad_to}.items():
            holds = type(seconds) in (int, float) and math.isfinite(seconds) and seconds > 0
            require(holds, name, must="finite seconds above 0", value=seconds)
        require(longest <= _MOST_SECONDS, "max_seconds", must=f"at most {_MOST_SECONDS}", value=longest)
        require(pad_to <= longest, "pad_to", must=f"at most `max_seconds` ({longest})", value=pad_to)
        frames = self.frames(self.max_samples)
        must = f"of at most {_MOST_FRAMES} frames of `hop` ({self.hop} samples)"
        require(frames <= _MOST_FRAMES, "max_seconds", must=must, value=longest)

    @property
    def frame_seconds(self) -> float:
        """Seconds from one feature frame to the next."""
        return self.hop / self.sample_rate

    @property
    def max_samples(self) -> int:
        """Samples of the longest chunk that the model takes at once."""
        return round(self.max_seconds * self.sample_rate)

    def frames(self, samples: int) -> int:
        """Return the number of feature frames for a number of samples, before any padding; at least 1."""
        return max(1, -(-samples // self.hop))

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON has them."""
        return asdict(self)

    @classmethod
    def from_dict(cls: type[_Settings], data: Mapping[str, Any]) -> _Settings:
        """Invert `to_dict`; a missing field has its default.

        Raises:
            ModelError: A field is unknown or wrong.
        """
        require_fields(data, cls, "preprocessing")
        values = dict(data)
        for name in {"pad_to", "max_seconds"} & values.keys():
            values[name] = None if values[name] is None else float(values[name])
        if "scale" in values:
            values["scale"] = _FORMER_SCALES.get(values["scale"], values["scale"])
        return cls(**values)


_FORMER_SCALES = {"normalised": "normalized"}  # the spelling in directories from before November 2026


def log_power(settings: MelSettings, samples: Float32[np.ndarray, " t"]) -> Float32[np.ndarray, "mels frames"]:
    """Compute what `AudioPreprocessing.log_power` does, of one recording.

    Args:
        settings: How.
        samples: Mono samples from -1 to 1.
    """
    half, count = settings.window // 2, len(samples) // settings.hop
    padded = np.pad(samples, half, mode="reflect" if len(samples) > half else "constant")
    windows = sliding_window_view(padded, settings.window)[:: settings.hop][:count]  # (frames, window)
    shape = np.hanning(settings.window + 1)[:-1].astype(np.float32)
    bank = mel_filters(settings.sample_rate, settings.window, settings.mels)
    found = np.empty((settings.mels, count), np.float32)
    for first in range(0, count, _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        spectrum = np.fft.rfft(windows[part] * shape, axis=1)  # (frames, bins)
        power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
        found[:, part] = bank @ power.T
    return np.log10(found.clip(min=FLOOR))  # type: ignore[no-any-return]


def scaled(
    log_power: Float32[np.ndarray, "mels frames"], *, peak: float | None = None
) -> Float32[np.ndarray, "mels frames"]:
    """Compute what `AudioPreprocessing.scaled` does, of one recording with `scale` "whisper".

    Args:
        log_power: The recording's, or that of a window of it.
        peak: Maximum over the whole recording, where this is a window of it.
    """
    top = np.float32(log_power.max() if peak is None else peak)
    return (np.maximum(log_power, top - np.float32(DEPTH)) + 4) / 4  # type: ignore[no-any-return]


@lru_cache(maxsize=8)
def mel_filters(rate: int, window: int, mels: int) -> Float32[np.ndarray, "mels bins"]:
    """Return the weight of each frequency of the Fourier transform in each band: triangles of equal area.

    Computed in double precision, unlike torchaudio's `melscale_fbanks`, whose narrow bands differ by more than 1e-5
    after the logarithm.

    Source: Slaney 1998, "Auditory Toolbox", version 2, as librosa has it.
    """
    top = _to_mel(rate / 2)
    corners = _to_hertz(np.linspace(0.0, top, mels + 2))  # three in a row are start, peak and end of a band
    frequencies = np.linspace(0.0, rate / 2, window // 2 + 1)
    width = np.diff(corners)[:, None]
    distance = corners[:, None] - frequencies  # [mels + 2, bins]
    found = np.minimum(-distance[:-2] / width[:-1], distance[2:] / width[1:]).clip(min=0.0)
    found *= 2.0 / (corners[2:] - corners[:-2])[:, None]
    return found.astype(np.float32)


_LINEAR = 200 / 3  # Hz per mel, up to 1000 Hz
_LOG_FROM = 1000.0  # Hz; above, one mel is a constant factor
_LOG_STEP = math.log(6.4) / 27


def _to_mel(hertz: float) -> float:
    if hertz < _LOG_FROM:
        return hertz / _LINEAR
    return _LOG_FROM / _LINEAR + math.log(hertz / _LOG_FROM) / _LOG_STEP


def _to_hertz(mel: np.ndarray) -> np.ndarray:
    above = _LOG_FROM * np.exp(_LOG_STEP * (mel - _LOG_FROM / _LINEAR))
    return np.where(mel < _LOG_FROM / _LINEAR, mel * _LINEAR, above)
