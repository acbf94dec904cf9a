"""The text decoder: the logits of the token that follows each token, given a context (a picture, a recording) or none.

Notation: r rows (texts), n tokens, k positions so far, b contexts, m context tokens, C the context's width, D width, V
vocabulary. The rows of one context are consecutive: row i belongs to context i // (r / b).
Source: Vaswani et al. 2017, the decoder; pre-norm as GPT-2, post-norm as BERT and BLIP.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from ..attention import DecoderCache, KeysValues, Mask, Probe, ProjectedContext, Tap
from ..errors import ModelError
from .language_model import LanguageModel, LanguageModelConfig
from .text_stack import check_length, positions_of


@dataclass(frozen=True)
class TextDecoderConfig(LanguageModelConfig):
    """Configuration of a `TextDecoder`."""


class TextDecoder(LanguageModel):
    """A causal transformer, with cross-attention where it has a context; built from a `TextDecoderConfig`."""

    def __init__(self, config: TextDecoderConfig) -> None:
        super().__init__(config, causal=True)
        self.config: TextDecoderConfig = config

    def no_context(self, count: int) -> ProjectedContext:
        """Return `count` contexts of no tokens, with which a decoder without cross-attention starts as many texts."""
        c = self.config
        empty = next(self.blocks.parameters()).new_empty(count, c.num_heads, 0, c.head_width)
        return ProjectedContext((KeysValues(empty, empty),) * c.depth)

    def start(self, context: Float[Tensor, "b m C"] | ProjectedContext, *, rows: int, capacity: int) -> DecoderCache:
        """Make the cache of a new decode: the context's keys and values, and memory for those of the tokens.

        Args:
            context: Tokens to attend to, or what `project_context` computed from them; what `no_context` returns for a
                decoder without cross-attention.
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
                the context, and for a decoder without cross-attention.
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
        if self.config.context_dim is None:
            if context is not None:
                raise ModelError("`context` must be left out for a decoder without cross-attention, but is given")
        elif (context is None) == (cache is None):
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
            mask=Mask(causal=torch.compiler.is_exporting() or count > 1, keys=keys),
            context_attention_mask=context_attention_mask,
            cache=cache,
            tap=tap,
            checkpoint_activations=checkpoint_activations,
        )
        return self.score(x[:, -1:] if last_only else x)
