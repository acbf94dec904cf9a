"""Onset heads: the heads of a decoder whose attention tells, to within a frame or two, when a word begins.

Notation: n tokens (rows: the attention with which each was predicted), m encoder frames.

OpenAI's alignment heads follow the speech, but many of them look at the midst of what is said, and all at another place
in it. A few heads, not all of them in that list, attend to one or two frames at a fixed distance from where the token
begins: some at the end of the token before (the *boundary* heads, a model's sharpest), some a little after the onset.
Both stay where they are from voice to voice, so the distance (the head's lag) can be measured without labels: of each
head against the others, and the earliest of them against the boundary that it marks.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64

from ..attention import Head

NEAR_SECONDS = 0.04
"""Attention at most this far from its highest frame, on each side, counts as attention to one place."""

LEAST_SHARE = 0.55
"""An onset head scores at least this share of the best head's score: order of the tokens x attention to one place."""

MOST_SPREAD = 0.035
"""How far a head's distance from another may vary from word to word (seconds; 1.48 times the median deviation)."""

MOST_HEADS = 8
"""Heads that are compared, the best by score."""

BOUNDARY_LAG, INSIDE_LAG = -0.015, 0.06
"""Lag in seconds of the two kinds of onset heads: boundary heads look at the boundary itself, from before; the others
just inside the new word. Measured with tiny.en and base (-0.013 to -0.020 and 0.052 to 0.069)."""

BOUNDARY_BEFORE = 0.03
"""Heads with a lag below this (seconds) are boundary heads: before a pause they mark the end of the word before it."""


KINDS_APART = 0.055
"""Heads attend so far apart (seconds) only if they are of two kinds."""


_JITTER = 0.01  # seconds: less is no step


class OnsetHead(NamedTuple):
    """A head that attends to one place at a fixed distance from where each token begins."""

    layer: int
    head: int

    lag: float
    """Seconds from the onset of a token to where the head attends; below 0: before it."""

    weight: float
    """How much it counts beside the others; above 0."""


class Peaks(NamedTuple):
    """Where one head attends most, for each token."""

    seconds: Float64[np.ndarray, " n"]
    """The mean of the attention around its highest frame."""

    share: Float64[np.ndarray, " n"]
    """Share of the attention that is there: 0 to 1."""


KNOWN: dict[frozenset[Head], tuple[OnsetHead, ...]] = {
    frozenset({(1, 0), (2, 0), (2, 5), (3, 0), (3, 1), (3, 2), (3, 3), (3, 4)}): (  # tiny.en
        OnsetHead(2, 4, -0.015, 0.74),
        OnsetHead(2, 1, 0.064, 0.78),
        OnsetHead(1, 5, 0.064, 0.62),
        OnsetHead(3, 5, 0.068, 0.42),
    ),
    frozenset({(3, 1), (4, 2), (4, 3), (4, 7), (5, 1), (5, 2), (5, 4), (5, 6)}): (  # base
        OnsetHead(4, 2, -0.015, 0.72),
        OnsetHead(3, 1, 0.048, 0.71),
        OnsetHead(5, 1, 0.060, 0.61),
    ),
}
"""Onset heads of published models, by the alignment heads that OpenAI states for each: a fine-tuned model keeps them.
Found by `choose_onset_heads` on recordings of LibriSpeech; those of other models are found in each window."""


def peaks(weights: Float[np.ndarray, "n m"], *, frame_seconds: float) -> Peaks:
    """Find where a head attends most for each token, and how much of its attention is there."""
    n, m = weights.shape
    near = max(1, round(NEAR_SECONDS / frame_seconds))
    top, rows = weights.argmax(axis=1), np.arange(n)
    places = top[:, None] + np.arange(-near, near + 1)  # (n, 2 near + 1)
    inside = (places >= 0) & (places < m)
    around = np.where(inside, weights[rows[:, None], places.clip(0, m - 1)], 0.0).astype(np.float64)
    there = around.sum(axis=1)
    whole = np.maximum(weights.sum(axis=1, dtype=np.float64), 1e-12)
    center = (around * places).sum(axis=1) / np.maximum(there, 1e-12)
    return Peaks(center * frame_seconds, there / whole)


def score(found: Peaks, rows: Sequence[int] = ()) -> float:
    """Rate a head by the order of the places it attends to and by how sharp its attention is: 0 to 1.

    Args:
        found: The places.
        rows: The rows that predict the first token of a word, which alone count; at punctuation a head may attend to
            the next word already. Of fewer than two, all rows count.
    """
    part = list(rows) if len(rows) > 1 else slice(None)
    seconds, share = found.seconds[part], found.share[part]
    if not len(share):
        return 0.0
    steps = np.diff(seconds)
    order = float(np.mean(steps > _JITTER) - np.mean(steps < -_JITTER)) if len(steps) else 1.0
    return max(order, 0.0) * float(share.mean())


def choose_onset_heads(
    of_heads: Mapping[Head, Sequence[Peaks]], rows: Sequence[Sequence[int]]
) -> tuple[OnsetHead, ...]:
    """Choose the onset heads of a model, and measure their lags, from what it attended to in transcripts.

    Args:
        of_heads: For each head, its peaks in each transcript; the same transcripts for all.
        rows: For each transcript, the rows that predict the first token of a word: only there a pause may come before.

    Returns:
        At least one head, boundary heads first. Where some attend clearly before the others, the earliest are boundary
        heads; otherwise there are none. The lags are relative to the earliest, whose lag is that of its kind.
    """
    scored = sorted(
        (float(np.mean([score(one, some) for one, some in zip(found, rows, strict=True)])), head)
        for head, found in of_heads.items()
    )[::-1]
    places = {
        head: np.concatenate(
            [one.seconds[list(some) or slice(None)] for one, some in zip(of_heads[head], rows, strict=True)]
        )
        for value, head in scored[:MOST_HEADS]
        if value >= LEAST_SHARE * scored[0][0]
    }
    groups = [_keeping_distance(places, best, dict((head, value) for value, head in scored)) for best in places]
    chosen = max(groups, key=lambda group: sum(one.weight for one in group))  # the most that agree with each other
    lags = [one.lag for one in chosen]
    has_boundary = max(lags) - min(lags) > KINDS_APART
    first = min(lags) - BOUNDARY_LAG if has_boundary else float(np.median(lags)) - INSIDE_LAG
    return tuple(sorted((one._replace(lag=one.lag - first) for one in chosen), key=lambda one: one.lag))


def _keeping_distance(places: Mapping[Head, np.ndarray], best: Head, scores: Mapping[Head, float]) -> list[OnsetHead]:
    """Return the heads that attend at a fixed distance from `best`, with that distance as their lag."""
    found = []
    for head, seconds in places.items():
        distance = seconds - places[best]
        lag = float(np.median(distance))
        if 1.48 * np.median(np.abs(distance - lag)) <= MOST_SPREAD:
            found.append(OnsetHead(*head, lag, max(scores[head], 1e-6)))
    return found
