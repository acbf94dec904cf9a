"""From attention weights to the frame where each token begins: normalized evidence, then dynamic time warping.

Notation: n tokens (rows: the attention with which each was predicted), m encoder frames (time).

A head that follows the speech attends, for each token, to the frames where the token is spoken. Of all paths through
tokens and frames that never run backwards, the one with the greatest sum of evidence gives the time of each token.
Source: openai-whisper, timing.py.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float32, Int64

from ..checks import check_argument

FILTER_WIDTH = 7
"""Frames of the median filter, as in Whisper."""

_CHUNK = 32_768  # values that are filtered together, so that the intermediate copies stay in the processor's cache


def evidence(weights: Float[np.ndarray, "n m"], *, filter_width: int = FILTER_WIDTH) -> Float32[np.ndarray, "n m"]:
    """Normalize the attention of one head: how much more than usual each frame was attended to for each token.

    Each frame is standardized over all tokens, so that frames to which every token attends contribute nothing; the
    result is smoothed over time by a median filter.
    """
    found = weights.astype(np.float32)
    found -= found.mean(axis=0)
    deviation = np.sqrt(np.einsum("nm,nm->m", found, found) / len(found))
    found /= np.where(deviation > 0, deviation, 1)  # a frame with constant attention contributes nothing
    return median_filter(found, filter_width)


def median_filter(x: Float[np.ndarray, "n m"], width: int) -> Float[np.ndarray, "n m"]:
    """Replace each value by the median of the `width` values around it in its row; rows are mirrored at their ends.

    Rows that are no longer than half the width stay unchanged.

    Raises:
        ValueError: `width` is not odd.
    """
    check_argument(width >= 1 and width % 2 == 1, "width", must="an odd number", value=width)
    half = width // 2
    if x.shape[1] <= half or width == 1:
        return x
    found = np.empty_like(x)
    step = max(1, _CHUNK // x.shape[1])
    for start in range(0, len(x), step):
        found[start : start + step] = _median_of_rows(x[start : start + step], half)
    return found


def _median_of_rows(x: np.ndarray, half: int) -> np.ndarray:
    """Find medians by exclusion: of any half + 2 values, neither the lowest nor the highest is the median of all.

    These two are dropped and the next value is taken in, until three are left. Sorting every window takes many times
    as long.
    """
    m = x.shape[1]
    padded = np.pad(x, ((0, 0), (half, half)), mode="reflect")
    # one shifted view for each position in the window; copied before they are written to
    remaining = [padded[:, shift : shift + m] for shift in range(2 * half + 1)]
    held = [view.copy() for view in remaining[: half + 2]]
    remaining = remaining[half + 2 :]
    spare = np.empty_like(held[0])
    while True:
        for i in range(len(held) - 1):  # the highest to the end
            np.minimum(held[i], held[i + 1], out=spare)
            np.maximum(held[i], held[i + 1], out=held[i + 1])
            held[i], spare = spare, held[i]
        for i in range(len(held) - 2, 0, -1):  # the lowest to the front
            np.minimum(held[i - 1], held[i], out=spare)
            np.maximum(held[i - 1], held[i], out=held[i])
            held[i - 1], spare = spare, held[i - 1]
        if len(held) == 3:
            return held[1]
        last = held.pop()
        held.pop(0)
        last[...] = remaining.pop(0)
        held.append(last)


def begin_frames(matrix: Float[np.ndarray, "n m"]) -> Int64[np.ndarray, " n"]:
    """Return the frame at which each token begins, on the path through the matrix with the greatest sum."""
    rows, cols = dtw(-matrix)
    return cols[np.flatnonzero(np.diff(rows, prepend=-1))]


def monotonic_frames(
    attention: Float[np.ndarray, "n m"], *, gaps: Sequence[int] | None = None
) -> Int64[np.ndarray, " n"]:
    """Return one frame for each token, never falling, so that the product of their attention weights is greatest.

    Args:
        attention: Of each token to each frame.
        gaps: For each token, the least number of frames from the token before; 0 for the first. Where they do not fit
            into the frames, all are made smaller.
    """
    n, m = attention.shape
    least = np.zeros(n, dtype=np.int64) if gaps is None else np.asarray(gaps, dtype=np.int64)
    if least.sum() >= m:
        least = least * (m - 1) // max(1, int(least.sum()))
    log_attention = np.log(np.maximum(attention.astype(np.float64), 1e-9))
    total, previous = log_attention[0], np.zeros((n, m), dtype=np.int64)
    for i in range(1, n):
        gap = int(least[i])
        best = np.maximum.accumulate(total)
        at = np.maximum.accumulate(np.where(total >= best, np.arange(m), 0))  # the latest of the best frames so far
        total = np.full(m, -np.inf)
        total[gap:] = log_attention[i, gap:] + best[: m - gap]
        previous[i, gap:] = at[: m - gap]
    frames = np.empty(n, dtype=np.int64)
    frames[-1] = int(total.argmax())
    for i in range(n - 1, 0, -1):
        frames[i - 1] = previous[i][frames[i]]
    return frames


def dtw(cost: Float[np.ndarray, "n m"]) -> tuple[Int64[np.ndarray, " steps"], Int64[np.ndarray, " steps"]]:
    """Find the cheapest path from the first row and column to the last, by steps to the next row, column or both.

    The path is exact in the precision of `cost`. Of several cheapest paths, it is the one that reaches the last row
    earliest, then the row before it, and so on.

    Returns:
        The row and the column of each step.

    Raises:
        ValueError: There are no rows or no columns.
    """
    n, m = cost.shape
    if not n or not m:
        raise ValueError(f"`cost` must have rows and columns, but is of shape {cost.shape} instead.")
    # The cells of one anti-diagonal d = i + j do not depend on each other: row d of `total` holds them, by i. Cells
    # outside the matrix cost infinity, so that the path cannot leave it; entering from (-1, -1) is free.
    skewed = np.full((n + m - 1, n), np.inf, dtype=cost.dtype)
    for i in range(n):
        skewed[i : i + m, i] = cost[i]
    total = np.full((n + m + 1, n + 1), np.inf, dtype=cost.dtype)  # [d + 2, i + 1]
    total[0, 0] = 0
    # views made before the loop, whose steps are so short that making them there would double its time
    here, row_before = list(total[:, 1:]), list(total[:, :-1])
    for d, costs in enumerate(skewed):
        now = here[d + 2]
        np.minimum(row_before[d + 1], here[d + 1], out=now)  # from the row before, from the column before
        np.minimum(now, row_before[d], out=now)  # from both
        np.add(now, costs, out=now)
    return _trace(total, n, m)


def _trace(total: np.ndarray, n: int, m: int) -> tuple[np.ndarray, np.ndarray]:
    """Walk back from the last cell by the totals of `dtw`."""
    both, row, column = total[:-2, :-1], total[1:-1, :-1], total[1:-1, 1:]
    steps = np.where(column <= np.minimum(both, row), 2, row < both).astype(np.uint8)  # 2, 1, 0: column, row, both
    codes, width = steps.tobytes(), n
    i, j = n - 1, m - 1
    rows, cols = [i], [j]
    while i > 0 or j > 0:
        code = 2 if i == 0 else 1 if j == 0 else codes[(i + j) * width + i]
        if code != 2:
            i -= 1
        if code != 1:
            j -= 1
        rows.append(i)
        cols.append(j)
    return np.array(rows[::-1], dtype=np.int64), np.array(cols[::-1], dtype=np.int64)
