"""SpecAugment: spans of bands and of time are hidden in training, so that no single one is relied on.

torchaudio has it too, but draws the places over the padded length of a batch: what falls behind a recording's end
hides nothing. Here every span lies inside of its recording.

b recordings, t frames, k spans.
Source: Park et al. 2019, "SpecAugment", section 2; the share of the length: Park et al. 2020, "SpecAugment on Large
Scale Datasets", section 3.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from multiattn.checks import require


@dataclass(frozen=True)
class SpecAugment:
    """What is hidden of the features of each training recording. No width of 0 hides anything."""

    mel_masks: int = 2
    """Spans of mel bands."""

    mel_width: int = 27
    """Bands a span has at most; its width is drawn from 0 to this."""

    time_masks: int = 2
    """Spans of time."""

    time_width: int = 100
    """Feature frames (10 ms) a span has at most; its width is drawn from 0 to this."""

    time_share: float = 0.2
    """Of the recording's frames, that a span of time has at most."""

    def __post_init__(self) -> None:
        """Raise ModelError where a value is out of range."""
        for name in ("mel_masks", "mel_width", "time_masks", "time_width"):
            require(getattr(self, name) >= 0, name, must="at least 0", value=getattr(self, name))
        require(0 <= self.time_share <= 1, "time_share", must="from 0 to 1", value=self.time_share)


def spec_augment(
    features: Float[Tensor, "b mels t"], lengths: Int64[Tensor, " b"], settings: SpecAugment
) -> Float[Tensor, "b mels t"]:
    """The features with spans that are their recording's mean; drawn by torch's generator.

    Args:
        features: Of each recording, by time.
        lengths: Frames of each that are not padding.
        settings: How much.
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
    """True in `count` spans of each row: of widths from 0 to that row's, at places within its length."""
    draws = torch.rand(2, len(lengths), count, device=lengths.device)
    width = (draws[0] * (widths[:, None] + 1)).long()  # (b, k)
    start = (draws[1] * (lengths[:, None] - width + 1)).long()  # (b, k)
    places = torch.arange(size, device=lengths.device)
    return ((places >= start[..., None]) & (places < (start + width)[..., None])).any(dim=1)
