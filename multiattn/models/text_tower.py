"""The text tower of a two-tower model: a text to one state, from which its embedding is made.

Notation: r rows (texts), n tokens, D width.
Source: Radford et al. 2021 (CLIP): causal, read at the end token; Zhai et al. 2023 (SigLIP): bidirectional, filled up
to a fixed length, read at the last token.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from ..attention import Mask, Probe, Tap
from ..checks import check_rules
from .common import initialize
from .text_stack import TextConfig, TextStack, check_length


@dataclass(frozen=True)
class FramedTextConfig(TextConfig):
    """Configuration of a part that reads whole texts between special tokens."""

    has_start: bool = True
    """Whether a text begins with the start token."""

    fixed_length: bool = False
    """Whether every text is filled up to `max_length` with pad tokens, which are attended to like others (SigLIP).
    Otherwise padding is not seen."""

    def __post_init__(self) -> None:
        """Check that such a part can be built.

        Raises:
            ValueError: It cannot; the message names the field.
        """
        super().__post_init__()
        must = f"above {self.num_special}, the special tokens of a text"
        check_rules(self, ("max_length", self.max_length > self.num_special, must))

    @property
    def num_special(self) -> int:
        """Number of special tokens of a text: the end token, and the start token where it has one."""
        return 1 + self.has_start

    @property
    def longest(self) -> int:
        """The most tokens of a text, without the special ones."""
        return self.max_length - self.num_special

    def framed(self, ids: Sequence[int]) -> tuple[int, ...]:
        """Return the tokens of a text as they are read: the first `longest`, between the special tokens."""
        start = (self.start_token,) if self.has_start else ()
        return (*start, *ids[: self.longest], self.end_token)

    def padded(self, rows: Sequence[Sequence[int]]) -> tuple[Int64[Tensor, "r n"], Bool[Tensor, "r n"]]:
        """Return framed texts as one tensor, padded at the end, and where it holds their tokens."""
        length = self.max_length if self.fixed_length else max(map(len, rows), default=0)
        tokens = torch.tensor([[*row, *[self.pad_token] * (length - len(row))] for row in rows]).view(len(rows), length)
        lengths = torch.tensor([len(row) for row in rows])
        return tokens.long(), torch.arange(length) < lengths[:, None]


@dataclass(frozen=True)
class TextTowerConfig(FramedTextConfig):
    """Configuration of a `TextTower`."""

    context_dim: None = None
    """None: the tower reads the text alone."""

    causal: bool = True
    """Whether a token attends only to those before it (CLIP), or to all (SigLIP)."""

    pool: Literal["end", "highest", "last"] = "end"
    """The token whose state stands for the text. `end`: the first end token. `highest`: the first one of the highest
    id, as OpenAI's CLIP, whose end token is the highest. `last`: the last row, padding included."""

    def __post_init__(self) -> None:
        """Check that such a tower can be built.

        Raises:
            ValueError: It cannot; the message names the field.
        """
        super().__post_init__()
        needs_length = self.pool != "last" or self.fixed_length
        check_rules(self, ("pool", needs_length, "'end' or 'highest' where texts have no fixed length"))


class TextTower(TextStack):
    """A transformer over a text, built from a `TextTowerConfig`."""

    def __init__(self, config: TextTowerConfig) -> None:
        super().__init__(config, causal=config.causal)
        self.config: TextTowerConfig = config
        self.apply(initialize)

    def forward(
        self,
        tokens: Int64[Tensor, "r n"],
        attention_mask: Bool[Tensor, "r n"] | None = None,
        *,
        tap: Tap | Probe | None = None,
        checkpoint_activations: bool = False,
    ) -> Float[Tensor, "r D"]:
        """Return the state of each text.

        Args:
            tokens: The texts, special tokens included, from the first column on.
            attention_mask: False where a column is padding, whatever token is there; None without padding.
            tap: Captures attention weights.
            checkpoint_activations: See `TransformerBlock`.

        Raises:
            ModelError: A text is longer than the position table.
        """
        tokens = self.filled(tokens, attention_mask)
        x = self.features(tokens, attention_mask, tap=tap, checkpoint_activations=checkpoint_activations)
        return x[torch.arange(len(x), device=x.device), self.read_at(tokens)]  # (r, D)

    def features(
        self,
        tokens: Int64[Tensor, "r n"],
        attention_mask: Bool[Tensor, "r n"] | None = None,
        *,
        tap: Tap | Probe | None = None,
        checkpoint_activations: bool = False,
    ) -> Float[Tensor, "r m D"]:
        """Return each token's state after the last norm. `m` is `n`, or the fixed length; arguments as `forward`."""
        c = self.config
        tokens = self.filled(tokens, attention_mask)
        check_length(tokens.shape[1], c.max_length)
        positions = torch.arange(tokens.shape[1], device=tokens.device)[None]
        # padding at the end is not seen by the tokens before it where they look back only
        keys = None if c.fixed_length or c.causal else attention_mask
        x = self.run(
            self.embed(tokens, positions),  # (r, m, D)
            mask=Mask(causal=c.causal, keys=keys),
            tap=tap,
            checkpoint_activations=checkpoint_activations,
        )
        return x if self.norm is None else self.norm(x)

    def filled(
        self, tokens: Int64[Tensor, "r n"], attention_mask: Bool[Tensor, "r n"] | None = None
    ) -> Int64[Tensor, "r m"]:
        """Return texts with the pad token for padding, filled up to the fixed length where the tower has one."""
        c = self.config
        if attention_mask is not None:
            tokens = tokens.masked_fill(~attention_mask, c.pad_token)
        missing = c.max_length - tokens.shape[1]
        return F.pad(tokens, (0, missing), value=c.pad_token) if c.fixed_length and missing > 0 else tokens

    def read_at(self, tokens: Int64[Tensor, "r n"]) -> Int64[Tensor, " r"]:
        """Return the column of each text whose state stands for it. Padding is filled, by `filled`."""
        if self.config.pool == "last":
            return torch.full((len(tokens),), tokens.shape[1] - 1, device=tokens.device)
        found = tokens == self.config.end_token if self.config.pool == "end" else tokens
        return found.int().argmax(dim=1)  # the first of several
