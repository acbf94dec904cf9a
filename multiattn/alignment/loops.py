"""Whether a model moves on through a recording while it writes, told from its attention alone.

Notation: h heads, n tokens (rows: what was looked at to predict each), m encoder frames.

Who reads speech looks further along with every few tokens. A model caught in a loop looks at the same place, or jumps
back to say it again; one that invents over silence looks everywhere, or nowhere in particular.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

STALL_TOKENS, STALL_SECONDS = 12, 0.3
"""So many tokens in a row within so little time (seconds) are a stall: nobody speaks 40 tokens a second."""

BACK_SECONDS = 0.6
"""A token is a step backwards where it lies so far (seconds) before what has been reached; less is how heads look."""

STALLED_ABOVE, BACKWARDS_ABOVE = 0.3, 0.3
"""Shares of the tokens above which a text as a whole is not to be trusted."""

_NEAR_SECONDS = 0.25  # each way around a look's middle: what counts as looking there
_MIDDLE = 5  # tokens whose median is what has been reached: one look astray reaches nothing


@dataclass(frozen=True)
class Progress:
    """How a text's attention moved through its recording."""

    tokens: int
    """Looked at."""

    stalled_share: float
    """Tokens in runs of at least `STALL_TOKENS` that all look at the same `STALL_SECONDS`, of all tokens."""

    backwards_share: float
    """Tokens that look at least `BACK_SECONDS` before what has been reached, of all tokens."""

    focus: float
    """The mean share of a token's look that goes to the quarter second each way of its middle: 1 is all."""

    reached: float
    """How far the looks got, in seconds."""

    @property
    def stalled(self) -> bool:
        """Whether so much stood still that the text looks like a loop."""
        return self.stalled_share > STALLED_ABOVE

    @property
    def backwards(self) -> bool:
        """Whether so much ran backwards that the text looks like a loop."""
        return self.backwards_share > BACKWARDS_ABOVE


def progress(weights: Float[np.ndarray, "h n m"], *, frame_seconds: float = 0.02) -> Progress:
    """How attention moved on.

    Args:
        weights: Where each of the alignment heads looked while each token was predicted, over the frames of the
            recording itself; without the prompt's tokens.
        frame_seconds: From one frame to the next, in seconds.

    Raises:
        ValueError: There are no heads or no frames.
    """
    heads, tokens, frames = weights.shape
    if not heads or not frames:
        raise ValueError(f"`weights` must have heads and frames, but are of shape {weights.shape} instead.")
    if not tokens:
        return Progress(0, 0.0, 0.0, 0.0, 0.0)
    look = weights.astype(np.float64).mean(axis=0)
    look /= np.maximum(look.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)
    so_far = look.cumsum(axis=1)
    # the median of a look and not its mean: a part of it that is parked elsewhere moves nothing
    middle = (so_far < 0.5).sum(axis=1)  # (n,)
    seconds = middle * frame_seconds
    near = round(_NEAR_SECONDS / frame_seconds)
    focus = [
        so_far[i, min(at + near, frames - 1)] - (so_far[i, at - near - 1] if at > near else 0)
        for i, at in enumerate(middle)
    ]
    reached = _reached(seconds)
    before = np.concatenate([[0.0], reached[:-1]])
    return Progress(
        tokens=tokens,
        stalled_share=float(_stalled(seconds).mean()),
        backwards_share=float((seconds <= before - BACK_SECONDS).mean()),
        focus=float(np.mean(focus)),
        reached=float(reached[-1]),
    )


def _reached(seconds: np.ndarray) -> np.ndarray:
    """How far the looks have got at each token: the highest median of the last few so far."""
    medians = [np.median(seconds[max(0, i - _MIDDLE + 1) : i + 1]) for i in range(len(seconds))]
    return np.maximum.accumulate(medians)


def _stalled(seconds: np.ndarray) -> np.ndarray:
    """Which tokens belong to a run that stands still."""
    found = np.zeros(len(seconds), dtype=bool)
    for start in range(len(seconds) - STALL_TOKENS + 1):
        run = seconds[start : start + STALL_TOKENS]
        if run.max() - run.min() <= STALL_SECONDS:
            found[start : start + STALL_TOKENS] = True
    return found
