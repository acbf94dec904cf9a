"""Judging one map of one input: what becomes of the prediction without the cells that the map points at (`verdict`)."""

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from .evaluation import centered_blob
from .masking import MaskedInput
from .verdict import ORDERS, QUARTER, SHARES, Verdict, word_of


def judge(values: np.ndarray, masked: MaskedInput, *, seed: int = 0, place: str = "the center") -> Verdict:
    """Judge one map by hiding cells of its input: `PASSES` forward passes in one batch.

    Args:
        values: The map, as `MaskedInput.ranks` takes it.
        masked: The input and what the map explains.
        seed: Of the random cells, which are the same for all maps of an input.
        place: Where the blob is, in words.

    Raises:
        ModelError: A map of another input.
    """
    generator = torch.Generator().manual_seed(seed)
    count = masked.ranks(values).numel()
    random = [torch.randperm(count, generator=generator).reshape(masked.cells) for _ in range(ORDERS)]
    blob = masked.ranks(centered_blob(masked.cells, masked.center))
    hidden = [
        *(_first(masked.ranks(values), share) for share in SHARES),
        *(_first(blob, share) for share in SHARES),
        *(_first(order, SHARES[QUARTER]) for order in random),
    ]
    points = masked.probability(torch.stack(hidden)).tolist()
    deleted, center = tuple(points[: len(SHARES)]), tuple(points[len(SHARES) : 2 * len(SHARES)])
    chance = tuple(points[2 * len(SHARES) :])
    return Verdict(word_of(masked.whole, deleted, center, chance), masked.whole, deleted, center, chance, place)


def _first(ranks: Tensor, share: float) -> Bool[Tensor, "*cells"]:
    """The cells of the first ranks, at least one."""
    return ranks < max(1, round(share * ranks.numel()))
