"""The preprocessing of a recording: samples to log-mel features, a model's input. `mel_settings` has its fields.

Dimensions: t = samples, frames = feature frames, one per hop.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor

from .mel_settings import DEPTH, FLOOR, MelSettings, Scale, mel_filters

__all__ = ["AudioPreprocessing", "Scale"]

_QUIET = 0.1  # the share of the frames that are background
_BACKGROUND = 3.0  # powers of ten below the loudest that a background has at most
_LEAST_STD = 1e-2  # in powers of ten, so that a nearly constant band is not amplified to noise


@dataclass(frozen=True)
class AudioPreprocessing(MelSettings):
    """Log-mel features of mono samples, as tensors.

    With `scale` "whisper" they equal Whisper's, for recordings of whole hops.

    Source: Radford et al. 2022, "Robust Speech Recognition via Large-Scale Weak Supervision", section 2.2;
    openai-whisper, audio.py.
    """

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
        return bands.clamp(min=FLOOR).log10().reshape(*samples.shape[:-1], self.mels, -1)

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
        found = torch.maximum(log_power, top - DEPTH)
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


def _quietest(
    log_power: Float[Tensor, "*rest mels frames"],
    kept: Bool[Tensor, "*rest 1 frames"],
    count: Int64[Tensor, "*rest 1 1"],
) -> Float[Tensor, "*rest mels 1"]:
    """Return the level in each band below which the quietest tenth of the frames lies."""
    ordered = torch.where(kept, log_power, torch.inf).sort(dim=-1).values
    place = (count * _QUIET).long().expand(*log_power.shape[:-1], 1)
    return ordered.gather(-1, place)


def _filters(rate: int, window: int, mels: int) -> Float32[Tensor, "mels bins"]:
    return torch.from_numpy(mel_filters(rate, window, mels))
