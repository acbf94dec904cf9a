"""Detection of loops: whether a model's attention moves on through a recording while the model writes.

Notation: h heads, n tokens (rows: the attention with which each was predicted), m encoder frames.

While a model transcribes speech, its attention moves forward every few tokens. In a loop, it stays at the same frames
or jumps back to repeat them; over silence, where the model invents text, it spreads over all frames.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int64

STALL_TOKENS, STALL_SECONDS = 12, 0.3
"""This many tokens in a row that attend to a stretch this short (seconds) are a stall: speech has no 40 tokens/s."""

BACK_SECONDS = 0.6
"""A token is a step backwards if it attends this far (seconds) behind the time reached; less is normal jitter."""

STALLED_ABOVE, BACKWARDS_ABOVE = 0.3, 0.3
"""Shares of the tokens above which the whole text is flagged."""

_NEAR_SECONDS = 0.25  # on each side of the median: the frames that count for `focus`
_MEDIAN_TOKENS = 5  # the time reached is a median over this many tokens, so that one outlier does not move it


@dataclass(frozen=True)
class Progress:
    """How the attention of a text moved through its recording."""

    tokens: int
    """Number of tokens of the text."""

    stalled_share: float
    """Share of tokens in runs of at least `STALL_TOKENS` that all attend to the same `STALL_SECONDS`."""

    backwards_share: float
    """Share of tokens that attend to a time at least `BACK_SECONDS` before the time reached."""

    focus: float
    """Mean share of a token's attention within a quarter second on each side of its median; at most 1."""

    reached: float
    """The latest time that the attention reached, in seconds."""

    @property
    def stalled(self) -> bool:
        """Whether the attention stood still for so many tokens that the text is probably a loop."""
        return self.stalled_share > STALLED_ABOVE

    @property
    def backwards(self) -> bool:
        """Whether the attention ran backwards for so many tokens that the text is probably a loop."""
        return self.backwards_share > BACKWARDS_ABOVE


def progress(weights: Float[np.ndarray, "h n m"], *, frame_seconds: float = 0.02) -> Progress:
    """Measure how the attention of a text moved through the recording.

    Args:
        weights: Attention of each alignment head while each token was predicted, over the frames of the recording
            without padding; without the tokens of the prompt.
        frame_seconds: Time from one frame to the next, in seconds.

    Raises:
        ValueError: There are no heads or no frames.
    """
    heads, tokens, frames = weights.shape
    if not heads or not frames:
        raise ValueError(f"`weights` must have heads and frames, but are of shape {weights.shape} instead.")
    if not tokens:
        return Progress(0, 0.0, 0.0, 0.0, 0.0)
    attention = weights.astype(np.float64).mean(axis=0)
    attention /= np.maximum(attention.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)
    median, focus = median_and_focus(attention, near=round(_NEAR_SECONDS / frame_seconds))
    seconds = median * frame_seconds
    # the time reached at each token: the highest median of the last few tokens so far
    medians = [np.median(seconds[max(0, i - _MEDIAN_TOKENS + 1) : i + 1]) for i in range(tokens)]
    reached = np.maximum.accumulate(medians)
    before = np.concatenate([[0.0], reached[:-1]])
    return Progress(
        tokens=tokens,
        stalled_share=float(_stalled(seconds).mean()),
        backwards_share=float((seconds <= before - BACK_SECONDS).mean()),
        focus=float(focus.mean()),
        reached=float(reached[-1]),
    )


def median_and_focus(
    attention: Float[np.ndarray, "n m"], *, near: int
) -> tuple[Int64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
    """Return, for each token, the median frame of its attention and the share within `near` frames of that median.

    The median is used and not the mean, since a share of the attention that rests elsewhere does not move it.
    """
    n, m = attention.shape
    cumulative = np.pad(attention.astype(np.float64).cumsum(axis=1), ((0, 0), (1, 0)))  # (n, m + 1)
    median = (cumulative[:, 1:] < 0.5).sum(axis=1)
    rows = np.arange(n)
    focus = cumulative[rows, np.minimum(median + near + 1, m)] - cumulative[rows, np.maximum(median - near, 0)]
    return median, focus


def _stalled(seconds: np.ndarray) -> np.ndarray:
    """Return which tokens belong to a run that stands still."""
    found = np.zeros(len(seconds), dtype=bool)
    for start in range(len(seconds) - STALL_TOKENS + 1):
        run = seconds[start : start + STALL_TOKENS]
        if run.max() - run.min() <= STALL_SECONDS:
            found[start : start + STALL_TOKENS] = True
    return found
