"""What all ways to find a text have in common: what they tell the loop, and when a text is at its end.

Notation: r rows (texts that are decoded), b items (each with its context), w texts of each item, V vocabulary. Rows of
one item stand together.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Float, Int64
from torch import Tensor

from ..errors import ModelError
from .config import Generated

StopWhen = Callable[[int, Sequence[int]], bool]
"""Given an item's number and the new tokens of one of its texts: whether that text ends with the last of them."""

Constrain = Callable[[Tensor], Tensor]
"""The scores (r, V) of the tokens that may follow, as the constraints leave them."""


@runtime_checkable
class Scorer(Protocol):
    """A second opinion on what follows. It holds the state of one decode: what it needs of each text."""

    def __call__(self, scores: Float[Tensor, "r V"]) -> Float[Tensor, "r V"]:
        """Change the log-probabilities that constraints left, renormalized; -inf stays what it is."""
        ...

    def follow(
        self, tokens: Int64[Tensor, " r"], rows: Int64[Tensor, " r"] | None, items: Int64[Tensor, " b"] | None
    ) -> None:
        """Go on with the next token of each row, after `rows` and `items` were kept, as `Step` has them."""
        ...


@dataclass(frozen=True)
class Step:
    """How the loop goes on."""

    tokens: list[int]
    """The next token of each row."""

    rows: list[int] | None
    """The old row that each row continues; None where they are the same."""

    items: list[int] | None
    """The items that stay, of those there were; None where all do."""


class Search(Protocol):
    """A way to find texts. It holds the state of one decode."""

    def step(self, logits: Float[Tensor, "r V"], constrain: Constrain) -> Step | None:
        """Choose what follows. The first time there is one row an item, whatever the search wants of them.

        Args:
            logits: The model's scores.
            constrain: To be called once, with the scores that the search compares.

        Returns:
            How to go on; None at the end.

        Raises:
            ModelError: The scores are no numbers.
        """
        ...

    def results(self) -> list[list[Generated]]:
        """The texts of each item, best first."""
        ...


@dataclass(frozen=True)
class Ending:
    """When a text is at its end."""

    stop: frozenset[int]
    """Tokens that end it."""

    longest: int
    """New tokens there may be."""

    stop_when: StopWhen | None

    def is_finished(self, item: int, tokens: Sequence[int], token: int) -> bool:
        """Whether a text is complete with `token` after its new `tokens`."""
        return token in self.stop or (self.stop_when is not None and self.stop_when(item, [*tokens, token]))


def check_numbers(scores: Sequence[float]) -> None:
    """Make sure that the model said something.

    Raises:
        ModelError: A score is no number.
    """
    if any(map(math.isnan, scores)):
        raise ModelError(
            "the model's scores must be numbers, but are NaN instead: its weights are damaged, or the precision is too "
            "low for them"
        )
