"""The vision transformer: a picture to tokens, through blocks, to one score per class.

In here: its configuration, the presets, the model.

Notation: b batch, c channels, H and W the picture's height and width in pixels, n tokens (prefix tokens first, then
patches row by row), D width. Source: Dosovitskiy et al. 2021; each departure names its own.
"""

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..attention import (
    Attention,
    LearnedPositions,
    Probe,
    Resampling,
    Rotary,
    Site,
    Tap,
    probe_at,
    rotary_2d,
    sinusoidal,
    sinusoidal_2d,
)
from ..blocks import Activation, ConvStem, FeedForward, PatchStem, TransformerBlock, activation, applied
from ..checks import check_at_least, check_rules
from .common import check_image_size, check_transformer, initialize


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

    positions: Literal["learned", "sinusoidal", "sinusoidal_2d", "rotary_2d"] = "learned"
    position_prefix: bool | Literal["class"] = True
    """Whether the class token and the registers have rows of their own in the learned positions; `class`: only the
    class token, as in DINOv2."""

    resampling: Resampling = "bicubic"
    """How learned positions are resampled for a picture of another size than `image_size`."""

    class_token: bool = True
    num_registers: int = 0
    """Extra tokens that belong to no patch. Source: Darcet et al. 2024."""

    pool: Literal["class", "mean", "class_mean"] = "class"
    """What the head reads: the class token, the mean of the patches, or the one followed by the other, as in DINOv2."""

    final_norm: bool = True
    """Normalize all tokens after the last block."""

    pool_norm: bool = False
    """Normalize the pooled token."""

    qkv_bias: bool = True
    qk_norm: bool = False
    """Normalize q and k per head. Source: Dehghani et al. 2023, section 2."""

    layer_scale: float | None = None
    """Start value of a learned factor on each branch; no factor where None. Source: Touvron et al. 2021."""

    activation: Activation = "gelu"
    norm_eps: float = 1e-6
    """Added to the variance in each LayerNorm."""

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
        for name in ("image_size", "stem_channels", "stem_strides"):  # a list where it came from JSON or YAML
            object.__setattr__(self, name, tuple(getattr(self, name)))
        check_transformer(self, shares=("dropout", "attention_dropout", "stochastic_depth"))
        check_at_least(self, 1, ("patch_size", "in_channels"))
        check_at_least(self, 0, ("num_classes", "num_registers"))
        check_image_size(self)
        has_conv, channels, strides = self.stem == "conv", self.stem_channels, self.stem_strides
        # the positions split the width into so many parts, or, where they rotate q and k, the width of each head
        parts = {"learned": 1, "sinusoidal": 2, "sinusoidal_2d": 4, "rotary_2d": 4 * self.num_heads}[self.positions]
        check_rules(
            self,
            ("stem_channels", min(channels, default=1) >= 1, "at least 1 each"),
            ("stem_strides", min(strides, default=1) >= 1, "at least 1 each"),
            ("class_token", self.class_token or self.pool == "mean", f"true where `pool` is {self.pool!r}"),
            (
                "position_prefix",
                self.class_token or self.position_prefix != "class",
                "true or false where there is no `class_token`",
            ),
            ("stem_channels", has_conv == bool(channels), "the channels of a conv stem, and () for another"),
            (
                "stem_strides",
                not has_conv or math.prod(strides) == self.patch_size,
                f"strides whose product is `patch_size` ({self.patch_size})",
            ),
            (
                "dim",
                self.dim % parts == 0,
                f"a multiple of {parts} for {self.positions} positions with {self.num_heads} heads",
            ),
        )

    @property
    def pooled_dim(self) -> int:
        """Width of what the head reads."""
        return 2 * self.dim if self.pool == "class_mean" else self.dim


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


