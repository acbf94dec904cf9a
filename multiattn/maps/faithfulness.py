"""How far a map can be trusted: how the prediction changes when the map's brightest cells are removed or added first.

With a faithful map, the probability of what it explains falls fast while cells are deleted, brightest first, and
rises fast while they are inserted into an empty input. Compare with a random order.
Source: Petsiuk et al. 2018 (RISE), section 4.1; by cells, for all tasks.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from .masking import MaskedInput

STEPS = 16  # points on the curve; more changes the third digit


def deletion_curve(masked: MaskedInput, values: np.ndarray) -> Float[Tensor, " points"]:
    """Compute the probability while cells are deleted, brightest first: from none of them to all.

    Args:
        masked: The input and what is explained.
        values: The map, as `MaskedInput.ranks` takes it.

    Returns:
        `STEPS` + 1 points.
    """
    return masked.probability(_first(masked, values))


def insertion_curve(masked: MaskedInput, values: np.ndarray) -> Float[Tensor, " points"]:
    """Compute the probability while cells are inserted, brightest first: as `deletion_curve`, from none to all."""
    return masked.probability(~_first(masked, values))


def deletion_score(masked: MaskedInput, values: np.ndarray) -> float:
    """Compute the mean of the deletion curve. Lower is better."""
    return float(deletion_curve(masked, values).mean())


def insertion_score(masked: MaskedInput, values: np.ndarray) -> float:
    """Compute the mean of the insertion curve. Higher is better."""
    return float(insertion_curve(masked, values).mean())


def _first(masked: MaskedInput, values: np.ndarray) -> Tensor:
    """The brightest cells, ever more of them: (points, *cells)."""
    ranks = masked.ranks(values)
    return torch.stack([ranks < step * ranks.numel() / STEPS for step in range(STEPS + 1)])
