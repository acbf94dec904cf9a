"""What reached the head from each token: one block's attention, rollout, gradient-weighted relevance, head sharpness.

Notation: b batch, h heads, q query rows, n tokens. Each function takes the captured weights of the blocks in order,
(b, h, q, n), where the last block may have computed its first rows only, and gives a row over tokens, (b, n).
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from .readout import through


def rollout(row: Float[Tensor, "#b n"], weights: Sequence[Tensor]) -> Float[Tensor, "b n"]:
    """The share of each token in what the head reads, if attention were all that moves information.

    Half of each block's flow is its residual connection; heads are averaged. Sums to 1.
    Source: Abnar and Zuidema 2020, "Quantifying attention flow in transformers", section 3.
    """
    row = row.expand(len(weights[0]), -1)
    for block in reversed(weights):
        row = 0.5 * row + 0.5 * through(row, block.mean(dim=1))
    return row


def relevance(
    row: Float[Tensor, "#b n"], weights: Sequence[Tensor], gradients: Sequence[Tensor]
) -> Float[Tensor, "b n"]:
    """What each token adds to the score that the gradients are of: attention that raises it, followed through blocks.

    Source: Chefer et al. 2021, "Generic attention-model explainability", equations 5 and 6; computed for the rows
    that the head reads, which is the last row of their product taken from the other end.
    """
    row = row.expand(len(weights[0]), -1)
    for block, gradient in zip(reversed(weights), reversed(gradients), strict=True):
        row = row + through(row, (gradient * block).clamp(min=0).mean(dim=1))
    return row


def sharpness(weights: Float[Tensor, "*b n"]) -> Float[Tensor, "*b"]:
    """How concentrated rows of attention are: 1 on a single token, 0 spread evenly (one minus normalised entropy)."""
    share = weights / weights.sum(dim=-1, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)
    entropy: Tensor = torch.special.entr(share).sum(dim=-1)
    return 1.0 - entropy / math.log(weights.shape[-1])
