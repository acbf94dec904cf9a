"""The text encoder: each token of a text attends to all tokens of the text, and to a context where there is one.

Notation: r rows (texts), n tokens, b contexts, m context tokens, C the context's width, D width, T that of
`text`. The rows of one context are consecutive: row i belongs to context i // (r / b).
Source: Devlin et al. 2019 (BERT); with cross-attention, Li et al. 2022 (BLIP), the image-grounded text encoder.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from ..attention import Mask, Probe, ProjectedContext, Tap
from ..blocks import applied
from ..checks import check_at_least, check_rules
from ..errors import ModelError
from .common import initialize
from .text_stack import TextConfig, TextStack, positions_of

_FACTOR = 1_000_003
"""A prime, so that pairs of a million tokens would have rows of their own."""


@dataclass(frozen=True)
class TextEncoderConfig(TextConfig):
    """Configuration of a `TextEncoder`. Where `context_dim` is None, it attends to the text alone."""

    text: "TextEncoderConfig | None" = None
    """A text encoder of the same vocabulary, without cross-attention, that reads the text first: a linear layer maps
    its states to this encoder's width, and they are added to the embedded tokens. None without one."""

    pairs: int = 0
    """Rows of a table of vectors for pairs of neighboring tokens, of which each is added to the second token. A pair's
    row follows from both tokens, and other pairs may share it. 0 without a table."""

    summary: bool = False
    """Whether the mean of all embedded tokens is added to the first one, from which a classifier reads: it need not
    learn to collect the words by attention."""

    window: int | None = None
    """Tokens that a token attends to on each side, at a cost linear in the length; all of the text where None."""

    global_projections: bool = False
    """Whether global tokens, which the window does not bind, have projections of their own to queries, keys and
    values. Source: Longformer (Beltagy et al. 2020), section 3.1."""

    def __post_init__(self) -> None:
        """Check that such an encoder can be built.

        Raises:
            ValueError: It cannot; the message names the field.
        """
        super().__post_init__()
        check_at_least(self, 0, ("pairs", *(() if self.window is None else ("window",))))
        has_window = self.window is not None or not self.global_projections
        check_rules(self, ("window", has_window, "a number with `global_projections`"))
        if (text := self.text) is None:
            return
        same = ("vocab_size", "start_token", "end_token", "pad_token")
        least = f"at least `max_length` ({self.max_length})"
        check_rules(
            self,
            ("text.context_dim", text.context_dim is None, "None, for the encoder that reads first sees no context"),
            ("text.text", text.text is None, "None, for one encoder reads first"),
            ("text.max_length", text.max_length >= self.max_length, least),
            *(
                (f"text.{name}", getattr(text, name) == getattr(self, name), f"`{name}` ({getattr(self, name)})")
                for name in same
            ),
        )


class TextEncoder(TextStack):
    """A bidirectional transformer over a text, built from a `TextEncoderConfig`."""

    def __init__(self, config: TextEncoderConfig) -> None:
        super().__init__(config, global_projections=config.global_projections)
        self.config: TextEncoderConfig = config
        self.text = None if config.text is None else TextEncoder(config.text)
        self.text_bridge = None if config.text is None else nn.Linear(config.text.dim, config.dim)
        self.pairs = nn.Embedding(config.pairs, config.dim) if config.pairs else None
        self.apply(initialize)

    def forward(
        self,
        tokens: Int64[Tensor, "r n"],
        context: Float[Tensor, "b m C"] | ProjectedContext | None = None,
        *,
        context_attention_mask: Bool[Tensor, "b m"] | None = None,
        attention_mask: Bool[Tensor, "r n"] | None = None,
        global_tokens: Int64[Tensor, "#r g"] | None = None,
        text_states: Float[Tensor, "r n T"] | None = None,
        first_only: bool = False,
        tap: Tap | Probe | None = None,
        checkpoint_activations: bool = False,
        skip_cross: bool = False,
    ) -> Float[Tensor, "r out D"]:
        """Return the state of each token after the last block.

        Args:
            tokens: The texts, special tokens included.
            context: Tokens to attend to, or what `project_context` computed from them; None for an encoder without
                cross-attention.
            context_attention_mask: False where a token of a `context` that is a tensor is padding; None without
                padding.
            attention_mask: False where a token is padding; None without padding.
            global_tokens: For an encoder with a window: positions of tokens that attend to all of the text and are
                attended to by all of it; -1 fills up where a text has fewer. None without any.
            text_states: What `text` returns for these texts, where it has been computed before.
            first_only: Compute only the first token's state in the last block, and return it alone (`out` is 1).
            tap: Captures attention weights; with `first_only`, the last block's sites have one query row, but for a
                window.
            checkpoint_activations: See `TransformerBlock`.

            skip_cross: Read the text by itself, without the cross-attention; `context` is None then.

        Raises:
            ModelError: A text is longer than the position table, or `context` is missing, or is given to an encoder
                without cross-attention.
            ValueError: A global token is out of range, or the encoder has no window.
        """
        if (context is None) != (self.config.context_dim is None or skip_cross):
            raise ModelError(
                "`context` must be left out for an encoder without cross-attention, but is given"
                if context is not None
                else "`context` must be given to an encoder with cross-attention, but is None instead"
            )
        x = self.embed(tokens, positions_of(tokens, attention_mask, max_length=self.config.max_length))  # (r, n, D)
        if self.pairs is not None:
            x = x + applied(self.dropout, self.pairs(_pair_rows(tokens, attention_mask, count=self.config.pairs)))
        if self.text is not None and self.text_bridge is not None:
            states = self.text(tokens, attention_mask=attention_mask) if text_states is None else text_states
            x = x + applied(self.dropout, self.text_bridge(states.to(x)))
        if self.config.summary:
            x = _with_summary(x, attention_mask)
        few = slice(0, 1) if first_only else None
        x = self.run(
            x,
            context,
            mask=Mask(window=self.config.window, keys=attention_mask, global_tokens=global_tokens),
            context_attention_mask=context_attention_mask,
            # the rows of a window are the last ones
            last_rows=few if self.config.window is None else None,
            tap=tap,
            checkpoint_activations=checkpoint_activations,
            skip_cross=skip_cross,
        )
        if few is not None:
            x = x[:, few]
        return x if self.norm is None else self.norm(x)


def _pair_rows(
    tokens: Int64[Tensor, "r n"], attention_mask: Bool[Tensor, "r n"] | None, *, count: int
) -> Int64[Tensor, "r n"]:
    """The row, of `count`, of each token and the one before it; the first token of a text is paired with itself."""
    before = torch.cat([tokens[:, :1], tokens[:, :-1]], dim=1)
    if attention_mask is not None:
        before = torch.where(_first(attention_mask), tokens, before)
    return (before * _FACTOR + tokens) % count


def _with_summary(x: Float[Tensor, "r n D"], attention_mask: Bool[Tensor, "r n"] | None) -> Float[Tensor, "r n D"]:
    """Add the mean of a text's tokens to its first one."""
    mask = torch.ones_like(x[..., 0], dtype=torch.bool) if attention_mask is None else attention_mask
    shares = mask.to(x) / mask.sum(dim=1, keepdim=True).clamp(min=1)
    mean = (x * shares[..., None]).sum(dim=1, keepdim=True)  # (r, 1, D)
    return x + mean * _first(mask)[..., None]


def _first(attention_mask: Bool[Tensor, "r n"]) -> Bool[Tensor, "r n"]:
    """Where the first token of each text is."""
    return attention_mask & (attention_mask.cumsum(dim=1) == 1)
