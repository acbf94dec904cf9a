"""The stems: pictures and recordings to tokens.

Notation: b batch, c channels, H and W the picture's height and width in pixels, p the patch size, n tokens ((H / p)
(W / p) of a picture), D width, t feature frames of a recording.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from ..checks import check_argument
from ..errors import ModelError

Count = TypeVar("Count", int, Tensor)
"""One number of frames, or a tensor of them."""


def check_divisible(height: int, width: int, patch: int) -> None:
    """Raise ModelError where a picture cannot be cut into whole patches."""
    if height % patch or width % patch or not height or not width:
        raise ModelError(
            f"the picture's height and width must be multiples of the patch size ({patch}), "
            f"but are {height} x {width} instead: resize it first"
        )


class PatchStem(nn.Module):
    """Cuts a picture into square patches and projects each. Source: Dosovitskiy et al. 2021, section 3.1."""

    def __init__(self, in_channels: int, dim: int, *, patch_size: int, bias: bool = True) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.proj = nn.Conv2d(in_channels, dim, kernel_size=patch_size, stride=patch_size, bias=bias)

    def forward(self, images: Float[Tensor, "b c H W"]) -> Float[Tensor, "b n D"]:
        """Return the tokens row by row."""
        check_divisible(images.shape[-2], images.shape[-1], self.patch_size)
        return self.proj(images.to(self.proj.weight.dtype)).flatten(2).transpose(1, 2)  # type: ignore[no-any-return]


class ConvStem(nn.Module):
    """3x3 convolutions that shrink the picture until a pixel is a patch, then a 1x1 convolution to the tokens' width.

    With few training pictures, a model learns much faster with it than with a `PatchStem`.
    Source: Xiao et al. 2021, "Early convolutions help transformers see better", section 4.

    Args:
        in_channels: Channels of the picture.
        dim: Width of the tokens.
        channels: Channels after each convolution.
        strides: Stride of each convolution, in pixels of its input; their product is the patch size.
    """

    def __init__(self, in_channels: int, dim: int, *, channels: Sequence[int], strides: Sequence[int]) -> None:
        super().__init__()
        must = f"one stride for each of {len(channels)} stages"
        check_argument(len(channels) == len(strides) > 0, "strides", must=must, value=strides)
        self.patch_size = math.prod(strides)
        self.stages = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False),
                    nn.BatchNorm2d(after),
                    nn.ReLU(inplace=True),
                )
                for (before, after), stride in zip(pairwise((in_channels, *channels)), strides, strict=True)
            )
        )
        self.proj = nn.Conv2d(channels[-1], dim, kernel_size=1)

    def forward(self, images: Float[Tensor, "b c H W"]) -> Float[Tensor, "b n D"]:
        """Return the tokens row by row."""
        check_divisible(images.shape[-2], images.shape[-1], self.patch_size)
        images = images.to(self.proj.weight.dtype)
        if self.training:  # a step of the compact ViT takes 0.8 times as long so
            images = images.contiguous(memory_format=torch.channels_last)
        return self.proj(self.stages(images)).flatten(2).transpose(1, 2)  # type: ignore[no-any-return]


class MelStem(nn.Module):
    """Two convolutions over time, each followed by GELU, that turn feature frames into tokens.

    Source: Radford et al. 2022 (Whisper), section 2.2, where the strides are 1 and 2.

    Args:
        mels: Features per frame.
        dim: Width of the tokens.
        strides: Stride of each convolution, in frames of its input.
    """

    def __init__(self, mels: int, dim: int, *, strides: tuple[int, int] = (1, 2)) -> None:
        super().__init__()
        self.strides = strides
        self.convs = nn.ModuleList(
            nn.Conv1d(before, dim, kernel_size=3, stride=stride, padding=1)
            for before, stride in zip((mels, dim), strides, strict=True)
        )

    def frames(self, count: Count) -> Count:
        """Return the number of tokens for a number of feature frames."""
        for stride in self.strides:
            count = (count + stride - 1) // stride
        return count

    def forward(
        self, features: Float[Tensor, "b c t"], *, lengths: Int64[Tensor, " b"] | None = None
    ) -> Float[Tensor, "b n D"]:
        """Return the tokens in the order of time.

        Args:
            features: Log-mel features of recordings.
            lengths: Feature frames of each recording. What follows counts as zero, as does what follows the batch, so
                that a recording's tokens do not depend on the others. Where None, all frames are used.
        """
        x = features.to(next(self.convs.parameters()).dtype)
        for conv, stride in zip(self.convs, self.strides, strict=True):
            if lengths is not None:
                attention_mask = torch.arange(x.shape[-1], device=x.device) < lengths[:, None]
                x = x.masked_fill(~attention_mask[:, None], 0.0)
                lengths = (lengths + stride - 1) // stride
            x = F.gelu(conv(x))
        return x.transpose(1, 2)
