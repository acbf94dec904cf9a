"""SpecAugment: masks random spans of mel bands and of time in training.

torchaudio has it too, but draws the spans over the padded length of a batch, so that some fall behind a recording's
end. Here every span lies inside its recording.

b recordings, t frames, k spans.
Source: Park et al. 2019, "SpecAugment", section 2; the share of the length: Park et al. 2020, "SpecAugment on Large
Scale Datasets", section 3.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from multiattn.checks import require, require_each


@dataclass(frozen=True)
class SpecAugment:
    """The masks on the features of each training recording. Set under `model.init_args.spec_augment`."""

    mel_masks: int = 2
    """Spans of mel bands."""

    mel_width: int = 27
    """Largest width of a span in bands; drawn from 0 to this."""

    time_masks: int = 2
    """Spans of time."""

    time_width: int = 100
    """Largest width of a span in feature frames (10 ms); drawn from 0 to this."""

    time_share: float = 0.2
    """Largest width of a span of time as a share of the recording."""

    def __post_init__(self) -> None:
        """Raise ModelError where a value is out of range."""
        require_each({name: getattr(self, name) for name in ("mel_masks", "mel_width", "time_masks", "time_width")})
        require(0 <= self.time_share <= 1, "time_share", must="from 0 to 1", value=self.time_share)


def spec_augment(
    features: Float[Tensor, "b mels t"], lengths: Int64[Tensor, " b"], settings: SpecAugment
) -> Float[Tensor, "b mels t"]:
    """Replace random spans of the features by the recording's mean, with torch's generator.

    Args:
        features: Features of each recording.
        lengths: Frames of each recording, without padding.
        settings: The masks.
    """
    mels, frames = features.shape[1:]
    inside = torch.arange(frames, device=features.device) < lengths[:, None]  # (b, t)
    count = (lengths * mels).clamp(min=1)
    mean = (features * inside[:, None]).sum(dim=(1, 2)) / count  # (b,)
    bands = torch.full_like(lengths, mels)
    width = (lengths * settings.time_share).long().clamp(max=settings.time_width)
    hidden_mels = _spans(bands, bands.clamp(max=settings.mel_width), count=settings.mel_masks, size=mels)  # (b, mels)
    hidden_times = _spans(lengths, width, count=settings.time_masks, size=frames)  # (b, t)
    hidden = (hidden_mels[:, :, None] & inside[:, None]) | hidden_times[:, None]  # (b, mels, t)
    return torch.where(hidden, mean[:, None, None], features)


def _spans(
    lengths: Int64[Tensor, " b"], widths: Int64[Tensor, " b"], *, count: int, size: int
) -> Bool[Tensor, "b size"]:
    """True in `count` random spans of each row, of widths from 0 to that row's, within its length."""
    draws = torch.rand(2, len(lengths), count, device=lengths.device)
    width = (draws[0] * (widths[:, None] + 1)).long()  # (b, k)
    start = (draws[1] * (lengths[:, None] - width + 1)).long()  # (b, k)
    positions = torch.arange(size, device=lengths.device)
    return ((positions >= start[..., None]) & (positions < (start + width)[..., None])).any(dim=1)
