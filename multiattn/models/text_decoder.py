"""The text decoder: tokens to the scores of those that follow, with attention to a context (a picture, a recording).

Notation: r rows (texts), n tokens, k positions so far, b contexts, m context tokens, C the context's width, D width, V
vocabulary. Rows of one context stand together: row i belongs to context i // (r / b).
Source: Vaswani et al. 2017, the decoder; pre-norm as GPT-2, post-norm as BERT and BLIP.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from ..attention import (
    Attention,
    DecoderCache,
    KeysValues,
    Mask,
    Probe,
    ProjectedContext,
    Site,
    Tap,
    probe_at,
    sinusoidal,
)
from ..blocks import Activation, FeedForward, TransformerBlock, activation
from ..errors import ModelError
from .initial import initialise
from .ranges import check_at_least, check_choices, check_epsilon, check_heads, check_shares


@dataclass(frozen=True)
class TextDecoderConfig:
    """What a `TextDecoder` is made of."""

    vocab_size: int = 4000
    dim: int = 256
    """Width of the tokens."""

    depth: int = 4
    """Number of blocks."""

    num_heads: int = 4
    mlp_dim: int = 1024
    """Width inside the feedforward."""

    max_length: int = 64
    """Tokens a text may have, special ones included: the rows of the position table."""

    context_dim: int = 192
    """Width of what the cross-attention attends to."""

    start_token: int = 1
    """What a text begins with."""

    end_token: int = 2
    """What a text ends with."""

    pad_token: int = 0
    """What stands where a text is shorter than others of its batch."""

    positions: Literal["learned", "sinusoidal"] = "learned"
    pre_norm: bool = True
    """Norms before the branches (GPT-2, Whisper), or after the additions (BERT, BLIP)."""

    norm_eps: float = 1e-5
    """Added to the variance in each LayerNorm."""

    embed_norm: bool = False
    """Normalise the embedded tokens, as BERT does."""

    final_norm: bool = True
    """Normalise after the last block, which pre-norm needs."""

    head: Literal["plain", "transform"] = "plain"
    """`transform`: dense, activation and norm before the projection to the vocabulary, as BERT has it."""

    head_bias: bool = False
    """Whether the projection to the vocabulary has a bias."""

    tied: bool = True
    """Whether that projection is the embedding's table."""

    activation: Activation = "gelu"
    dropout: float = 0.0
    """Share of each branch's results, and of the embedded tokens', dropped in training."""

    attention_dropout: float = 0.0
    """Share of attention weights dropped in training."""

    def __post_init__(self) -> None:
        """Check that there can be such a decoder.

        Raises:
            ValueError: There can be none; the message names the field.
        """
        check_choices(self)
        check_at_least(self, 1, ("vocab_size", "dim", "depth", "num_heads", "mlp_dim", "max_length", "context_dim"))
        check_heads(self)
        check_epsilon(self)
        check_shares(self, ("dropout", "attention_dropout"))
        for name in ("start_token", "end_token", "pad_token"):
            if not 0 <= getattr(self, name) < self.vocab_size:
                raise ValueError(
                    f"`{name}` must be from 0 to {self.vocab_size - 1}, but is {getattr(self, name)} instead."
                )
        if self.positions == "sinusoidal" and self.dim % 2:
            raise ValueError(f"`dim` must be even for sinusoidal positions, but is {self.dim} instead.")


