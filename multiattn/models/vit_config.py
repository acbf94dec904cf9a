"""What a vision transformer is made of, and the ones that have a name."""

import math
from dataclasses import dataclass, replace
from typing import Literal

from ..blocks.activation import Activation
from .ranges import check_at_least, check_choices, check_epsilon, check_heads, check_image_size, check_shares


@dataclass(frozen=True)
class ViTConfig:
    """What a `ViT` is made of."""

    image_size: tuple[int, int] = (224, 224)
    """Height and width the positions were learned at, in pixels; other sizes run too."""

    patch_size: int = 16
    """Side of a patch, in pixels."""

    in_channels: int = 3
    num_classes: int = 1000
    """Width of the head; 0 for none, so that `forward` gives the pooled token."""

    dim: int = 192
    """Width of the tokens."""

    depth: int = 12
    """Number of blocks."""

    num_heads: int = 3
    mlp_dim: int = 768
    """Width inside the feedforward."""

    stem: Literal["patch", "conv"] = "patch"
    """`patch`: one linear map a patch. `conv`: 3x3 convolutions, which small data needs."""

    stem_channels: tuple[int, ...] = ()
    """Channels after each convolution of the `conv` stem."""

    stem_strides: tuple[int, ...] = ()
    """Step of each convolution of the `conv` stem; their product is the patch size."""

    stem_bias: bool = True
    """Whether the patch projection has a bias."""

    stem_norm: bool = False
    """Normalize the tokens before the first block, as CLIP does."""

    positions: Literal["learned", "sinusoidal", "sinusoidal_2d", "rotary_2d"] = "learned"
    position_prefix: bool = True
    """Whether the class token and the registers have rows of their own in the learned positions."""

    class_token: bool = True
    num_registers: int = 0
    """Extra tokens without a place in the picture. Source: Darcet et al. 2024."""

    pool: Literal["class", "mean"] = "class"
    """What the head reads: the class token, or the mean of the patches."""

    final_norm: bool = True
    """Normalize all tokens after the last block."""

    pool_norm: bool = False
    """Normalize the pooled token."""

    qkv_bias: bool = True
    qk_norm: bool = False
    """Normalize q and k per head. Source: Dehghani et al. 2023, section 2."""

    layer_scale: float | None = None
    """Start value of a learned factor on each branch. Source: Touvron et al. 2021."""

    activation: Activation = "gelu"
    norm_eps: float = 1e-6
    """Added to the variance in each LayerNorm."""

    dropout: float = 0.0
    """Share of each branch's results dropped in training."""

    attention_dropout: float = 0.0
    """Share of attention weights dropped in training."""

    stochastic_depth: float = 0.0
    """Probability that the last block's branches are dropped, in training; falls to 0 at the first."""

    def __post_init__(self) -> None:
        """Check that there can be such a model.

        Raises:
            ValueError: There can be none; the message names the field.
        """
        for name in ("image_size", "stem_channels", "stem_strides"):  # a list where it came from JSON or YAML
            object.__setattr__(self, name, tuple(getattr(self, name)))
        self._check_ranges()
        if self.pool == "class" and not self.class_token:
            raise ValueError("`class_token` must be true where `pool` is 'class', but is False instead.")
        if (self.stem == "conv") != bool(self.stem_channels):
            raise ValueError(
                f"`stem_channels` must name the stages of a conv stem and only of one, but is {self.stem_channels} "
                f"for the {self.stem} stem instead."
            )
        if self.stem == "conv" and math.prod(self.stem_strides) != self.patch_size:
            raise ValueError(
                f"`stem_strides` must multiply to `patch_size` ({self.patch_size}), but is {self.stem_strides} instead."
            )
        check_heads(self)
        # what the positions split the width into, or each head's width, where they turn its q and k
        parts = {"learned": 1, "sinusoidal": 2, "sinusoidal_2d": 4, "rotary_2d": 4 * self.num_heads}[self.positions]
        if self.dim % parts:
            raise ValueError(
                f"`dim` must be a multiple of {parts} for {self.positions} positions with {self.num_heads} heads, "
                f"but is {self.dim} instead."
            )

    def _check_ranges(self) -> None:
        """Check each field by itself."""
        check_choices(self)
        check_at_least(self, 1, ("patch_size", "in_channels", "dim", "depth", "num_heads", "mlp_dim"))
        check_at_least(self, 0, ("num_classes", "num_registers"))
        for name in ("stem_channels", "stem_strides"):
            if any(value < 1 for value in getattr(self, name)):
                raise ValueError(f"`{name}` must each be at least 1, but are {getattr(self, name)} instead.")
        check_image_size(self)
        check_epsilon(self)
        check_shares(self, ("dropout", "attention_dropout", "stochastic_depth"))


_SMALL = ViTConfig(dim=384, depth=12, num_heads=6, mlp_dim=1536)

PRESETS: dict[str, ViTConfig] = {
    "tiny": ViTConfig(),
    "small": _SMALL,
    "base": ViTConfig(dim=768, depth=12, num_heads=12, mlp_dim=3072),
    "large": ViTConfig(dim=1024, depth=24, num_heads=16, mlp_dim=4096),
    # Beyer et al. 2022, "Better plain ViT baselines": no class token, fixed positions
    "small_plain": replace(_SMALL, positions="sinusoidal_2d", class_token=False, pool="mean"),
    # Heo et al. 2024: keeps its accuracy at sizes it was not trained at
    "small_rope": replace(_SMALL, positions="rotary_2d"),
    # for 32 px pictures on a CPU, after Hassani et al. 2021 (compact transformers) with an early-convolution stem
    "compact": ViTConfig(
        image_size=(32, 32),
        patch_size=4,
        num_classes=10,
        dim=128,
        depth=3,
        num_heads=4,
        mlp_dim=256,
        stem="conv",
        stem_channels=(32, 64, 64, 128),
        stem_strides=(1, 2, 1, 2),
        positions="sinusoidal_2d",
    ),
}
"""The models one can ask for by name."""
