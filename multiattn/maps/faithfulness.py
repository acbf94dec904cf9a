"""How far a map can be trusted: how the prediction changes when the map's brightest cells are removed or added first.

With a faithful map, the probability of what it explains falls fast while cells are deleted, brightest first, and
rises fast while they are inserted into an empty input. Compare with a random order.
Source: Petsiuk et al. 2018 (RISE), section 4.1; by cells, for all tasks.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from .masking import MaskedInput

STEPS = 16  # points on the curve; more changes the third digit


class Curves(NamedTuple):
    """The probability of what a map explains, at `STEPS` + 1 points from no cell to all."""

    insertion: Float[Tensor, " points"]
    """While cells are inserted into an empty input, brightest first. A high mean is good."""

    deletion: Float[Tensor, " points"]
    """While cells are deleted, brightest first. A low mean is good."""


def map_curves(masked: MaskedInput, maps: Sequence[np.ndarray]) -> list[Curves]:
    """Compute the curves of several maps of one input, each masked input once.

    Args:
        masked: The input and what is explained.
        maps: Each as `MaskedInput.ranks` takes it.
    """
    first = torch.stack([_first(masked, values) for values in maps])  # (maps, points, *cells)
    hidden = torch.stack([~first, first], dim=1).flatten(0, 2)
    distinct, places = torch.unique(hidden, dim=0, return_inverse=True)
    found = masked.probability(distinct)[places].reshape(len(maps), 2, -1)  # (maps, 2, points)
    return [Curves(*of_map) for of_map in found]


def _first(masked: MaskedInput, values: np.ndarray) -> Tensor:
    """The brightest cells, ever more of them: (points, *cells)."""
    ranks = masked.ranks(values)
    return torch.stack([ranks < step * ranks.numel() / STEPS for step in range(STEPS + 1)])
