"""Which map method is right, measured on many inputs: areas with intervals, pairs, checks of what a map rests on.

A map is tested by what it claims: with the cells that it calls important hidden first, the probability of what it
explains falls fast; with these shown first, it rises fast. The mean probability along the second way less that along
the first is the map's area. A map that says nothing has an area of about 0, whatever the model.

Notation: n items, k resamples; cells are the parts of an input that a map has values for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64

from ..checks import check_one_each, require

BASELINES = ("centered blob", "random")
"""Maps that know nothing of the model, by the names that tables have: see `centered_blob` and `random_map`."""

LEAST_ITEMS = 10
"""Items from which on an interval is computed: of fewer, the bootstrap's is too narrow."""

_RESAMPLES = 2000
_TAIL = 0.025  # of the resampled means, left out at each end: an interval of 95 %


class Interval(NamedTuple):
    """A mean over items, and the 95 % bootstrap interval around it."""

    mean: float
    low: float
    high: float


def interval(values: Float[np.ndarray, " n"], *, seed: int = 0) -> Interval:
    """Compute the mean of items and its 95 % interval: percentiles of the means of 2000 resamples.

    Source: Efron 1979; the percentile interval.

    Args:
        values: One for each item.
        seed: Of the resampling; the same values with the same seed have the same interval.

    Raises:
        ModelError: There are fewer than 10.
    """
    values = np.asarray(values, dtype=np.float64)
    require(len(values) >= LEAST_ITEMS, "values", must=f"of at least {LEAST_ITEMS} items", value=len(values))
    generator = np.random.default_rng(seed)
    means = np.array([values[generator.integers(len(values), size=len(values))].mean() for _ in range(_RESAMPLES)])
    low, high = np.quantile(means, [_TAIL, 1 - _TAIL])
    return Interval(float(values.mean()), float(low), float(high))


def spearman(first: Float[np.ndarray, "*cells"], second: Float[np.ndarray, "*cells"]) -> float:
    """Compute how far two maps order their cells alike, -1 to 1: the correlation of ranks; 0 if one of them is even.

    Equal values share the mean of their ranks.
    """
    ranks = [_ranks(np.asarray(one, dtype=np.float64).ravel()) for one in (first, second)]
    a, b = (one - one.mean() for one in ranks)
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum() / scale) if scale > 0 else 0.0


def centered_blob(shape: tuple[int, ...], center: tuple[float | None, ...] = ()) -> Float64[np.ndarray, "*cells"]:
    """Return the map that falls evenly from a center, as if every input had what matters there.

    Args:
        shape: Its cells.
        center: Where it is highest along each axis, 0 to 1; None for an axis that does not matter. The middle of all
            where empty.
    """
    blob = np.ones(())
    for size, middle in zip(shape, center or (0.5,) * len(shape), strict=True):
        away = np.zeros(size) if middle is None else np.abs((np.arange(size) + 0.5) / size - middle)
        blob = np.multiply.outer(blob, 1 - away)
    return blob


def random_map(shape: tuple[int, ...], generator: np.random.Generator) -> Float64[np.ndarray, "*cells"]:
    """Return a map whose cells are in random order."""
    return generator.permutation(int(np.prod(shape))).reshape(shape).astype(np.float64)


class Measured(NamedTuple):
    """A map's two curves on each item, as their means."""

    insertion: Float64[np.ndarray, " n"]
    """The mean probability while cells are shown, brightest first."""

    deletion: Float64[np.ndarray, " n"]
    """The mean probability while cells are hidden, brightest first."""

    @property
    def area(self) -> Float64[np.ndarray, " n"]:
        """Between the two curves: 0 in the mean over items for a map that says nothing, at most 1."""
        return np.asarray(self.insertion - self.deletion)


class Pair(NamedTuple):
    """Two methods on the same items."""

    method: str
    other: str
    difference: Interval
    """Of the areas, the first less the second: the methods differ if 0 is outside."""

    wins: float
    """The share of items on which the first has the larger area; equal ones count by half."""


@dataclass(frozen=True)
class MethodScore:
    """What was measured of a method or baseline."""

    area: Interval
    insertion: float
    deletion: float

    randomized: tuple[float, ...] = ()
    """Spearman's correlation with the map of a model whose top 1, 2, ... blocks have shuffled weights; the mean over
    items. A map that stays as it was does not depend on what these blocks learned. Source: Adebayo et al. 2018."""

    other_label: float | None = None
    """Spearman's correlation with the map of the second label, in the mean over items: 1 if the method does not see
    what it explains. None where nothing has a second label."""

    pointing: float | None = None
    """The share of items whose highest cell is in a box around what they are about. None where no boxes are known."""


@dataclass(frozen=True)
class MapEvaluation:
    """The methods and baselines of a task, measured on the same items."""

    scores: Mapping[str, MethodScore]
    """The largest area first."""

    pairs: tuple[Pair, ...]
    """Each with each, the one with the larger area first."""

    items: int

    @property
    def first(self) -> str:
        """The method with the largest area."""
        return next(name for name in self.scores if name not in BASELINES)

    def with_randomized(self, randomized: Mapping[str, Float[np.ndarray, " blocks"]]) -> "MapEvaluation":
        """Return the same with the correlations of some methods, as `MethodScore.randomized` has them."""
        scores = {
            name: replace(score, randomized=tuple(map(float, randomized.get(name, ()))))
            for name, score in self.scores.items()
        }
        return replace(self, scores=scores)


def evaluate(
    measured: Mapping[str, Measured],
    *,
    other_label: Mapping[str, Sequence[float]] | None = None,
    pointing: Mapping[str, Sequence[float]] | None = None,
) -> MapEvaluation:
    """Summarize what was measured on items.

    Args:
        measured: The curves by method and baseline, all of the same items.
        other_label: Of some methods: the correlation of the maps of two labels on each item that has two.
        pointing: Of some methods: whether each item with boxes points into one, or in part where several cells are
            equally high.

    Raises:
        ModelError: There are fewer than 10 items, or methods have different numbers of them.
    """
    count = len(next(iter(measured.values())).insertion)
    check_one_each(count, "items", **{name: one.area for name, one in measured.items()})
    areas = {name: interval(one.area) for name, one in measured.items()}
    order = sorted(areas, key=lambda name: -areas[name].mean)
    scores = {
        name: MethodScore(
            areas[name],
            float(measured[name].insertion.mean()),
            float(measured[name].deletion.mean()),
            other_label=_mean((other_label or {}).get(name)),
            pointing=_mean((pointing or {}).get(name)),
        )
        for name in order
    }
    pairs = [
        _pair(name, other, measured[name].area, measured[other].area)
        for i, name in enumerate(order)
        for other in order[i + 1 :]
    ]
    return MapEvaluation(scores, tuple(pairs), count)


def _pair(name: str, other: str, first: Float64[np.ndarray, " n"], second: Float64[np.ndarray, " n"]) -> Pair:
    wins = float(((first > second) + 0.5 * (first == second)).mean())
    return Pair(name, other, interval(first - second), wins)


def _mean(values: Sequence[float] | None) -> float | None:
    return float(np.mean(values)) if values else None


def _ranks(values: Float64[np.ndarray, " cells"]) -> Float64[np.ndarray, " cells"]:
    """The rank of each value from 0, equal values at the mean of theirs."""
    _, group, sizes = np.unique(values, return_inverse=True, return_counts=True)
    ends = sizes.cumsum()
    return np.asarray((ends - (sizes + 1) / 2)[group])
