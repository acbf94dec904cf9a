"""The terms that all searches share: what a search tells the decoding loop, when a text is complete, its score.

Notation: r rows (texts that are decoded), b items of the batch (each with its context), w texts of each item, V
vocabulary. Rows of one item stand together.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Float, Int64
from torch import Tensor

from ..errors import ModelError
from .config import Generated, GenerationConfig, normalized

StopWhen = Callable[[int, Sequence[int]], bool]
"""Takes an item's index and the new tokens of one of its texts; returns whether the text ends with the last of them."""

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


@dataclass(frozen=True)
class StoppingCriteria:
    """When a text is complete."""

    stop: frozenset[int]
    """Tokens that end a text."""

    max_tokens: int
    """The most new tokens."""

    stop_when: StopWhen | None

    def is_finished(self, item: int, tokens: Sequence[int], token: int) -> bool:
        """Return whether a text is complete with `token` after its new `tokens`."""
        return token in self.stop or (self.stop_when is not None and self.stop_when(item, [*tokens, token]))


def generated(
    options: GenerationConfig, tokens: Sequence[int], log_probs: Sequence[float], *, total: float, finished: bool
) -> Generated:
    """Return a text with its score.

    Args:
        options: Say how the score depends on the length.
        tokens: The new tokens, without the end token.
        log_probs: Of the new tokens, and of the end token if the text has one.
        total: The sum of the log-probabilities that texts are compared by.
        finished: Whether the text is complete.
    """
    count = len(log_probs if options.count_end else tokens)
    score = normalized(total, count, options.length_penalty)
    return Generated(tuple(tokens), tuple(log_probs), score, finished)


def best_first(texts: Sequence[Generated]) -> list[Generated]:
    """Sort texts by falling score; equal ones keep their order."""
    return sorted(texts, key=lambda text: text.score, reverse=True)


def check_numbers(scores: Sequence[float]) -> None:
    """Check that the model's scores are numbers.

    Raises:
        ModelError: One is NaN.
    """
    if any(map(math.isnan, scores)):
        raise ModelError(
            "the model's scores must be numbers, but are NaN instead: its weights are damaged, or the precision is too "
            "low for them"
        )
