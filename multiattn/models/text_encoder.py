"""The text encoder: a text to the states of its tokens, each of which has seen all others and the context, if any.

Notation: r rows (texts), n tokens, b contexts, m context tokens, C the context's width, D width. Rows of one context
stand together: row i belongs to context i // (r / b).
Source: Devlin et al. 2019 (BERT); with cross-attention, Li et al. 2022 (BLIP), the image-grounded text encoder.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from ..attention import Mask, Probe, ProjectedContext, Tap, probe_at
from ..errors import ModelError
from .initial import initialize
from .text_stack import TextConfig, TextStack, places, too_long


@dataclass(frozen=True)
class TextEncoderConfig(TextConfig):
    """What a `TextEncoder` is made of. Where `context_dim` is None, nothing but the text is looked at."""


class TextEncoder(TextStack):
    """A bidirectional transformer over a text, built from a `TextEncoderConfig`."""

    def __init__(self, config: TextEncoderConfig) -> None:
        super().__init__(config)
        self.apply(initialize)

    def forward(
        self,
        tokens: Int64[Tensor, "r n"],
        context: Float[Tensor, "b m C"] | ProjectedContext | None = None,
        *,
        context_attention_mask: Bool[Tensor, "b m"] | None = None,
        attention_mask: Bool[Tensor, "r n"] | None = None,
        first_only: bool = False,
        tap: Tap | Probe | None = None,
    ) -> Float[Tensor, "r out D"]:
        """The state of each token after the last block.

        Args:
            tokens: The texts, special tokens included.
            context: What to attend to, or what `project_context` made of it; None for an encoder of text alone.
            context_attention_mask: False where a token of a `context` that is a tensor is padding; None where none is.
            attention_mask: False where a token is padding, which nothing attends to and no position counts; None where none is.
            first_only: Give the first token's state alone: `out` is 1, and the last block computes no other.
            tap: What to capture of the attention; with `first_only`, the last block's sites have one row.

        Raises:
            ModelError: A text is longer than the position table, or there is a context where none is looked at, or
                none where one is.
        """
        if (context is None) != (self.config.context_dim is None):
            raise ModelError(
                "`context` must be left out for an encoder without cross-attention, but is given"
                if context is not None
                else "`context` must be given to an encoder with cross-attention, but is None instead"
            )
        if (count := tokens.shape[1]) > self.config.max_length:
            raise ModelError(too_long(self.config.max_length, count))
        positions = (
            torch.arange(count, device=tokens.device)[None] if attention_mask is None else places(attention_mask)
        )
        mask = Mask(keys=attention_mask)
        context_mask = Mask(
            keys=context.attention_mask if isinstance(context, ProjectedContext) else context_attention_mask
        )
        x = self.embed(tokens, positions)  # (r, n, D)
        for i, block in enumerate(self.blocks):
            x = block(
                x,
                context.layers[i] if isinstance(context, ProjectedContext) else context,
                rows=slice(0, 1) if first_only and i == len(self.blocks) - 1 else None,
                mask=mask,
                context_mask=context_mask,
                probe=probe_at(tap, f"blocks.{i}"),
            )
        return x if self.norm is None else self.norm(x)
