"""The configuration of a vision transformer, and the presets.

Source of each field that departs from Dosovitskiy et al. 2021: its own line.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

from ..attention import Resampling
from ..blocks import Activation, Norm
from ..checks import check_at_least, check_rules
from .common import check_image_size, check_transformer
from .long_inputs import AttentionKind, check_long_inputs


@dataclass(frozen=True)
class ViTConfig:
    """Configuration of a `ViT`."""

    image_size: tuple[int, int] = (224, 224)
    """Height and width that the positions were learned at, in pixels; other sizes work too."""

    patch_size: int = 16
    """Side of a patch, in pixels."""

    in_channels: int = 3
    num_classes: int = 1000
    """Width of the head; 0 for no head, so that `forward` returns the pooled token."""

    dim: int = 192
    """Width of the tokens."""

    depth: int = 12
    """Number of blocks."""

    num_heads: int = 3
    mlp_dim: int = 768
    """Width inside the feedforward."""

    stem: Literal["patch", "conv"] = "patch"
    """`patch`: one linear map per patch. `conv`: 3x3 convolutions, which learn better from few pictures."""

    stem_channels: tuple[int, ...] = ()
    """Channels after each convolution of the `conv` stem."""

    stem_strides: tuple[int, ...] = ()
    """Stride of each convolution of the `conv` stem; their product is the patch size."""

    stem_bias: bool = True
    """Whether the patch projection has a bias."""

    stem_norm: bool = False
    """Normalize the tokens before the first block, as CLIP does."""

    patch_norm: bool = False
    """Normalize each patch before positions are added, as AIMv2 does."""

    positions: Literal["learned", "sinusoidal", "sinusoidal_2d", "rotary_2d", "learned_rotary_2d", "none"] = "learned"
    """What is added to the patches, or rotates q and k, or both; `none` with a `relative_bias` alone, for instance."""

    position_prefix: bool | Literal["class"] = True
    """Whether the class token and the registers have rows of their own in the learned positions; `class`: only the
    class token, as in DINOv2."""

    resampling: Resampling = "bicubic"
    """How learned positions are resampled for a picture of another size than `image_size`."""

    rotary: Literal["axial", "centered", "mixed"] = "axial"
    """How rotary positions count: `axial` by row and column, half of the frequencies each; `centered` from one edge to
    the other, as in DINOv3; `mixed` by learned frequencies of both.
    Source of the last: Heo et al. 2024, section 3.2."""

    rotary_period: float = 100.0
    """The longest wavelength is 2 pi times this many patches; for `mixed` where training starts."""

    rotary_offset: float = 0.0
    """Added to the row and the column of a patch, which count from 0; `axial` only."""

    rotary_grid: tuple[int, int] | None = None
    """Rows and columns that those of a picture are scaled to; `axial` only, not scaled where None."""

    rotary_order: Literal["rows", "columns"] = "rows"
    """Which of the two has the first half of the frequencies."""

    rotary_pairs: Literal["halves", "neighbors"] = "halves"
    """The channels of a head that are rotated together: i and i + d / 2, or 2 i and 2 i + 1."""

    relative_bias: Literal["none", "block", "shared"] = "none"
    """A learned bias of each head's scores for the distance of two patches, in each block or the same in all.
    Source: Bao et al. 2022 (BEiT), section 2.5."""

    class_token: bool = True
    num_registers: int = 0
    """Extra tokens that belong to no patch. Source: Darcet et al. 2024."""

    distilled: bool = False
    """A second class token, which learned from a teacher; the head reads both. Source: Touvron et al. 2021 (DeiT)."""

    pool: Literal["class", "mean", "class_mean", "attention"] = "class"
    """What the head reads: the class token, the mean of the patches, the one followed by the other, as in DINOv2, or
    what a learned query attends to in the patches, as in SigLIP.
    Source of the last: Zhai et al. 2022, "Scaling vision transformers", section 3.2."""

    pool_prefix: bool = False
    """Whether the mean, or the learned query, also covers the class token and the registers."""

    pool_heads: int | None = None
    """Number of heads of the learned query's attention; `num_heads` where None."""

    pool_mlp_dim: int | None = None
    """Width inside the feedforward after the learned query's attention; `mlp_dim` where None."""

    final_norm: bool = True
    """Normalize all tokens after the last block."""

    pool_norm: bool = False
    """Normalize the pooled token."""

    num_kv_heads: tuple[int, ...] = ()
    """Number of heads of k and v in each block, where they are not as many as those of q.
    Source: Ainslie et al. 2023, "GQA", section 2.2."""

    qkv_bias: bool = True
    qk_norm: bool = False
    """Normalize q and k per head. Source: Dehghani et al. 2023, section 2."""

    layer_scale: float | None = None
    """Start value of a learned factor on each branch; no factor where None. Source: Touvron et al. 2021."""

    scale_feedforward: bool = True
    """Whether the feedforward has such factors, too, and not the attention alone."""

    activation: Activation = "gelu"
    gated: bool = False
    """Whether the feedforward has a gate: SwiGLU with the activation `silu`. Source: Shazeer 2020."""

    branch_bias: bool = True
    """Whether the last projection of each attention, and the feedforward, have a bias."""

    attention_norm: bool = False
    """Normalize what the heads have mixed, before the last projection. Source: Wang et al. 2022, "Foundation
    transformers" (sub-LN)."""

    mlp_norm: bool = False
    """Normalize the hidden values of the feedforward. Source: the same."""

    attention: AttentionKind = "full"
    """What a token attends to: `full`: all tokens; `window`: those within `window`, and the global ones; `lsh`: those
    whose hashes are near its own. The cost of the last two grows with the number of tokens, not with its square."""

    window: int | None = None
    """Tokens that a token attends to on each side, in the order of the tokens: row by row."""

    dilation: int = 1
    """Attend to every so many-th token of the window alone, which then reaches as many times as far."""

    global_tokens: int = 0
    """The first so many tokens, which attend to all and are attended to by all: the class token and registers come
    first."""

    lsh_chunk: int = 64
    """Tokens that are compared with each other, and with as many before them, once sorted by hash."""

    lsh_rounds: int = 2
    """Rounds of hashing: more find more of the tokens that matter, at a cost that grows with them."""

    reversible: bool = False
    """Whether a training step computes the tokens between the blocks again, so that its memory does not grow with the
    depth. The blocks then run on two streams of tokens. Source: Reformer (Kitaev et al. 2020), section 3."""

    norm: Norm = "layer"
    norm_eps: float = 1e-6
    """Added to the variance, or the mean square, in each norm."""

    dropout: float = 0.0
    """Share of each branch's output dropped in training."""

    attention_dropout: float = 0.0
    """Share of attention weights dropped in training."""

    stochastic_depth: float = 0.0
    """Probability that the last block's branches are dropped, in training; falls to 0 at the first."""

    def __post_init__(self) -> None:
        """Check that such a model can be built.

        Raises:
            ValueError: It cannot; the message names the field.
        """
        # lists where they came from JSON or YAML
        for name in ("image_size", "stem_channels", "stem_strides", "num_kv_heads", "rotary_grid"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, tuple(getattr(self, name)))
        check_transformer(self, shares=("dropout", "attention_dropout", "stochastic_depth"))
        check_at_least(self, 1, ("patch_size", "in_channels"))
        check_at_least(self, 0, ("num_classes", "num_registers"))
        check_at_least(self, 1, [name for name in ("pool_heads", "pool_mlp_dim") if getattr(self, name) is not None])
        check_image_size(self)
        check_long_inputs(self)
        has_conv, channels, strides = self.stem == "conv", self.stem_channels, self.stem_strides
        # the positions split the width into so many parts, or, where they rotate q and k, the width of each head
        rotated = 4 * self.num_heads
        parts = {"sinusoidal": 2, "sinusoidal_2d": 4, "rotary_2d": rotated, "learned_rotary_2d": rotated}
        part = parts.get(self.positions, 1)
        reads = (0 if self.pool in ("mean", "attention") else 1) + self.distilled  # tokens that must see the whole
        tokens = math.prod(side // self.patch_size for side in self.image_size) + self.class_token + self.distilled
        check_rules(
            self,
            (
                "global_tokens",
                self.attention != "window" or reads <= self.global_tokens <= tokens + self.num_registers,
                f"from {reads} (the tokens that the head reads) to {tokens + self.num_registers}",
            ),
            ("stem_channels", min(channels, default=1) >= 1, "at least 1 each"),
            ("stem_strides", min(strides, default=1) >= 1, "at least 1 each"),
            (
                "class_token",
                self.class_token or self.pool in ("mean", "attention"),
                f"true where `pool` is {self.pool!r}",
            ),
            (
                "position_prefix",
                self.class_token or self.position_prefix != "class",
                "true or false where there is no `class_token`",
            ),
            (
                "relative_bias",
                self.relative_bias == "none" or not (self.attention == "lsh" or self.reversible),
                "'none' with `lsh` attention or reversible blocks",
            ),
            ("rotary", self.rotary != "mixed" or not self.reversible, "the same in all reversible blocks"),
            (
                "num_kv_heads",
                not self.num_kv_heads or (self.attention != "lsh" and self.rotary != "mixed"),
                "() with `lsh` attention, and where each head has rotary frequencies of its own",
            ),
            ("rotary_period", 0 < self.rotary_period < math.inf, "above 0 and finite"),
            ("rotary_offset", math.isfinite(self.rotary_offset), "finite"),
            (
                "rotary_grid",
                self.rotary_grid is None or (len(self.rotary_grid) == 2 and min(self.rotary_grid) >= 1),
                "a number of rows and one of columns, of at least 1 each",
            ),
            (
                "num_kv_heads",
                not self.num_kv_heads
                or (
                    len(self.num_kv_heads) == self.depth
                    and all(count > 0 and self.num_heads % count == 0 for count in self.num_kv_heads)
                ),
                f"a divisor of `num_heads` ({self.num_heads}) for each of {self.depth} blocks, or ()",
            ),
            ("distilled", not self.distilled or self.pool == "class", "false where `pool` is not 'class'"),
            (
                "pool_prefix",
                not self.pool_prefix or self.pool in ("mean", "attention"),
                f"false where `pool` is {self.pool!r}",
            ),
            (
                "pool_heads",
                self.pool_heads is None or (self.pool == "attention" and self.dim % self.pool_heads == 0),
                f"a divisor of `dim` ({self.dim}) where `pool` is 'attention', and None elsewhere",
            ),
            (
                "pool_mlp_dim",
                self.pool_mlp_dim is None or self.pool == "attention",
                "None where `pool` is not 'attention'",
            ),
            ("stem_channels", has_conv == bool(channels), "the channels of a conv stem, and () for another"),
            (
                "stem_strides",
                not has_conv or math.prod(strides) == self.patch_size,
                f"strides whose product is `patch_size` ({self.patch_size})",
            ),
            (
                "dim",
                self.dim % part == 0,
                f"a multiple of {part} for {self.positions} positions with {self.num_heads} heads",
            ),
        )

    @property
    def pooled_dim(self) -> int:
        """Width of what the head reads: of a distilled model, and of `class_mean`, two tokens beside each other."""
        return 2 * self.dim if self.pool == "class_mean" or self.distilled else self.dim


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
"""Configurations by name."""
