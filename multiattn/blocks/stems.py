"""Pictures to tokens.

Notation: b batch, c channels, H and W the picture's height and width in pixels, n = (H / p) (W / p) tokens, D width.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from ..errors import ModelError


def check_divisible(height: int, width: int, patch: int) -> None:
    """Raise where a picture cannot be cut into whole patches."""
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
        """Tokens row by row."""
        check_divisible(images.shape[-2], images.shape[-1], self.patch_size)
        return self.proj(images).flatten(2).transpose(1, 2)  # type: ignore[no-any-return]


class ConvStem(nn.Module):
    """3x3 convolutions that shrink the picture until a pixel is a patch, then a 1x1 to the width of the blocks.

    Small data learns much faster through it than through patches.
    Source: Xiao et al. 2021, "Early convolutions help transformers see better", section 4.

    Args:
        in_channels: Channels of the picture.
        dim: Width of the tokens.
        channels: Channels after each convolution.
        strides: Step of each convolution, in pixels of what it reads; their product is the patch size.
    """

    def __init__(self, in_channels: int, dim: int, *, channels: Sequence[int], strides: Sequence[int]) -> None:
        super().__init__()
        if len(channels) != len(strides) or not channels:
            raise ValueError(
                f"`strides` must name one step for each of {len(channels)} stages, but is {strides} instead."
            )
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
        """Tokens row by row."""
        check_divisible(images.shape[-2], images.shape[-1], self.patch_size)
        return self.proj(self.stages(images)).flatten(2).transpose(1, 2)  # type: ignore[no-any-return]
