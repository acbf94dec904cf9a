"""The vision transformer: a picture to tokens, through blocks, to one score a class.

Notation: b batch, c channels, H and W the picture's height and width in pixels, n tokens (prefix tokens first, then
patches row by row), D width. Source: Dosovitskiy et al. 2021; each departure names its own.
"""

from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..attention import (
    Attention,
    LearnedPositions,
    Probe,
    Rotary,
    Site,
    Tap,
    probe_at,
    rotary_2d,
    sinusoidal,
    sinusoidal_2d,
)
from ..blocks import ConvStem, FeedForward, PatchStem, TransformerBlock, activation
from .initial import initialize
from .vit_config import PRESETS, ViTConfig

__all__ = ["PRESETS", "ViT", "ViTConfig"]


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
            prefix = self.num_prefix_tokens if c.position_prefix else 0
            self.positions = LearnedPositions(self.grid(c.image_size), c.dim, prefix=prefix)
        self.stem_norm = nn.LayerNorm(c.dim, eps=c.norm_eps) if c.stem_norm else None
        self.blocks = nn.ModuleList(self._block(i) for i in range(c.depth))
        self.norm = nn.LayerNorm(c.dim, eps=c.norm_eps) if c.final_norm else None
        self.pool_norm = nn.LayerNorm(c.dim, eps=c.norm_eps) if c.pool_norm else None
        self.head = nn.Linear(c.dim, c.num_classes) if c.num_classes else None
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
        """Rows and columns of patches in a picture of this height and width."""
        return image_size[0] // self.config.patch_size, image_size[1] // self.config.patch_size

    def attention_sites(
        self, image_size: tuple[int, int] | None = None, *, of: Literal["forward", "features"] = "forward"
    ) -> tuple[Site, ...]:
        """The attentions a `Tap` may ask for, with their sizes for a picture of this height and width.

        Where the head reads the class token, `forward` computes no other row of the last block, for nothing would
        read it: that site has one row. `features` computes them all.
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

    def forward(self, images: Float[Tensor, "b c H W"], *, tap: Tap | None = None) -> Float[Tensor, "b classes"]:
        """One score (logit) a class.

        Args:
            images: Normalized pictures; height and width must be multiples of the patch size.
            tap: What to capture of the attention.
        """
        if self.config.pool == "class":
            pooled = self._tokens(images, tap, last_rows=slice(0, 1))[:, 0]
        else:
            pooled = self._tokens(images, tap)[:, self.num_prefix_tokens :].mean(dim=1)
        if self.pool_norm is not None:
            pooled = self.pool_norm(pooled)
        return pooled if self.head is None else self.head(pooled)

    def features(self, images: Float[Tensor, "b c H W"], *, tap: Tap | Probe | None = None) -> Float[Tensor, "b n D"]:
        """All tokens after the last block and the final norm."""
        return self._tokens(images, tap)

    def _tokens(self, images: Tensor, tap: Tap | Probe | None, *, last_rows: slice | None = None) -> Tensor:
        """The tokens after the last block, or only some rows of them: the last block then computes no others."""
        grid = self.grid((images.shape[-2], images.shape[-1]))
        x = self._embed(self.stem(images), grid)  # (b, n, D)
        rotary = self._rotary(grid, x)
        last = len(self.blocks) - 1
        for i, block in enumerate(self.blocks):
            rows = last_rows if i == last else None
            x = block(x, rows=rows, rotary=rotary, probe=probe_at(tap, f"blocks.{i}"))
        return x if self.norm is None else self.norm(x)

    def _embed(self, patches: Tensor, grid: tuple[int, int]) -> Tensor:
        """Patches (b, r c, D) with the prefix tokens before them and the positions added: (b, n, D)."""
        c = self.config
        prefix = [
            token.expand(len(patches), -1, -1) for token in (self.class_token, self.registers) if token is not None
        ]
        if self.positions is not None and c.position_prefix:
            x = torch.cat([*prefix, patches], dim=1) + self.positions(grid)
        else:
            if self.positions is not None:
                patches = patches + self.positions(grid)
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
        """Names of the parameters that weight decay must leave alone, as timm's optimizers ask."""
        return {"class_token", "registers", "positions.weight"}

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """How parameters group into layers, as timm's layer-wise learning-rate decay asks."""
        del coarse  # part of timm's protocol; the blocks are the only grouping here
        # only the block's number may be a group that captures: timm takes each for a number
        stem = r"^(?:stem|stem_norm|class_token|registers|positions)\b"
        return {"stem": stem, "blocks": [(r"^blocks\.(\d+)\.", None), (r"^(?:norm|pool_norm|head)\b", (99_999,))]}