class TextDecoder(nn.Module):
    """A causal transformer with cross-attention, built from a `TextDecoderConfig`."""

    def __init__(self, config: TextDecoderConfig) -> None:
        super().__init__()
        c = self.config = config
        self.embedding = nn.Embedding(c.vocab_size, c.dim)
        self.positions = nn.Embedding(c.max_length, c.dim) if c.positions == "learned" else None
        self.embed_norm = nn.LayerNorm(c.dim, eps=c.norm_eps) if c.embed_norm else None
        self.dropout = nn.Dropout(c.dropout) if c.dropout else None
        self.blocks = nn.ModuleList(_block(c) for _ in range(c.depth))
        self.norm = nn.LayerNorm(c.dim, eps=c.norm_eps) if c.final_norm else None
        has_transform = c.head == "transform"
        self.head_dense = nn.Linear(c.dim, c.dim) if has_transform else None
        self.head_activation = activation(c.activation) if has_transform else None
        self.head_norm = nn.LayerNorm(c.dim, eps=c.norm_eps) if has_transform else None
        self.head = None if c.tied else nn.Linear(c.dim, c.vocab_size, bias=False)
        self.head_bias = nn.Parameter(torch.zeros(c.vocab_size)) if c.head_bias else None
        self.project: Callable[[Tensor, Tensor, Tensor | None], Tensor] = F.linear
        """How tokens and the vocabulary's weight are multiplied: whoever packs that weight says so here."""
        self.apply(initialise)

    def attention_sites(self, *, tokens: int, context_tokens: int) -> tuple[Site, ...]:
        """The attentions a `Tap` may ask for, with their sizes for a whole text of `tokens` in one pass."""
        heads = self.config.num_heads
        return tuple(
            Site(f"blocks.{i}.{name}", heads, tokens, keys)
            for i in range(self.config.depth)
            for name, keys in (("self", tokens), ("cross", context_tokens))
        )

    def project_context(
        self, context: Float[Tensor, "b m C"], real: Bool[Tensor, "b m"] | None = None
    ) -> ProjectedContext:
        """What the cross-attentions make of a context, for those who decode or read about it more than once.

        Args:
            context: What to attend to.
            real: False where a token of it is padding; None where none is.
        """
        # read whole at every step, and out of a fused projection that took twice as long
        made = (block.cross_attention.keys_values(context) for block in self.blocks)  # type: ignore[union-attr, operator]
        return ProjectedContext(tuple(KeysValues(one.keys.contiguous(), one.values.contiguous()) for one in made), real)

    def start(self, context: Float[Tensor, "b m C"] | ProjectedContext, *, rows: int, capacity: int) -> DecoderCache:
        """The state in which a decode begins: what the cross-attentions make of the context, and room for the rest.

        Args:
            context: What to attend to, or what `project_context` made of it.
            rows: Texts to decode, a multiple of the contexts.
            capacity: Positions there is to be room for, padding included.

        Raises:
            ModelError: `rows` does not fit the contexts.
        """
        projected = context if isinstance(context, ProjectedContext) else self.project_context(context)
        return DecoderCache(projected, rows=rows, capacity=capacity)

    def forward(
        self,
        tokens: Int64[Tensor, "r n"],
        context: Float[Tensor, "b m C"] | ProjectedContext | None = None,
        *,
        context_real: Bool[Tensor, "b m"] | None = None,
        cache: DecoderCache | None = None,
        real: Bool[Tensor, "r n"] | None = None,
        last_only: bool = False,
        tap: Tap | Probe | None = None,
    ) -> Float[Tensor, "r out V"]:
        """The scores (logits) of the token that follows each token.

        Args:
            tokens: The texts, or with a cache what comes next in each.
            context: What to attend to, or what `project_context` made of it; None with a cache, which has it.
            context_real: False where a token of a `context` that is a tensor is padding; None where none is. What is
                projected or cached knows it already.
            cache: The state of a decode that `start` began; these tokens are added to it.
            real: False where a token is padding, which nothing attends to and no position counts; None where none is.
                With a cache, padding must come first.
            last_only: Score only what follows the last token: `out` is 1.
            tap: What to capture of the attention.

        Raises:
            ModelError: Neither or both of context and cache are given, a text is longer than the position table, or
                the cache has no room.
        """
        if (context is None) == (cache is None):
            raise ModelError("one of `context` and `cache` must be given, and only one")
        count = tokens.shape[1]
        # with padding the positions may fit although the length does not; asking the tensor would stop the device
        reach = count if cache is None else cache.length + count
        if reach > self.config.max_length:
            raise ModelError(
                f"a text may have {self.config.max_length} tokens, special ones and padding included, but has {reach} "
                "instead: shorten it"
            )
        if cache is not None:
            positions, keys = cache.advance(count, real)
        elif real is None:
            positions, keys = torch.arange(count, device=tokens.device)[None], None
        else:
            positions, keys = (real.cumsum(dim=1) - 1).clamp(min=0), real
        # one new token sees all that is there: no mask, and the fused kernel's fastest path
        mask = Mask(causal=count > 1, keys=keys)
        seen = context if cache is None else cache.context
        context_mask = Mask(keys=seen.real if isinstance(seen, ProjectedContext) else context_real)
        x = self._embed(tokens, positions)  # (r, n, D)
        for i, block in enumerate(self.blocks):
            x = block(
                x,
                seen.layers[i] if isinstance(seen, ProjectedContext) else seen,
                mask=mask,
                context_mask=context_mask,
                cache=None if cache is None else cache.layer(i),
                probe=probe_at(tap, f"blocks.{i}"),
            )
        return self._score(x[:, -1:] if last_only else x)

    def _embed(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """Tokens (r, n) at positions (#r, n) to (r, n, D)."""
        x = self.embedding(tokens)
        if self.positions is not None:
            x = x + self.positions(positions)
        else:
            x = x + sinusoidal(self.config.max_length, self.config.dim).to(x)[positions]
        if self.embed_norm is not None:
            x = self.embed_norm(x)
        return x if self.dropout is None else self.dropout(x)  # type: ignore[no-any-return]

    def _score(self, x: Tensor) -> Tensor:
        """Tokens (r, n, D) to logits (r, n, V)."""
        if self.norm is not None:
            x = self.norm(x)
        if self.head_dense is not None:
            assert self.head_activation is not None and self.head_norm is not None
            x = self.head_norm(self.head_activation(self.head_dense(x)))
        weight = self.embedding.weight if self.head is None else self.head.weight
        return self.project(x, weight, self.head_bias)


def _block(c: TextDecoderConfig) -> TransformerBlock:
    return TransformerBlock(
        c.dim,
        attention=Attention(c.dim, c.num_heads, dropout=c.attention_dropout),
        cross_attention=Attention(c.dim, c.num_heads, kv_dim=c.context_dim, dropout=c.attention_dropout),
        feedforward=FeedForward(c.dim, c.mlp_dim, activation=activation(c.activation), dropout=c.dropout),
        pre_norm=c.pre_norm,
        norm_eps=c.norm_eps,
        dropout=c.dropout,
    )
