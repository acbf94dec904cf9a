"""The base of the text encoder and the text decoder: embedded tokens, and blocks that may attend to a context.

Notation: r rows (texts), n tokens, b contexts, m context tokens, C the context's width, D width. The rows of one
context are consecutive: row i belongs to context i // (r / b).
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from ..attention import (
    Attention,
    BucketBias,
    DecoderCache,
    DotProductScore,
    KeysValues,
    Mask,
    Probe,
    ProjectedContext,
    Site,
    Tap,
    probe_at,
    sinusoidal,
)
from ..blocks import Activation, FeedForward, Norm, TransformerBlock, activation, applied, make_norm
from ..checks import check_at_least, check_rules
from ..errors import ModelError
from .common import check_transformer


@dataclass(frozen=True)
class TextConfig:
    """Configuration of a `TextStack`."""

    vocab_size: int = 4000
    dim: int = 256
    """Width of the tokens."""

    depth: int = 4
    """Number of blocks."""

    num_heads: int = 4
    mlp_dim: int = 1024
    """Width inside the feedforward."""

    max_length: int = 64
    """Most tokens of a text, special ones included: the rows of the position table, where there is one."""

    context_dim: int | None = 192
    """Width of the context that the cross-attention attends to; None for blocks without cross-attention."""

    start_token: int = 1
    """The first token of a text."""

    end_token: int = 2
    """The last token of a text."""

    pad_token: int = 0
    """Fills up a text that is shorter than others of its batch."""

    positions: Literal["learned", "sinusoidal", "relative"] = "learned"
    """Tables that are added to the embedded tokens; or `relative`, as in T5: a bias of the self-attention's scores,
    which all blocks share."""

    num_buckets: int = 32
    """Rows of the table of relative positions."""

    max_distance: int = 128
    """The distance in tokens from which on all have the same relative position."""

    pre_norm: bool = True
    """Normalize before each branch (GPT-2, Whisper, T5), or after each addition (BERT, BLIP)."""

    norm: Norm = "layer"
    """Which norm, everywhere; `rms` in T5."""

    norm_eps: float = 1e-5
    """Added to the variance in each norm, or to the mean square."""

    scale_embedding: bool = False
    """Multiply the embedded tokens by the square root of `dim`, before positions are added.
    Source: Vaswani et al. 2017, section 3.4."""

    embed_norm: bool = False
    """Normalize the embedded tokens, as BERT does."""

    final_norm: bool = True
    """Normalize after the last block, which pre-norm needs."""

    activation: Activation = "gelu"
    gated: bool = False
    """Whether the feedforward's activated half multiplies another one, as in T5 1.1."""

    linear_bias: bool = True
    """Whether the linear maps of the blocks have a bias."""

    head_dim: int | None = None
    """Width of an attention head; dim / num_heads where None."""

    scale_scores: bool = True
    """Whether the scores are divided by the root of a head's width, which T5's weights have in them already."""

    dropout: float = 0.0
    """Share of each branch's output, and of the embedded tokens, dropped in training."""

    attention_dropout: float = 0.0
    """Share of attention weights dropped in training."""

    def __post_init__(self) -> None:
        """Check that such a stack can be built.

        Raises:
            ValueError: It cannot; the message names the field.
        """
        check_transformer(self)
        given = (name for name in ("context_dim", "head_dim") if getattr(self, name) is not None)
        check_at_least(self, 1, ("vocab_size", "max_length", *given))
        check_rules(
            self,
            *(
                (name, 0 <= getattr(self, name) < self.vocab_size, f"from 0 to {self.vocab_size - 1}")
                for name in ("start_token", "end_token", "pad_token")
            ),
            ("dim", self.positions != "sinusoidal" or self.dim % 2 == 0, "even for sinusoidal positions"),
            ("num_buckets", 4 <= self.num_buckets <= 1024, "from 4 to 1024"),
            (
                "max_distance",
                self.max_distance > self.num_buckets // 2,
                f"above half of `num_buckets` ({self.num_buckets})",
            ),
        )

    @property
    def head_width(self) -> int:
        """Width of an attention head."""
        return self.dim // self.num_heads if self.head_dim is None else self.head_dim


