"""The vision transformer: a picture to tokens, through blocks, to one score per class.

Its configuration and the presets are in `vit_config`.

Notation: b batch, c channels, H and W the picture's height and width in pixels, n tokens (prefix tokens first, then
patches row by row), D width. Source: Dosovitskiy et al. 2021; each departure names its own.
"""

from functools import partial
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..attention import (
    Attention,
    GridBias,
    LearnedPositions,
    Probe,
    Rotary,
    Site,
    Tap,
    probe_at,
    rotary_2d,
    rotary_mixed,
    sinusoidal,
    sinusoidal_2d,
    start_frequencies,
)
from ..blocks import (
    AttentionPool,
    ConvStem,
    FeedForward,
    PatchStem,
    TransformerBlock,
    activation,
    applied,
    make_norm,
)
from .common import initialize
from .long_inputs import attention_options, first_tokens, long_mask, run_two_streams
from .vit_config import PRESETS, ViTConfig

__all__ = ["PRESETS", "STEM", "ViT", "ViTConfig"]

STEM = (
    r"(?:stem|patch_norm|stem_norm|class_token|distilled_token|registers|positions|rotary_frequencies|relative_bias)\b"
)
"""Pattern of the parameters before the first block, for layer-wise learning-rate decay."""


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
        self.patch_norm = self._norm() if c.patch_norm else None
        self.class_token = nn.Parameter(torch.zeros(1, 1, c.dim)) if c.class_token else None
        self.distilled_token = nn.Parameter(torch.zeros(1, 1, c.dim)) if c.distilled else None
        self.registers = nn.Parameter(torch.zeros(1, c.num_registers, c.dim)) if c.num_registers else None
        self.positions: LearnedPositions | None = None
        if c.positions in ("learned", "learned_rotary_2d"):
            prefix = 1 if c.position_prefix == "class" else c.position_prefix * self.num_prefix_tokens
            grid = self.grid(c.image_size)
            self.positions = LearnedPositions(grid, c.dim, prefix=prefix, resampling=c.resampling)
        self.rotary_frequencies: nn.Parameter | None = None
        if self.is_rotary and c.rotary == "mixed":
            shape = (2, c.depth, c.num_heads, c.dim // c.num_heads // 2)
            self.rotary_frequencies = nn.Parameter(torch.empty(shape))
            start_frequencies(self.rotary_frequencies, period=c.rotary_period)
        biases = {"none": 0, "shared": 1, "block": c.depth}[c.relative_bias]
        self.relative_bias = nn.ModuleList(
            GridBias(self.grid(c.image_size), c.num_heads, prefix=self.num_prefix_tokens) for _ in range(biases)
        )
        self.stem_norm = self._norm() if c.stem_norm else None
        self.blocks = nn.ModuleList(self._block(i) for i in range(c.depth))
        self.norm = self._norm() if c.final_norm else None
        self.pool = self._pool() if c.pool == "attention" else None
        self.pool_norm = self._norm(c.pooled_dim) if c.pool_norm else None
        self.head = nn.Linear(c.pooled_dim, c.num_classes) if c.num_classes else None
        self.apply(initialize)
        for token in self._prefix():
            nn.init.normal_(token, std=0.02)

    def _norm(self, dim: int | None = None) -> nn.Module:
        c = self.config
        return make_norm(c.norm, c.dim if dim is None else dim, eps=c.norm_eps)

    def _feedforward(self, hidden: int, *, gated: bool = False, norm: bool = False, bias: bool = True) -> FeedForward:
        c = self.config
        return FeedForward(
            c.dim,
            hidden,
            activation=activation(c.activation),
            gated=gated,
            bias=bias,
            norm=self._norm(hidden) if norm else None,
            dropout=c.dropout,
        )

    def _block(self, index: int) -> TransformerBlock:
        c = self.config
        head_dim = c.dim // c.num_heads
        attention = Attention(
            c.dim,
            c.num_heads,
            num_kv_heads=c.num_kv_heads[index] if c.num_kv_heads else None,
            bias=c.qkv_bias,
            out_bias=c.branch_bias,
            q_norm=self._norm(head_dim) if c.qk_norm else None,
            k_norm=self._norm(head_dim) if c.qk_norm else None,
            norm=self._norm() if c.attention_norm else None,
            dropout=c.attention_dropout,
            **attention_options(c, index),
        )
        return TransformerBlock(
            c.dim,
            attention=attention,
            feedforward=self._feedforward(c.mlp_dim, gated=c.gated, norm=c.mlp_norm, bias=c.branch_bias),
            norm=c.norm,
            norm_eps=c.norm_eps,
            layer_scale=c.layer_scale,
            scale_feedforward=c.scale_feedforward,
            stochastic_depth=c.stochastic_depth * index / max(c.depth - 1, 1),
            dropout=c.dropout,
        )

    def _pool(self) -> AttentionPool:
        c = self.config
        attention = Attention(c.dim, c.pool_heads or c.num_heads, kv_dim=c.dim, dropout=c.attention_dropout)
        return AttentionPool(
            c.dim, attention=attention, feedforward=self._feedforward(c.pool_mlp_dim or c.mlp_dim), norm=self._norm()
        )

    def _prefix(self) -> list[Tensor]:
        """The learned tokens before the patches, in order."""
        tokens = (self.class_token, self.distilled_token, self.registers)
        return [token for token in tokens if token is not None]

    @property
    def num_prefix_tokens(self) -> int:
        """Tokens before the patches: the class token, the distilled one, then the registers."""
        return int(self.config.class_token) + int(self.config.distilled) + self.config.num_registers

    @property
    def num_read(self) -> int:
        """Tokens that the head reads: of a distilled model two, one beside the other."""
        return 2 if self.config.distilled else 1

    @property
    def _has_last_rows(self) -> bool:
        """Whether the last block can compute some rows alone."""
        return self.config.attention == "full" and not self.config.reversible

    def grid(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """Return the rows and columns of patches in a picture of this height and width."""
        return image_size[0] // self.config.patch_size, image_size[1] // self.config.patch_size

    def attention_sites(
        self, image_size: tuple[int, int] | None = None, *, of: Literal["forward", "features"] = "forward"
    ) -> tuple[Site, ...]:
        """The sites a `Tap` can capture, with their sizes for a picture of this height and width.

        Where the head reads the class token, `forward` computes only that row in the last block (of a distilled model
        two rows), so this site has as many query rows; not so with a window, hashing or reversible blocks. Where it
        reads what a learned query attends to, that site is the last. `features` computes all rows, and nothing after
        the blocks.
        """
        c = self.config
        rows, cols = self.grid(image_size or c.image_size)
        tokens = self.num_prefix_tokens + rows * cols
        few = of == "forward" and c.pool == "class" and self._has_last_rows
        sites = [
            Site(f"blocks.{i}.self", c.num_heads, self.num_read if few and i == c.depth - 1 else tokens, tokens)
            for i in range(c.depth)
        ]
        if of == "forward" and c.pool == "attention":
            keys = tokens if c.pool_prefix else rows * cols
            sites.append(Site("pool.cross", c.pool_heads or c.num_heads, 1, keys))
        return tuple(sites)

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
        self, images: Float[Tensor, "b c H W"], *, tap: Tap | Probe | None = None, checkpoint_activations: bool = False
    ) -> Float[Tensor, "b pooled"]:
        """Return what the head reads, by the configuration's `pool`; arguments as for `forward`.

        Of a distilled model it is its two tokens, one beside the other, for the head; their mean without a head.
        """
        if self.config.pool == "class":
            rows = slice(0, self.num_read)
            return self.pooled_features(self._tokens(images, tap, checkpoint_activations, last_rows=rows), tap=tap)
        return self.pooled_features(self._tokens(images, tap, checkpoint_activations), tap=tap)

    def pooled_features(
        self, features: Float[Tensor, "b n D"], *, tap: Tap | Probe | None = None
    ) -> Float[Tensor, "b pooled"]:
        """Return what `pooled` does, from the tokens that `features` gave."""
        if self.config.pool == "class":
            read = features[:, : self.num_read]  # (b, 1 or 2, D)
            pooled = read.mean(dim=1) if self.head is None else read.flatten(1)
        else:
            read = features if self.config.pool_prefix else features[:, self.num_prefix_tokens :]
            pooled = read.mean(dim=1) if self.pool is None else self.pool(read, probe=probe_at(tap, "pool"))
            if self.config.pool == "class_mean":
                pooled = torch.cat([features[:, 0], pooled], dim=1)
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
        biases = [table(grid) for table in self.relative_bias]  # (1, h, n, n) each
        mask = long_mask(self.config, global_tokens=first_tokens(self.config.global_tokens, device=x.device))
        last = len(self.blocks) - 1
        if self.config.reversible:
            x = run_two_streams(self.blocks, x, mask=mask, rotary=rotary[0] if rotary else None, tap=tap)
        else:
            for i, block in enumerate(self.blocks):
                x = block(
                    x,
                    rows=last_rows if i == last and self._has_last_rows else None,
                    mask=mask,
                    bias=biases[i if len(biases) > 1 else 0] if biases else None,
                    rotary=rotary[i if len(rotary) > 1 else 0] if rotary else None,
                    probe=probe_at(tap, f"blocks.{i}"),
                    checkpoint_activations=checkpoint_activations,
                )
        if last_rows is not None and not self._has_last_rows:
            x = x[:, last_rows]
        return x if self.norm is None else self.norm(x)

    def _embed(self, patches: Tensor, grid: tuple[int, int]) -> Tensor:
        """Add positions to patches (b, r c, D), and put the prefix tokens before them: (b, n, D)."""
        c = self.config
        patches = applied(self.patch_norm, patches)
        prefix = [token.expand(patches.shape[0], -1, -1) for token in self._prefix()]
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

    @property
    def is_rotary(self) -> bool:
        """Whether positions rotate q and k."""
        return self.config.positions in ("rotary_2d", "learned_rotary_2d")

    def _rotary(self, grid: tuple[int, int], x: Tensor) -> list[Rotary]:
        """The angles of each block, or one for all; none without rotary positions."""
        c = self.config
        if not self.is_rotary:
            return []
        prefix, form = self.num_prefix_tokens, (c.rotary_order == "columns", c.rotary_pairs == "neighbors")
        if self.rotary_frequencies is not None:
            of_blocks = self.rotary_frequencies.unbind(1)  # (2, h, d / 2) each
            mixed = partial(rotary_mixed, *grid, prefix=prefix, columns_first=form[0], neighbors=form[1])
            return [mixed(frequencies).to(x.dtype) for frequencies in of_blocks]
        found = rotary_2d(
            *grid,
            c.dim // c.num_heads,
            prefix=prefix,
            max_period=c.rotary_period,
            offset=c.rotary_offset,
            reference=c.rotary_grid,
            centered=c.rotary == "centered",
            columns_first=form[0],
            neighbors=form[1],
            device=x.device,
        )
        return [found.to(x.dtype)]

    def no_weight_decay(self) -> set[str]:
        """Names of the parameters without weight decay, a method that timm's optimizers call."""
        names = {"class_token", "distilled_token", "registers", "positions.weight", "pool.query", "rotary_frequencies"}
        return names | {name for name, _ in self.named_parameters() if name.startswith("relative_bias.")}

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Patterns that group the parameters into layers, for timm's layer-wise learning-rate decay.

        `coarse` is part of timm's protocol and ignored: blocks are the only grouping here.
        """
        # only the block's number may be a capturing group: timm converts each to a number
        return {
            "stem": f"^{STEM}",
            "blocks": [(r"^blocks\.(\d+)\.", None), (r"^(?:norm|pool|pool_norm|head)\b", (99_999,))],
        }
