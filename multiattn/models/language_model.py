"""A text stack with a head that turns the state of each token into logits of the vocabulary.

Notation: r rows (texts), n tokens, D width, V vocabulary.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from ..attention import Mask, Probe, Tap
from ..blocks import activation, applied, make_norm
from ..checks import check_rules
from .common import initialize
from .text_stack import TextConfig, TextStack, positions_of


@dataclass(frozen=True)
class LanguageModelConfig(TextConfig):
    """Configuration of a `LanguageModel`."""

    head: Literal["plain", "transform"] = "plain"
    """`transform`: a linear layer, activation and norm before the projection to the vocabulary, as in BERT."""

    head_bias: bool = False
    """Whether the projection to the vocabulary has a bias."""

    tied: bool = True
    """Whether the projection shares its weight with the embedding."""

    scale_states: bool = False
    """Whether the states are divided by the root of `dim` before the projection, as in the first T5."""


class LanguageModel(TextStack):
    """The base of the models that score a vocabulary: the head, built from a `LanguageModelConfig`.

    Args:
        config: The configuration.
        causal: Whether tokens attend only to those before them, for relative positions.
    """

    def __init__(self, config: LanguageModelConfig, *, causal: bool = False) -> None:
        super().__init__(config, causal=causal)
        c = config
        has_transform = c.head == "transform"
        self.head_dense = nn.Linear(c.dim, c.dim) if has_transform else None
        self.head_activation = activation(c.activation) if has_transform else None
        self.head_norm = make_norm(c.norm, c.dim, eps=c.norm_eps) if has_transform else None
        self.head = None if c.tied else nn.Linear(c.dim, c.vocab_size, bias=False)
        self.head_bias = nn.Parameter(torch.zeros(c.vocab_size)) if c.head_bias else None
        self.project: Callable[[Tensor, Tensor, Tensor | None], Tensor] = F.linear
        """Multiplies states and the vocabulary's weight; `generation.packing` puts a packed copy here."""
        self._scale = c.dim**-0.5 if c.scale_states else None
        self.apply(initialize)

    def score(self, x: Float[Tensor, "r n D"]) -> Float[Tensor, "r n V"]:
        """Return the logits of the vocabulary for states of the last block."""
        x = applied(self.norm, x)
        if self.head_dense is not None:
            assert self.head_activation is not None and self.head_norm is not None
            x = self.head_norm(self.head_activation(self.head_dense(x)))
        if self._scale is not None:
            x = x * self._scale
        return self.project(x, self.embedding.weight if self.head is None else self.head.weight, self.head_bias)


@dataclass(frozen=True)
class MaskedLanguageModelConfig(LanguageModelConfig):
    """Configuration of a `MaskedLanguageModel`."""

    context_dim: None = None
    """Always None: it reads a text alone."""

    def __post_init__(self) -> None:
        """Check that such a model can be built.

        Raises:
            ValueError: It cannot; the message names the field.
        """
        super().__post_init__()
        check_rules(self, ("context_dim", self.context_dim is None, "None, for it reads a text alone"))


class MaskedLanguageModel(LanguageModel):
    """A bidirectional transformer that says which token a text has at each place; from a `MaskedLanguageModelConfig`.

    Source: Devlin et al. 2019 (BERT), section 3.1, task 1.
    """

    def __init__(self, config: MaskedLanguageModelConfig) -> None:
        super().__init__(config)
        self.config: MaskedLanguageModelConfig = config

    def forward(
        self,
        tokens: Int64[Tensor, "r n"],
        *,
        attention_mask: Bool[Tensor, "r n"] | None = None,
        tap: Tap | Probe | None = None,
        checkpoint_activations: bool = False,
    ) -> Float[Tensor, "r n V"]:
        """Return the logits of each token itself, which count where the text has the mask token.

        Args:
            tokens: The texts, special tokens included.
            attention_mask: False where a token is padding; None without padding.
            tap: Captures attention weights.
            checkpoint_activations: See `TransformerBlock`.

        Raises:
            ModelError: A text is longer than the position table.
        """
        positions = positions_of(tokens, attention_mask, max_length=self.config.max_length)
        states = self.run(
            self.embed(tokens, positions),  # (r, n, D)
            mask=Mask(keys=attention_mask),
            tap=tap,
            checkpoint_activations=checkpoint_activations,
        )
        return self.score(states)
