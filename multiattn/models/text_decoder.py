"""The text decoder: the logits of the token that follows each token, given a context (a picture, a recording).

Notation: r rows (texts), n tokens, k positions so far, b contexts, m context tokens, C the context's width, D width, V
vocabulary. The rows of one context are consecutive: row i belongs to context i // (r / b).
Source: Vaswani et al. 2017, the decoder; pre-norm as GPT-2, post-norm as BERT and BLIP.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from ..attention import DecoderCache, Mask, Probe, ProjectedContext, Tap
from ..blocks import activation, applied
from ..errors import ModelError
from .common import initialize
from .text_stack import TextConfig, TextStack, check_length, positions_of


@dataclass(frozen=True)
class TextDecoderConfig(TextConfig):
    """Configuration of a `TextDecoder`."""

    context_dim: int = 192
    """Width of the context that the cross-attention attends to."""

    head: Literal["plain", "transform"] = "plain"
    """`transform`: a linear layer, activation and norm before the projection to the vocabulary, as in BERT."""

    head_bias: bool = False
    """Whether the projection to the vocabulary has a bias."""

    tied: bool = True
    """Whether the projection shares its weight with the embedding."""


class TextDecoder(TextStack):
    """A causal transformer with cross-attention, built from a `TextDecoderConfig`."""

    def __init__(self, config: TextDecoderConfig) -> None:
        super().__init__(config)
        c = self.config = config
        has_transform = c.head == "transform"
        self.head_dense = nn.Linear(c.dim, c.dim) if has_transform else None
        self.head_activation = activation(c.activation) if has_transform else None
        self.head_norm = nn.LayerNorm(c.dim, eps=c.norm_eps) if has_transform else None
        self.head = None if c.tied else nn.Linear(c.dim, c.vocab_size, bias=False)
        self.head_bias = nn.Parameter(torch.zeros(c.vocab_size)) if c.head_bias else None
        self.project: Callable[[Tensor, Tensor, Tensor | None], Tensor] = F.linear
        """Multiplies states and the vocabulary's weight; `generation.packing` puts a packed copy here."""
        self.apply(initialize)

    def start(self, context: Float[Tensor, "b m C"] | ProjectedContext, *, rows: int, capacity: int) -> DecoderCache:
        """Make the cache of a new decode: the context's keys and values, and memory for those of the tokens.

        Args:
            context: Tokens to attend to, or what `project_context` computed from them.
            rows: Texts to decode, a multiple of the contexts.
            capacity: Most positions of a text, padding included.

        Raises:
            ModelError: `rows` is no multiple of the contexts.
        """
        projected = context if isinstance(context, ProjectedContext) else self.project_context(context)
        dtype = None if self.context_dtype is None else next(self.blocks.parameters()).dtype
        return DecoderCache(projected, rows=rows, capacity=capacity, dtype=dtype)

    def forward(
        self,
        tokens: Int64[Tensor, "r n"],
        context: Float[Tensor, "b m C"] | ProjectedContext | None = None,
        *,
        context_attention_mask: Bool[Tensor, "b m"] | None = None,
        cache: DecoderCache | None = None,
        attention_mask: Bool[Tensor, "r n"] | None = None,
        last_only: bool = False,
        tap: Tap | Probe | None = None,
        checkpoint_activations: bool = False,
    ) -> Float[Tensor, "r out V"]:
        """Return the logits of the token that follows each token.

        Args:
            tokens: The texts; with a cache, the next tokens of each.
            context: Tokens to attend to, or what `project_context` computed from them; None with a cache, which holds
                the context.
            context_attention_mask: False where a token of a `context` that is a tensor is padding; None without
                padding, and for a projected or cached context, which holds its own mask.
            cache: What `start` made for this decode; these tokens are added to it.
            attention_mask: False where a token is padding; None without padding. With a cache, padding must come first.
            last_only: Return only the logits after the last token: `out` is 1.
            tap: Captures attention weights.
            checkpoint_activations: See `TransformerBlock`.

        Raises:
            ModelError: Neither or both of context and cache are given, a text is longer than the position table, or
                the cache is full.
        """
        if (context is None) == (cache is None):
            raise ModelError("one of `context` and `cache` must be given, and only one")
        count, max_length = tokens.shape[1], self.config.max_length
        if cache is None:
            positions, keys = positions_of(tokens, attention_mask, max_length=max_length), attention_mask
        else:
            # padding counts here, although no position needs it: asking the mask would wait for the device
            check_length(cache.length + count, max_length)
            context = cache.context
            positions, keys = cache.advance(count, attention_mask)
        x = self.run(
            self.embed(tokens, positions),  # (r, n, D)
            context,
            # one new token attends to all that came before: without a mask the fused kernel is fastest
            mask=Mask(causal=count > 1, keys=keys),
            context_attention_mask=context_attention_mask,
            cache=cache,
            tap=tap,
            checkpoint_activations=checkpoint_activations,
        )
        return self._score(x[:, -1:] if last_only else x)

    def _score(self, x: Tensor) -> Tensor:
        """Turn states (r, n, D) into logits (r, n, V)."""
        x = applied(self.norm, x)
        if self.head_dense is not None:
            assert self.head_activation is not None and self.head_norm is not None
            x = self.head_norm(self.head_activation(self.head_dense(x)))
        return self.project(x, self.embedding.weight if self.head is None else self.head.weight, self.head_bias)
