"""The mean map of each label over many pictures: where a classifier looks for it as a rule."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from ..checks import require
from .attention_map import AttentionMap


@dataclass(frozen=True)
class MeanMap:
    """The mean of the maps of one label."""

    map: AttentionMap
    """Its `target` is the label. It has no geometry: each cell shows another part of each picture."""

    count: int
    """Number of maps."""


def mean_maps(maps: Iterable[AttentionMap]) -> list[MeanMap]:
    """Average the maps of each target, each divided by its sum of magnitudes, so that all count alike.

    Args:
        maps: By one method and of one grid, each with a target: `map` of what `classify` returns, for example.

    Returns:
        One mean for each target, those of most maps first; of equally many, the first in the alphabet.

    Raises:
        ModelError: There are none; or a map has no target, another method or another grid.
    """
    sums: dict[str, np.ndarray] = {}
    counts: dict[str, int] = {}
    first: AttentionMap | None = None
    for one in maps:
        first = first or one
        require(one.target is not None, "maps", must="by a method that explains a label", value=one.method)
        require(one.method == first.method, "maps", must=f"all by {first.method}", value=one.method)
        shape = one.values.shape
        require(shape == first.values.shape, "maps", must=f"all of the grid {first.values.shape}", value=shape)
        target = str(one.target)
        values = one.values.astype(np.float64)
        total = np.abs(values).sum()
        sums[target] = sums.get(target, np.zeros(shape)) + values / (total if total > 0 else 1.0)
        counts[target] = counts.get(target, 0) + 1
    require(first is not None, "maps", must="at least one", value=0)
    assert first is not None
    return [
        MeanMap(
            replace(
                first,
                values=(sums[target] / counts[target]).astype(np.float32),
                target=target,
                geometry=None,
                note=f"The mean of {counts[target]} maps, each divided by its sum. {first.note}".strip(),
            ),
            counts[target],
        )
        for target in sorted(sums, key=lambda target: (-counts[target], target))
    ]
