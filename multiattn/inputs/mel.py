"""The preprocessing of a recording: samples to log-mel features, a model's input.

Dimensions: t = samples, frames = feature frames, one per hop.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor

from ..checks import check_choices, check_rules, require, require_fields
from ..errors import ModelError

Scale = Literal["whisper", "normalized"]

_MOST = {"sample_rate": 768_000, "window": 2**16, "hop": 2**16, "mels": 1024}
_MOST_SECONDS = 3600  # of a chunk that a model takes at once
_MOST_FRAMES = 2**20
_FLOOR = 1e-10  # smallest power in a mel band, before the logarithm
_DEPTH = 8.0  # dynamic range: values this many powers of ten below the loudest are raised to that level
_QUIET = 0.1  # the share of the frames that are background
_BACKGROUND = 3.0  # powers of ten below the loudest that a background has at most
_LEAST_STD = 1e-2  # in powers of ten, so that a nearly constant band is not amplified to noise


@dataclass(frozen=True)
class AudioPreprocessing:
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

    def features(
        self, samples: Float[Tensor, "*rest t"], *, lengths: Sequence[int] | None = None
    ) -> Float32[Tensor, "*rest mels frames"]:
        """Compute the model's input.

        Args:
            samples: Mono samples from -1 to 1 at `sample_rate`; each recording of a batch is processed by itself. One
                that is shorter than `pad_to`, or ends within a hop, is padded with silence; nothing is cropped.
            lengths: Samples of each recording of a padded batch, so that each has the features it would have alone;
                all `t` where None.

        Returns:
            `frames(t)` frames, or those of `pad_to` where these are more. With `scale` "normalized", frames of padding
            are 0.
        """
        size = samples.shape[-1]
        total = self.frames(size)
        if self.pad_to is None:
            # so that the last frame has silence after it, and not the mirror image of the batch's longest recording
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
        """Compute the logarithm to base ten of the power in each band, unscaled, for each whole hop."""
        samples = samples.float()
        half = self.window // 2
        mode = "reflect" if samples.shape[-1] > half else "constant"  # a shorter recording cannot be mirrored
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
        """Clamp and scale the result of `log_power`.

        Args:
            log_power: One recording or a batch.
            num_frames: Frames of each recording without padding; all where None. Used by "normalized" only.
            peak: Maximum over the whole recording, where this is a window of it; the window's own where None.
        """
        top = log_power.amax(dim=(-2, -1), keepdim=True) if peak is None else log_power.new_tensor(peak)
        found = torch.maximum(log_power, top - _DEPTH)
        if self.scale == "whisper":
            return (found + 4.0) / 4.0
        count = torch.full(found.shape[:-2], found.shape[-1], device=found.device) if num_frames is None else num_frames
        count = count[..., None, None]  # [*rest, 1, 1]
        kept = torch.arange(found.shape[-1], device=found.device) < count  # [*rest, 1, frames]
        more = self.background_seconds / self.frame_seconds
        if not more:
            found = (found - (found * kept).sum(-1, keepdim=True) / count) * kept
            std = (found.square().sum(-1, keepdim=True) / count).sqrt()
            return found / std.clamp(min=_LEAST_STD)
        background = torch.minimum(_quietest(found, kept, count), top - _BACKGROUND)
        mean = ((found * kept).sum(-1, keepdim=True) + more * background) / (count + more)
        found, background = (found - mean) * kept, background - mean
        variance = (found.square().sum(-1, keepdim=True) + more * background.square()) / (count + more)
        return found / variance.sqrt().clamp(min=_LEAST_STD)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON has them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "AudioPreprocessing":
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


def _quietest(
    log_power: Float[Tensor, "*rest mels frames"],
    kept: Bool[Tensor, "*rest 1 frames"],
    count: Int64[Tensor, "*rest 1 1"],
) -> Float[Tensor, "*rest mels 1"]:
    """Return the level in each band below which the quietest tenth of the frames lies."""
    ordered = torch.where(kept, log_power, torch.inf).sort(dim=-1).values
    place = (count * _QUIET).long().expand(*log_power.shape[:-1], 1)
    return ordered.gather(-1, place)


_FORMER_SCALES = {"normalised": "normalized"}  # the spelling in directories from before November 2026


@lru_cache(maxsize=8)
def _filters(rate: int, window: int, mels: int) -> Float32[Tensor, "mels bins"]:
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
    return torch.from_numpy(found.astype(np.float32))


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
