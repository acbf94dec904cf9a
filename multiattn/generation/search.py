"""The terms that all searches share: what a search is given, and what it tells the decoding loop.

Notation: r rows (texts that are decoded), b items of the batch (each with its context), w texts of each item, V
vocabulary. Rows of one item stand together.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Float, Int64
from torch import Tensor

from .config import Generated

ProcessLogits = Callable[[Tensor], Tensor]
"""Applies the logits processors to scores (r, V)."""


@runtime_checkable
class Scorer(Protocol):
    """A second opinion on the next token. It keeps the state of one generation."""

    def __call__(self, scores: Float[Tensor, "r V"]) -> Float[Tensor, "r V"]:
        """Change the log-probabilities that the logits processors returned, renormalized; -inf stays -inf."""

    def follow(
        self, tokens: Int64[Tensor, " r"], rows: Int64[Tensor, " r"] | None, items: Int64[Tensor, " b"] | None
    ) -> None:
        """Update the state with the next token of each row, after selecting `rows` and `items` as in `Step`."""


@dataclass(frozen=True, eq=False)
class Step:
    """How the loop continues."""

    tokens: Int64[Tensor, " r"]
    """The next token of each row, on the device of the logits."""

    rows: list[int] | None
    """The previous row that each row continues; None where they are the same."""

    items: list[int] | None
    """The indices of the items that stay; None where all do."""


class Search(Protocol):
    """A way to choose tokens. It keeps the state of one generation."""

    def step(self, logits: Float[Tensor, "r V"], process: ProcessLogits) -> Step | None:
        """Choose the next tokens. The first call has one row an item, whatever the search needs afterwards.

        Args:
            logits: The model's logits.
            process: Applies the logits processors; to be called once, with the scores that the search compares.

        Returns:
            How to continue; None at the end.

        Raises:
            ModelError: The logits are NaN.
        """

    def results(self) -> list[list[Generated]]:
        """Return the texts of each item, best first."""
