"""Two maps of one input, compared."""

from dataclasses import replace

import numpy as np

from ..checks import require
from .attention_map import AttentionMap
from .evaluation import spearman


def difference(first: AttentionMap, second: AttentionMap) -> AttentionMap:
    """Return a map less another, both in multiples of their even shares.

    Args:
        first: A map.
        second: Another of the same input, with the same axes.

    Returns:
        The difference: above 0 where the first has more.

    Raises:
        ModelError: The maps have different axes.
    """
    axes = first.axes
    require(second.axes == axes, "second", must=f"of the axes {first.names}, as the first", value=second.names)
    return replace(
        first,
        values=np.asarray(first.even_shares - second.even_shares, np.float32),
        method=f"{first.method} less {second.method}",
        sites=tuple(dict.fromkeys((*first.sites, *second.sites))),
        heads=None,
        note=f"Multiples of the even share by {first.method}, less those by {second.method}.",
    )


def agreement(first: AttentionMap, second: AttentionMap) -> float:
    """Compute how far two maps order their cells alike, -1 to 1: Spearman's correlation, the mean over words.

    Raises:
        ModelError: The maps have different axes.
    """
    require(second.axes == first.axes, "second", must=f"of the axes {first.names}, as the first", value=second.names)
    cells = 2 if first.names[-2:] == ("y", "x") else 1
    shape = (-1, int(np.prod(first.values.shape[-cells:])))
    pairs = zip(first.values.reshape(shape), second.values.reshape(shape), strict=True)
    return float(np.mean([spearman(one, other) for one, other in pairs]))