class ViT(nn.Module):
    """A vision transformer classifier, built from a `ViTConfig`."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        c = self.config = config
        self.stem: PatchStem | ConvStem
        if c.stem == "conv":
            self.stem = ConvStem(c.in_channels, c.dim, channels=c.stem_channels, strides=c.stem_strides)
        else:
            self.stem = PatchStem(c.in_channels, c.dim, patch_size=c.patch_size, bias=c.stem_bias)
        self.class_token = nn.Parameter(torch.zeros(1, 1, c.dim)) if c.class_token else None
        self.registers = nn.Parameter(torch.zeros(1, c.num_registers, c.dim)) if c.num_registers else None
        self.positions: LearnedPositions | None = None
        if c.positions == "learned":
            prefix = 1 if c.position_prefix == "class" else c.position_prefix * self.num_prefix_tokens
            grid = self.grid(c.image_size)
            self.positions = LearnedPositions(grid, c.dim, prefix=prefix, resampling=c.resampling)
        self.stem_norm = nn.LayerNorm(c.dim, eps=c.norm_eps) if c.stem_norm else None
        self.blocks = nn.ModuleList(self._block(i) for i in range(c.depth))
        self.norm = nn.LayerNorm(c.dim, eps=c.norm_eps) if c.final_norm else None
        self.pool_norm = nn.LayerNorm(c.pooled_dim, eps=c.norm_eps) if c.pool_norm else None
        self.head = nn.Linear(c.pooled_dim, c.num_classes) if c.num_classes else None
        self.apply(initialize)
        for token in (self.class_token, self.registers):
            if token is not None:
                nn.init.normal_(token, std=0.02)

    def _block(self, index: int) -> TransformerBlock:
        c = self.config
        head_dim = c.dim // c.num_heads
        attention = Attention(
            c.dim,
            c.num_heads,
            bias=c.qkv_bias,
            q_norm=nn.LayerNorm(head_dim, eps=c.norm_eps) if c.qk_norm else None,
            k_norm=nn.LayerNorm(head_dim, eps=c.norm_eps) if c.qk_norm else None,
            dropout=c.attention_dropout,
        )
        return TransformerBlock(
            c.dim,
            attention=attention,
            feedforward=FeedForward(c.dim, c.mlp_dim, activation=activation(c.activation), dropout=c.dropout),
            norm_eps=c.norm_eps,
            layer_scale=c.layer_scale,
            stochastic_depth=c.stochastic_depth * index / max(c.depth - 1, 1),
            dropout=c.dropout,
        )

    @property
    def num_prefix_tokens(self) -> int:
        """Tokens before the patches: the class token, then the registers."""
        return int(self.config.class_token) + self.config.num_registers

    def grid(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """Return the rows and columns of patches in a picture of this height and width."""
        return image_size[0] // self.config.patch_size, image_size[1] // self.config.patch_size

    def attention_sites(
        self, image_size: tuple[int, int] | None = None, *, of: Literal["forward", "features"] = "forward"
    ) -> tuple[Site, ...]:
        """The sites a `Tap` can capture, with their sizes for a picture of this height and width.

        Where the head reads the class token, `forward` computes only that row in the last block, so this site has one
        query row. `features` computes all rows.
        """
        rows, cols = self.grid(image_size or self.config.image_size)
        tokens = self.num_prefix_tokens + rows * cols
        one_row = of == "forward" and self.config.pool == "class"
        return tuple(
            Site(
                f"blocks.{i}.self",
                self.config.num_heads,
                1 if one_row and i == self.config.depth - 1 else tokens,
                tokens,
            )
            for i in range(self.config.depth)
        )

    def forward(
        self, images: Float[Tensor, "b c H W"], *, tap: Tap | None = None, checkpoint_activations: bool = False
    ) -> Float[Tensor, "b classes"]:
        """Return the logits of the classes.

        Args:
            images: Normalized pictures; height and width must be multiples of the patch size.
            tap: Captures attention weights.
            checkpoint_activations: See `TransformerBlock`.
        """
        return applied(self.head, self.pooled(images, tap=tap, checkpoint_activations=checkpoint_activations))

    def pooled(
        self, images: Float[Tensor, "b c H W"], *, tap: Tap | None = None, checkpoint_activations: bool = False
    ) -> Float[Tensor, "b pooled"]:
        """Return what the head reads, by the configuration's `pool`; arguments as for `forward`."""
        if self.config.pool == "class":
            pooled = self._tokens(images, tap, checkpoint_activations, last_rows=slice(0, 1))[:, 0]
        else:
            tokens = self._tokens(images, tap, checkpoint_activations)  # (b, n, D)
            pooled = tokens[:, self.num_prefix_tokens :].mean(dim=1)
            if self.config.pool == "class_mean":
                pooled = torch.cat([tokens[:, 0], pooled], dim=1)
        return applied(self.pool_norm, pooled)

    def features(
        self, images: Float[Tensor, "b c H W"], *, tap: Tap | Probe | None = None, checkpoint_activations: bool = False
    ) -> Float[Tensor, "b n D"]:
        """Return all tokens after the last block and the final norm; arguments as for `forward`."""
        return self._tokens(images, tap, checkpoint_activations)

    def _tokens(
        self,
        images: Tensor,
        tap: Tap | Probe | None,
        checkpoint_activations: bool,
        *,
        last_rows: slice | None = None,
    ) -> Tensor:
        """Return the tokens after the last block; with `last_rows`, which is all it then computes, only those."""
        grid = self.grid((images.shape[-2], images.shape[-1]))
        x = self._embed(self.stem(images), grid)  # (b, n, D)
        rotary = self._rotary(grid, x)
        last = len(self.blocks) - 1
        for i, block in enumerate(self.blocks):
            rows = last_rows if i == last else None
            x = block(
                x,
                rows=rows,
                rotary=rotary,
                probe=probe_at(tap, f"blocks.{i}"),
                checkpoint_activations=checkpoint_activations,
            )
        return x if self.norm is None else self.norm(x)

    def _embed(self, patches: Tensor, grid: tuple[int, int]) -> Tensor:
        """Add positions to patches (b, r c, D), and put the prefix tokens before them: (b, n, D)."""
        c = self.config
        prefix = [
            token.expand(len(patches), -1, -1) for token in (self.class_token, self.registers) if token is not None
        ]
        if self.positions is not None and c.position_prefix is True:
            x = torch.cat([*prefix, patches], dim=1) + self.positions(grid)
        else:
            if self.positions is not None:
                table = self.positions(grid)  # (1, r c, D), or a row more
                if c.position_prefix == "class":
                    prefix[0], table = prefix[0] + table[:, :1], table[:, 1:]
                patches = patches + table
            elif c.positions == "sinusoidal":
                patches = patches + sinusoidal(grid[0] * grid[1], c.dim).to(patches)
            elif c.positions == "sinusoidal_2d":
                patches = patches + sinusoidal_2d(*grid, c.dim).to(patches)
            x = torch.cat([*prefix, patches], dim=1)
        return x if self.stem_norm is None else self.stem_norm(x)  # type: ignore[no-any-return]

    def _rotary(self, grid: tuple[int, int], x: Tensor) -> Rotary | None:
        if self.config.positions != "rotary_2d":
            return None
        head_dim = self.config.dim // self.config.num_heads
        rotary = rotary_2d(*grid, head_dim, prefix=self.num_prefix_tokens, device=x.device)
        return Rotary(rotary.cos.to(x.dtype), rotary.sin.to(x.dtype))

    def no_weight_decay(self) -> set[str]:
        """Names of the parameters without weight decay, a method that timm's optimizers call."""
        return {"class_token", "registers", "positions.weight"}

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Patterns that group the parameters into layers, for timm's layer-wise learning-rate decay.

        `coarse` is part of timm's protocol and ignored: blocks are the only grouping here.
        """
        # only the block's number may be a capturing group: timm converts each to a number
        stem = r"^(?:stem|stem_norm|class_token|registers|positions)\b"
        return {"stem": stem, "blocks": [(r"^blocks\.(\d+)\.", None), (r"^(?:norm|pool_norm|head)\b", (99_999,))]}