class TextStack(nn.Module):
    """Embeddings and transformer blocks, built from a `TextConfig`; the derived classes define `forward`.

    Args:
        config: The sizes.
        causal: Whether tokens attend only to those before them, for relative positions.
        global_projections: Whether the self-attentions have projections of their own for global tokens.
    """

    def __init__(self, config: TextConfig, *, causal: bool = False, global_projections: bool = False) -> None:
        super().__init__()
        c = self.config = config
        self.embedding = nn.Embedding(c.vocab_size, c.dim)
        self.positions = nn.Embedding(c.max_length, c.dim) if c.positions == "learned" else None
        self.relative = None
        if c.positions == "relative":
            self.relative = BucketBias(
                c.num_heads, num_buckets=c.num_buckets, max_distance=c.max_distance, causal=causal
            )
        self.embed_norm = make_norm(c.norm, c.dim, eps=c.norm_eps) if c.embed_norm else None
        self.dropout = nn.Dropout(c.dropout) if c.dropout else None
        self.blocks = nn.ModuleList(_block(c, global_projections) for _ in range(c.depth))
        self.norm = make_norm(c.norm, c.dim, eps=c.norm_eps) if c.final_norm else None
        self.context_dtype: torch.dtype | None = None
        """Type of the keys and values that `project_context` returns; that of the weights where None. Set by
        `generation.packing`."""

    def attention_sites(self, *, tokens: int, context_tokens: int) -> tuple[Site, ...]:
        """The sites a `Tap` can capture, with their sizes for one pass over a whole text."""
        kinds = [("self", tokens)] + [("cross", context_tokens)] * (self.config.context_dim is not None)
        return tuple(
            Site(f"blocks.{i}.{name}", self.config.num_heads, tokens, keys)
            for i in range(self.config.depth)
            for name, keys in kinds
        )

    def project_context(
        self, context: Float[Tensor, "b m C"], attention_mask: Bool[Tensor, "b m"] | None = None
    ) -> ProjectedContext:
        """Compute the keys and values of a context for all layers, to attend to it more than once.

        Args:
            context: Tokens to attend to.
            attention_mask: False where a context token is padding; None without padding.
        """
        made = (block.cross_attention.keys_values(context) for block in self.blocks)  # type: ignore[union-attr, operator]
        kept = (one if self.context_dtype is None else one.to(self.context_dtype) for one in made)
        # contiguous: each decoding step reads all of it, which takes twice as long from the fused projection
        return ProjectedContext(
            tuple(KeysValues(one.keys.contiguous(), one.values.contiguous()) for one in kept), attention_mask
        )

    def embed(self, tokens: Int64[Tensor, "r n"], positions: Int64[Tensor, "#r n"]) -> Float[Tensor, "r n D"]:
        """Embed tokens at these positions."""
        x = self.embedding(tokens)
        if self.config.scale_embedding:
            x = x * self.config.dim**0.5
        if self.positions is not None:
            x = x + self.positions(positions)
        elif self.relative is None:
            x = x + sinusoidal(self.config.max_length, self.config.dim).to(x)[positions]
        return applied(self.dropout, applied(self.embed_norm, x))

    def run(
        self,
        x: Float[Tensor, "r n D"],
        context: Float[Tensor, "b m C"] | ProjectedContext | None = None,
        *,
        mask: Mask,
        context_attention_mask: Bool[Tensor, "b m"] | None = None,
        cache: DecoderCache | None = None,
        last_rows: slice | None = None,
        tap: Tap | Probe | None = None,
        checkpoint_activations: bool = False,
        skip_cross: bool = False,
    ) -> Float[Tensor, "r out D"]:
        """Run the blocks.

        Args:
            x: Embedded tokens.
            context: Tokens to attend to, or what `project_context` computed from them.
            mask: For the self-attention.
            context_attention_mask: False where a token of a `context` that is a tensor is padding.
            cache: Keys and values of the tokens before `x`.
            last_rows: The rows that the last block computes; all where None.
            tap: Captures attention weights.
            checkpoint_activations: See `TransformerBlock`, as for `skip_cross`.
            skip_cross: As above.

        Returns:
            The states after the last block, before the final norm.
        """
        layers = context.layers if isinstance(context, ProjectedContext) else [context] * len(self.blocks)
        keys = context.attention_mask if isinstance(context, ProjectedContext) else context_attention_mask
        context_mask = Mask(keys=keys)
        bias = None
        if self.relative is not None:
            bias = self.relative(x.shape[1], x.shape[1] if cache is None else cache.length)  # (1, h, n, k)
        for i, (block, seen) in enumerate(zip(self.blocks, layers, strict=True)):
            x = block(
                x,
                seen,
                rows=last_rows if i == len(self.blocks) - 1 else None,
                mask=mask,
                context_mask=context_mask,
                bias=bias,
                cache=None if cache is None else cache.layer(i),
                probe=probe_at(tap, f"blocks.{i}"),
                checkpoint_activations=checkpoint_activations,
                skip_cross=skip_cross,
            )
        return x


def positions_of(
    tokens: Int64[Tensor, "r n"], attention_mask: Bool[Tensor, "r n"] | None, *, max_length: int
) -> Int64[Tensor, "#r n"]:
    """Return the position of each token in its text. Padding is not counted, and may be anywhere.

    Raises:
        ModelError: The texts have more tokens than the position table has rows, `max_length`.
    """
    check_length(tokens.shape[1], max_length)
    if attention_mask is None:
        return torch.arange(tokens.shape[1], device=tokens.device)[None]
    return (attention_mask.cumsum(dim=1) - 1).clamp(min=0)


def check_length(length: int, max_length: int) -> None:
    """Raise ModelError where a text has more tokens than the position table has rows."""
    if not torch.compiler.is_exporting() and length > max_length:
        raise ModelError(
            f"a text may have {max_length} tokens, special ones and padding included, but has {length} instead: "
            "shorten it"
        )


def _block(c: TextConfig, global_projections: bool) -> TransformerBlock:
    return TransformerBlock(
        c.dim,
        attention=_attention(c, global_projections=global_projections),
        cross_attention=None if c.context_dim is None else _attention(c, kv_dim=c.context_dim),
        feedforward=FeedForward(
            c.dim,
            c.mlp_dim,
            activation=activation(c.activation),
            gated=c.gated,
            bias=c.linear_bias,
            dropout=c.dropout,
        ),
        pre_norm=c.pre_norm,
        norm=c.norm,
        norm_eps=c.norm_eps,
        dropout=c.dropout,
    )


def _attention(c: TextConfig, *, kv_dim: int | None = None, global_projections: bool = False) -> Attention:
    return Attention(
        c.dim,
        c.num_heads,
        kv_dim=kv_dim,
        head_dim=c.head_dim,
        bias=c.linear_bias,
        out_bias=c.linear_bias,
        global_projections=global_projections,
        score=None if c.scale_scores else DotProductScore(c.head_width, scale=1.0),
        dropout=c.attention_dropout,
    )
