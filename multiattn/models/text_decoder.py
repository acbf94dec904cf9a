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

from ..attention import DecoderCache, Mask, Probe, ProjectedContext, Tap, probe_at
from ..blocks import activation
from ..errors import ModelError
from .initial import initialize
from .text_stack import TextConfig, TextStack, places, too_long


@dataclass(frozen=True)
class TextDecoderConfig(TextConfig):
    """What a `TextDecoder` is made of."""

    context_dim: int = 192
    """Width of what the cross-attention attends to."""

    head: Literal["plain", "transform"] = "plain"
    """`transform`: dense, activation and norm before the projection to the vocabulary, as BERT has it."""

    head_bias: bool = False
    """Whether the projection to the vocabulary has a bias."""

    tied: bool = True
    """Whether that projection is the embedding's table."""


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
        """How tokens and the vocabulary's weight are multiplied: whoever packs that weight says so here."""
        self.apply(initialize)

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
        context_attention_mask: Bool[Tensor, "b m"] | None = None,
        cache: DecoderCache | None = None,
        attention_mask: Bool[Tensor, "r n"] | None = None,
        last_only: bool = False,
        tap: Tap | Probe | None = None,
    ) -> Float[Tensor, "r out V"]:
        """The scores (logits) of the token that follows each token.

        Args:
            tokens: The texts, or with a cache what comes next in each.
            context: What to attend to, or what `project_context` made of it; None with a cache, which has it.
            context_attention_mask: False where a token of a `context` that is a tensor is padding; None where none is. What is
                projected or cached knows it already.
            cache: The state of a decode that `start` began; these tokens are added to it.
            attention_mask: False where a token is padding, which nothing attends to and no position counts; None where none is.
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
            raise ModelError(too_long(self.config.max_length, reach))
        if cache is not None:
            positions, keys = cache.advance(count, attention_mask)
        elif attention_mask is None:
            positions, keys = torch.arange(count, device=tokens.device)[None], None
        else:
            positions, keys = places(attention_mask), attention_mask
        # one new token sees all that is there: no mask, and the fused kernel's fastest path
        mask = Mask(causal=count > 1, keys=keys)
        seen = context if cache is None else cache.context
        context_mask = Mask(keys=seen.attention_mask if isinstance(seen, ProjectedContext) else context_attention_mask)
        x = self.embed(tokens, positions)  # (r, n, D)
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

    def _score(self, x: Tensor) -> Tensor:
        """Tokens (r, n, D) to logits (r, n, V)."""
        if self.norm is not None:
            x = self.norm(x)
        if self.head_dense is not None:
            assert self.head_activation is not None and self.head_norm is not None
            x = self.head_norm(self.head_activation(self.head_dense(x)))
        weight = self.embedding.weight if self.head is None else self.head.weight
        return self.project(x, weight, self.head_bias)
