"""A rule of the search: a text does not end at a time after which somebody still speaks.

Whisper ends a text at a time where it expects that the next window begins, or before words that it is not sure of. In
a chunk that ends at a pause, all of the speech can be written.

Notation: r rows (texts that are decoded), b items (windows), V vocabulary. Rows of one item stand together.
"""

import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ...generation.search import Scorer


class ReachSpeech:
    """A `Scorer` that forbids the end token right after a timestamp that is too early.

    Args:
        least: For each item, the index of the first timestamp that may end a text; 0: any may.
        first_timestamp: The timestamp of 0 seconds.
        end: The end token.
        inner: A scorer that is applied first.
    """

    def __init__(
        self, least: Int64[Tensor, " b"], *, first_timestamp: int, end: int, inner: Scorer | None = None
    ) -> None:
        self._least, self._first, self._end, self._inner = least, first_timestamp, end, inner
        self._last: Tensor | None = None  # the last token of each row; None at the start

    def __call__(self, scores: Float[Tensor, "r V"]) -> Float[Tensor, "r V"]:
        """Forbid the end token where it is too early, unless nothing else may follow."""
        scores = scores if self._inner is None else self._inner(scores)
        if self._last is None:
            return scores
        least = self._least.repeat_interleave(len(self._last) // len(self._least))
        is_early = (self._last >= self._first) & (self._last - self._first < least)
        if not bool(is_early.any()):
            return scores
        others = scores.clone()
        others[:, self._end] = -math.inf
        total = others.logsumexp(dim=-1, keepdim=True)
        return torch.where(is_early[:, None] & (total > -math.inf), others - total, scores)

    def follow(
        self, tokens: Int64[Tensor, " r"], rows: Int64[Tensor, " r"] | None, items: Int64[Tensor, " b"] | None
    ) -> None:
        """Keep the next token of each row."""
        if items is not None:
            self._least = self._least[items]
        if self._inner is not None:
            self._inner.follow(tokens, rows, items)
        self._last = tokens
