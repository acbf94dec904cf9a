"""A recording to a model's input: log-mel features, a picture of time and pitch.

Dimensions: t = samples, frames = feature frames, one each hop.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from typing import Any, Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from ..errors import ModelError

Scale = Literal["whisper", "normalized"]

_FLOOR = 1e-10  # of the power in a mel band, before the logarithm
_DEPTH = 8.0  # what lies so many powers of ten below the loudest point is raised to there
_LEAST_STD = 1e-2  # in powers of ten: a band that hardly changes is not blown up to noise


@dataclass(frozen=True)
class AudioPreprocessing:
    """Log-mel features of mono samples.

    With `scale` "whisper" equal to Whisper's, for recordings of whole hops.

    Source: Radford et al. 2022, "Robust Speech Recognition via Large-Scale Weak Supervision", section 2.2;
    openai-whisper, audio.py.
    """

    sample_rate: int = 16_000
    """Samples a second (Hz) that the model hears."""
    window: int = 400
    """Samples of one Fourier transform."""
    hop: int = 160
    """Samples from one frame to the next."""
    mels: int = 80
    """Bands of pitch, evenly spaced on Slaney's mel scale from 0 Hz to half the sample rate."""
    scale: Scale = "whisper"
    """What is done to the logarithm to base ten of the power in a band. Both raise what lies 8 below the loudest point
    of the recording. "whisper" then adds 4 and divides by 4, so that the level of the recording remains;
    "normalized" makes each band's mean 0 and standard deviation 1 over the recording, so that it does not."""
    pad_to: float | None = 30.0
    """Seconds that a shorter recording is filled up to with silence; None leaves it as long as it is."""
    max_seconds: float = 30.0
    """Seconds of the longest piece that the model takes at once."""

    def __post_init__(self) -> None:
        """Raise ModelError where a field cannot be used."""
        problem = _problem(asdict(self))
        if problem:
            raise ModelError(problem)

    @property
    def frame_seconds(self) -> float:
        """Seconds from one feature frame to the next."""
        return self.hop / self.sample_rate

    @property
    def max_samples(self) -> int:
        """Samples of the longest piece that the model takes at once."""
        return round(self.max_seconds * self.sample_rate)

    def frames(self, samples: int) -> int:
        """Feature frames that hold something of so many samples, before any padding; at least 1."""
        return max(1, -(-samples // self.hop))

    def features(
        self, samples: Float[Tensor, "*rest t"], *, lengths: Sequence[int] | None = None
    ) -> Float32[Tensor, "*rest mels frames"]:
        """The model's input.

        Args:
            samples: Mono, from -1 to 1, at `sample_rate`; each of several is looked at by itself. What is shorter than
                `pad_to`, or ends within a hop, is filled up with silence; nothing is cut.
            lengths: Samples of each of several recordings, which are filled up with zeros to the longest; all `t` where
                None. So each gets what it would get alone.

        Returns:
            `frames(t)` frames, or those of `pad_to` where they are more. With `scale` "normalized", the frames that
            only pad are 0.
        """
        size = samples.shape[-1]
        total = self.frames(size)
        if self.pad_to is None:
            # so that the last frame sees silence, and not the mirror image of what only the longest of several has
            tail = -(-self.window // 2 // self.hop) * self.hop
        else:
            total, tail = max(total, self.frames(round(self.pad_to * self.sample_rate))), 0
        padded = F.pad(samples.float(), (0, total * self.hop + tail - size))
        if lengths is None:
            num_frames = torch.full(samples.shape[:-1], self.frames(size), device=samples.device)
        else:
            num_frames = torch.tensor([self.frames(length) for length in lengths], device=samples.device)
        return self.scaled(self.log_power(padded)[..., :total], num_frames=num_frames)

    def log_power(self, samples: Float[Tensor, "*rest t"]) -> Float32[Tensor, "*rest mels frames"]:
        """The logarithm to base ten of the power in each band, without clamp and scale, of the whole hops there are."""
        samples = samples.float()
        half = self.window // 2
        mode = "reflect" if samples.shape[-1] > half else "constant"  # a shorter one cannot be mirrored at its ends
        flat = F.pad(samples.reshape(-1, samples.shape[-1]), (half, half), mode=mode)  # [rest, t + window]
        shape = torch.hann_window(self.window, device=samples.device)
        spectrum = torch.stft(flat, self.window, self.hop, window=shape, center=False, return_complex=True)
        power = spectrum[..., : samples.shape[-1] // self.hop].abs().square()  # [rest, window // 2 + 1, frames]
        bands = _filters(self.sample_rate, self.window, self.mels).to(samples.device) @ power
        return bands.clamp(min=_FLOOR).log10().reshape(*samples.shape[:-1], self.mels, -1)

    def scaled(
        self,
        log_power: Float[Tensor, "*rest mels frames"],
        *,
        num_frames: Int64[Tensor, "*rest"] | None = None,
        peak: float | None = None,
    ) -> Float32[Tensor, "*rest mels frames"]:
        """Clamp and scale what `log_power` gave.

        Args:
            log_power: Of one recording or several.
            num_frames: Frames of each that do not only pad; all where None. Only "normalized" asks.
            peak: The highest value of the recording that this is a window of; its own where None.
        """
        top = log_power.amax(dim=(-2, -1), keepdim=True) if peak is None else log_power.new_tensor(peak)
        found = torch.maximum(log_power, top - _DEPTH)
        if self.scale == "whisper":
            return (found + 4.0) / 4.0
        count = torch.full(found.shape[:-2], found.shape[-1], device=found.device) if num_frames is None else num_frames
        count = count[..., None, None]  # [*rest, 1, 1]
        kept = torch.arange(found.shape[-1], device=found.device) < count  # [*rest, 1, frames]
        found = (found - (found * kept).sum(-1, keepdim=True) / count) * kept
        std = (found.square().sum(-1, keepdim=True) / count).sqrt()
        return found / std.clamp(min=_LEAST_STD)

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON has them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "AudioPreprocessing":
        """The inverse of `to_dict`; what is not given has its default.

        Raises:
            ModelError: A field is unknown or wrong.
        """
        known = [field.name for field in fields(cls)]
        unknown = sorted(set(data) - set(known))
        if unknown:
            raise ModelError(
                f"`preprocessing` must have only {', '.join(known)}, but has `{'`, `'.join(unknown)}` instead."
            )
        values: dict[str, Any] = {field.name: field.default for field in fields(cls)} | dict(data)
        values["scale"] = _FORMER_SCALES.get(values["scale"], values["scale"])
        problem = _problem(values)
        if problem:
            raise ModelError(problem)
        for name in _SECONDS:
            values[name] = None if values[name] is None else float(values[name])
        return cls(**values)


_FORMER_SCALES = {"normalised": "normalized"}  # as directories before November 2026 spell it
_SECONDS = ("pad_to", "max_seconds")


def _problem(values: Mapping[str, Any]) -> str:
    """What is wrong with the fields of an `AudioPreprocessing`; empty when nothing is."""
    for name in ("sample_rate", "window", "hop", "mels"):
        if type(values[name]) is not int or values[name] < 1:
            return f"`{name}` must be a whole number of at least 1, but is {values[name]!r} instead."
    window, pad_to, max_seconds = (values[name] for name in ("window", *_SECONDS))
    if values["hop"] > window:
        return f"`hop` must be at most `window` ({window} samples), but is {values['hop']} instead."
    if values["mels"] > window // 2:
        return f"`mels` must be at most half of `window` ({window}), but is {values['mels']} instead."
    if values["scale"] not in get_args(Scale):
        return f"`scale` must be one of {', '.join(get_args(Scale))}, but is {values['scale']!r} instead."
    for name, value in {"max_seconds": max_seconds, "pad_to": max_seconds if pad_to is None else pad_to}.items():
        if type(value) not in (int, float) or not (math.isfinite(value) and value > 0):
            return f"`{name}` must be finite seconds above 0, but is {value!r} instead."
    if pad_to is not None and pad_to > max_seconds:
        return f"`pad_to` must be at most `max_seconds` ({max_seconds}), but is {pad_to} instead."
    return ""


@lru_cache(maxsize=8)
def _filters(rate: int, window: int, mels: int) -> Float32[Tensor, "mels bins"]:
    """The share of each frequency of the Fourier transform in each band: triangles of the same area.

    In double precision: torchaudio's `melscale_fbanks` is not, and its narrow bands are off by more than 1e-5 once the
    logarithm is taken.

    Source: Slaney 1998, "Auditory Toolbox", version 2, as librosa has it.
    """
    top = _to_mel(rate / 2)
    corners = _to_hertz(np.linspace(0.0, top, mels + 2))  # lower end, peak and upper end of a band are three in a row
    frequencies = np.linspace(0.0, rate / 2, window // 2 + 1)
    width = np.diff(corners)[:, None]
    distance = corners[:, None] - frequencies  # [mels + 2, bins]
    found = np.minimum(-distance[:-2] / width[:-1], distance[2:] / width[1:]).clip(min=0.0)
    found *= 2.0 / (corners[2:] - corners[:-2])[:, None]
    return torch.from_numpy(found.astype(np.float32))


_LINEAR = 200 / 3  # Hz a mel, up to 1000 Hz
_LOG_FROM = 1000.0  # Hz; above, each mel is a constant factor
_LOG_STEP = math.log(6.4) / 27


def _to_mel(hertz: float) -> float:
    if hertz < _LOG_FROM:
        return hertz / _LINEAR
    return _LOG_FROM / _LINEAR + math.log(hertz / _LOG_FROM) / _LOG_STEP


def _to_hertz(mel: np.ndarray) -> np.ndarray:
    above = _LOG_FROM * np.exp(_LOG_STEP * (mel - _LOG_FROM / _LINEAR))
    return np.where(mel < _LOG_FROM / _LINEAR, mel * _LINEAR, above)
