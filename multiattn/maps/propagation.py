"""What reached a reader from each token: one block's attention, rollout, gradient-weighted relevance, head sharpness.

Notation: b batch, r readers (the classifier's head; the words of a caption), h heads, q query rows, n tokens. Each
function takes what the readers read, a row over tokens each, and the captured weights of the blocks in order,
(b, h, q, n), where the last block may have computed its first rows only, and gives rows over tokens, (b, r, n).
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from .readout import through


def rollout(rows: Float[Tensor, "#b r n"], weights: Sequence[Tensor]) -> Float[Tensor, "b r n"]:
    """The share of each token in what is read, if attention were all that moves information.

    Half of each block's flow is its residual connection; heads are averaged. Keeps the sum of a row.
    Source: Abnar and Zuidema 2020, "Quantifying attention flow in transformers", section 3.
    """
    return rollout_path(rows, weights)[0]


def rollout_path(rows: Float[Tensor, "#b r n"], weights: Sequence[Tensor]) -> list[Float[Tensor, "b r n"]]:
    """What `rollout` has before each block, and last the rows themselves."""
    path = [rows.expand(len(weights[0]), -1, -1)]
    for block in reversed(weights):
        path.insert(0, 0.5 * path[0] + 0.5 * through(path[0], block.mean(dim=1)))
    return path


def relevance(
    rows: Float[Tensor, "#b r n"], weights: Sequence[Tensor], gradients: Sequence[Tensor]
) -> Float[Tensor, "b r n"]:
    """What each token adds to the score that the gradients are of: attention that raises it, followed through blocks.

    Source: Chefer et al. 2021, "Generic attention-model explainability", equations 5 and 6; computed for the rows
    that the head reads, which is the last row of their product taken from the other end.
    """
    rows = rows.expand(len(weights[0]), -1, -1)
    return rows + _brought(rows, _raised(weights, gradients))


def normalized_relevance(
    rows: Float[Tensor, "#b r n"], weights: Sequence[Tensor], gradients: Sequence[Tensor]
) -> Float[Tensor, "b r n"]:
    """The same where another stack reads the tokens: what a token was brought counts as much as it does itself.

    The last block must have computed all rows. Source: the same, equations 8 and 9, from the left as well.
    """
    rows, blocks = rows.expand(len(weights[0]), -1, -1), _raised(weights, gradients)
    total = torch.zeros_like(rows[:, :1])  # (b, 1, n): what each token was brought, in all
    for block in blocks:
        total = total + ((1 + total) @ block.mT)
    return rows + _brought(over(rows, total), blocks)


def over(amounts: Tensor, totals: Tensor) -> Tensor:
    """Their quotient; 0 where nothing is divided, for what brought nothing stays nothing."""
    return torch.where(totals > 0, amounts / totals.clamp(min=torch.finfo(totals.dtype).tiny), 0.0)


def _raised(weights: Sequence[Tensor], gradients: Sequence[Tensor]) -> list[Tensor]:
    return [raising(block, gradient) for block, gradient in zip(weights, gradients, strict=True)]


def _brought(rows: Tensor, blocks: Sequence[Tensor]) -> Tensor:
    """What the rows read beside the tokens themselves: no 1 is added to it, beside which it might be nothing."""
    found = torch.zeros_like(rows)
    for block in reversed(blocks):
        found = found + through(rows + found, block)
    return found


def raising(weights: Float[Tensor, "b h q n"], gradients: Float[Tensor, "b h q n"]) -> Float[Tensor, "b q n"]:
    """The attention that raises a score, as much as it does: the positive part of weight times gradient, head mean."""
    return (gradients * weights).clamp(min=0).mean(dim=1)


def sharpness(weights: Float[Tensor, "*b n"]) -> Float[Tensor, "*b"]:
    """How concentrated rows of attention are: 1 on a single token, 0 spread evenly (one minus normalized entropy)."""
    share = weights / weights.sum(dim=-1, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)
    entropy: Tensor = torch.special.entr(share).sum(dim=-1)
    return 1.0 - entropy / math.log(weights.shape[-1])
