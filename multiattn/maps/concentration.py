"""How a map is spread over the input: multiples of the even share, entropy, the share of its highest tenth.

Notation: n cells of a map (patches, or moments), over which everything here is computed; the axes before them stay.
"""

from math import ceil
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

FLAT_WITHIN = 0.1
"""A map is flat where each cell is within this part of the even share. A softmax makes that of scores that differ by
0.1 (exp(0.1) = 1.105); noise of rounding is far below."""


class Concentration(NamedTuple):
    """How concentrated each grid of a map is, by its absolute values; all are arrays over the axes before the cells."""

    entropy: Float[np.ndarray, "*axes"]
    """Entropy as a part of the largest, log(n): 1 where spread evenly or where all values are 0, 0 on one cell."""

    top_tenth: Float[np.ndarray, "*axes"]
    """The share of the map in its highest tenth of cells, of which there are ceil(n / 10); evenly spread about 0.1."""

    highest: Float[np.ndarray, "*axes"]
    """The highest cell as a multiple of the even share; 1 where all values are 0."""

    flat: Bool[np.ndarray, "*axes"]
    """Whether the grid is flat: it says nothing about where."""

    def to_dict(self) -> dict[str, object]:
        """Return the fields as JSON values, numbers with six decimals."""
        numbers = self._replace(flat=self.flat.astype(np.float64))._asdict()
        return {name: np.round(value, 6).tolist() for name, value in numbers.items()} | {"flat": self.flat.tolist()}


def even_shares(values: Float[np.ndarray, "*axes n"]) -> Float[np.ndarray, "*axes n"]:
    """Return each value as a multiple of the even share, the mean absolute value of its grid; 0 where that is 0."""
    values = values.astype(np.float64)
    even = np.abs(values).mean(axis=-1, keepdims=True)
    return np.asarray(np.divide(values, even, out=np.zeros_like(values), where=even > 0))


def concentration(values: Float[np.ndarray, "*axes n"]) -> Concentration:
    """Measure how concentrated each grid is. A grid with a value below 0 is never flat."""
    times = even_shares(values)
    n = times.shape[-1]
    shares = np.abs(times) / n  # (*axes, n), 1 in sum
    empty = ~shares.any(axis=-1)
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    entropy = -(shares * logs).sum(axis=-1) / (np.log(n) if n > 1 else 1.0)
    tenth = np.sort(shares, axis=-1)[..., n - ceil(n / 10) :].sum(axis=-1)
    flat = (np.abs(times - 1) <= FLAT_WITHIN).all(axis=-1) | empty
    return Concentration(
        entropy=np.where(empty | (n == 1), 1.0, np.clip(entropy, 0.0, 1.0)),
        top_tenth=np.where(empty, ceil(n / 10) / n, tenth),
        highest=np.where(empty, 1.0, times.max(axis=-1)),
        flat=np.asarray(flat),
    )
