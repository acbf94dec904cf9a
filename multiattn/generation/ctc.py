"""Joint CTC and attention scoring: how probable each text is by the encoder's frames alone.

Notation: b items, w texts of each, r rows (b w), t frames, V vocabulary. A prefix's mass at a frame is the probability
of all alignments of it to the frames up to there whose last symbol is its last token (or the blank).
Source: Watanabe et al. 2017, "Hybrid CTC/Attention Architecture for End-to-End Speech Recognition", algorithm 2.
"""

import math

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from ..checks import require


class CtcScorer:
    """A `Scorer` that mixes the decoder's log-probabilities with those of CTC prefixes.

    Args:
        log_probs: Log-probabilities of each symbol at each frame, for each item.
        frames: Number of frames of each item; later ones are ignored.
        weight: Share of the CTC, above 0 and at most 1.
        blank: The blank symbol; no token of a text.
        end: The end token. A text that ends with it must account for all frames.

    Raises:
        ModelError: The frames of an item or the weight are out of range.
    """

    def __init__(
        self,
        log_probs: Float[Tensor, "b t V"],
        frames: Int64[Tensor, " b"],
        *,
        weight: float,
        blank: int,
        end: int,
    ) -> None:
        require(0 < weight <= 1, "weight", must="above 0 and at most 1", value=weight)
        count = log_probs.shape[1]
        for number in frames.tolist():
            require(1 <= number <= count, "frames", must=f"from 1 to {count}", value=number)
        self._weight, self._blank, self._end = weight, blank, end
        # in fp64: differences of sums over a thousand frames are taken
        self._log_probs = log_probs.double()  # (b, t, V)
        self._probs = self._log_probs.exp()
        self._beyond = torch.arange(count, device=frames.device) >= frames[:, None]  # (b, t)
        self._last_frame = frames - 1
        # the empty prefix is all blanks: no mass ends in a token
        self._blanks = self._log_probs[:, :, blank].cumsum(dim=1)  # (b, t)
        self._tokens = torch.full_like(self._blanks, -math.inf)
        self._last: Tensor | None = None  # the last token of each row; None for empty prefixes
        self._mass = self._blanks.new_zeros(len(frames))  # of each prefix with all its continuations
        self._next: Tensor | None = None

    def __call__(self, scores: Float[Tensor, "r V"]) -> Float[Tensor, "r V"]:
        """Mix the decoder's log-probabilities with the change of the prefix's by each token."""
        self._next = self._extended()
        change = self._next - self._mass[:, None]
        change = change.masked_fill(change.isnan(), -math.inf)  # a prefix that fits no alignment has no continuation
        mixed = (1 - self._weight) * scores.masked_fill(scores == -math.inf, 0.0) + self._weight * change.to(scores)
        return mixed.masked_fill(scores == -math.inf, -math.inf)

    def _extended(self) -> Float64[Tensor, "r V"]:
        """Return the log-probability of each prefix with each token after it."""
        items, count, _ = self._probs.shape
        rows = len(self._mass)
        width = rows // items
        # a token may begin at a frame after any alignment of the prefix to the frames before
        before = torch.logaddexp(self._blanks, self._tokens).roll(1, dims=1)  # (r, t)
        before[:, 0] = 0.0 if self._last is None else -math.inf
        beyond = self._beyond.repeat_interleave(width, dim=0)
        shares, top = _shares(before.masked_fill(beyond, -math.inf))
        result = (shares.view(items, width, count) @ self._probs).view(rows, -1).log() + top  # (r, V)
        if self._last is not None:
            # but not right after itself, which would be the same token
            before = self._blanks.roll(1, dims=1)
            before[:, 0] = -math.inf
            shares, top = _shares(before.masked_fill(beyond, -math.inf))
            again = (shares * self._probs[_items(rows, items, top.device), :, self._last]).sum(dim=1).log() + top[:, 0]
            result.scatter_(1, self._last[:, None], again[:, None])
        at_end = self._last_frame.repeat_interleave(width)[:, None]
        result[:, self._end] = torch.logaddexp(self._blanks, self._tokens).gather(1, at_end)[:, 0]
        result[:, self._blank] = -math.inf
        return result

    def follow(
        self, tokens: Int64[Tensor, " r"], rows: Int64[Tensor, " r"] | None, items: Int64[Tensor, " b"] | None
    ) -> None:
        """Update the masses with the next token of each row."""
        assert self._next is not None
        if items is not None:
            self._log_probs, self._probs = self._log_probs[items], self._probs[items]
            self._beyond, self._last_frame = self._beyond[items], self._last_frame[items]
        old_blanks, old_tokens, old_last, found = self._blanks, self._tokens, self._last, self._next
        if rows is not None:
            old_blanks, old_tokens, found = old_blanks[rows], old_tokens[rows], found[rows]
            old_last = None if old_last is None else old_last[rows]
        items_of_rows = _items(len(tokens), len(self._last_frame), tokens.device)
        own = self._log_probs[items_of_rows, :, tokens]  # (r, t), of each row's new token
        blank = self._log_probs[items_of_rows, :, self._blank]
        either = torch.logaddexp(old_blanks, old_tokens)
        begin = either if old_last is None else torch.where((tokens == old_last)[:, None], old_blanks, either)
        start = torch.full_like(begin[:, :1], 0.0 if old_last is None else -math.inf)
        self._tokens = _summed(torch.cat([start, begin[:, :-1]], dim=1), own)
        self._blanks = _summed(torch.cat([torch.full_like(start, -math.inf), self._tokens[:, :-1]], dim=1), blank)
        self._mass = found.gather(1, tokens[:, None])[:, 0]
        self._last = tokens


def _items(rows: int, items: int, device: torch.device) -> Tensor:
    """Return the item of each row."""
    return torch.arange(rows, device=device) // (rows // items)


def _shares(masses: Tensor) -> tuple[Tensor, Tensor]:
    """Return masses (r, t) divided by the largest of each row, and its logarithm (r, 1)."""
    top = masses.amax(dim=1, keepdim=True)
    top = top.masked_fill(top == -math.inf, 0.0)
    return (masses - top).exp(), top


def _summed(entering: Tensor, log_probs: Tensor) -> Tensor:
    """Return the mass x of a state at each frame: x(t) = (x(t - 1) + entering(t)) p(t), from 0 on."""
    steps = log_probs.cumsum(dim=1)
    return steps + (entering - steps + log_probs).logcumsumexp(dim=1)
