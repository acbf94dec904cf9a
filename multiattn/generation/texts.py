"""What every search knows of its texts, on any runtime: when one is complete, its score, and the order of several."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ..errors import ModelError
from .config import Generated, GenerationConfig, normalized

StopWhen = Callable[[int, Sequence[int]], bool]
"""Takes an item's index and the new tokens of one of its texts; returns whether the text ends with the last of them."""


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


@dataclass
class RunningText:
    """A text that takes one token after the other."""

    tokens: list[int] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)
    total: float = 0.0
    """Of the log-probabilities by which texts are compared."""

    is_over: bool = False
    is_finished: bool = False

    def append(self, item: int, token: int, log_prob: float, value: float, stopping: StoppingCriteria) -> None:
        """Add a token, unless the text is over; what was decoded after a text's end means nothing.

        Args:
            item: The index of the text's item.
            token: The token.
            log_prob: Its log-probability by the model; -inf where every token is forbidden.
            value: That by which texts are compared.
            stopping: When the text is complete.

        Raises:
            ModelError: The log-probability is NaN.
        """
        if self.is_over:
            return
        check_numbers([log_prob])
        if log_prob == -math.inf:
            self.is_over = True
            return
        self.is_finished = stopping.is_finished(item, self.tokens, token)
        self.log_probs.append(log_prob)
        self.total += value
        if token not in stopping.stop:
            self.tokens.append(token)
        self.is_over = self.is_finished or len(self.log_probs) == stopping.max_tokens

    def generated(self, options: GenerationConfig) -> Generated:
        """Return the text with its score."""
        return generated(options, self.tokens, self.log_probs, total=self.total, finished=self.is_finished)
