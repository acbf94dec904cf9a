"""From captured attention weights to what reached the output: rollout, relevance, and the sharpness of heads.

Notation: b batch, r rows that are followed (one for a classifier, one for each word of a text), h heads, q query rows,
n tokens.

A method follows a prediction backwards as a row vector over tokens. It starts with the weight that each token of the
last block has in what is read: 1 at a class token, or a word's cross-attention. A vector times a matrix for each block
is enough; no n x n product is formed. Captured weights and gradients are (b, h, q, n) for each block in order; the last
block may have computed its first rows only.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ..blocks.int8_layers import embed_int8


def rollout(rows: Float[Tensor, "#b r n"], weights: Sequence[Tensor]) -> Float[Tensor, "b r n"]:
    """Compute the share of each input token in the rows, as if attention were all that moves information.

    Half of each block's flow is its residual connection; heads are averaged. The sum of a row is kept.
    Source: Abnar and Zuidema 2020, "Quantifying attention flow in transformers", section 3.
    """
    return rollout_path(rows, weights)[0]


def rollout_path(rows: Float[Tensor, "#b r n"], weights: Sequence[Tensor]) -> list[Float[Tensor, "b r n"]]:
    """Compute the rollout before each block; the last entry is the rows themselves."""
    path = [rows.expand(len(weights[0]), -1, -1)]
    for block in reversed(weights):
        path.insert(0, 0.5 * path[0] + 0.5 * _through(path[0], block.mean(dim=1)))
    return path


def relevance(
    rows: Float[Tensor, "#b r n"], weights: Sequence[Tensor], gradients: Sequence[Tensor]
) -> Float[Tensor, "b r n"]:
    """Compute the part of each input token in the score that was differentiated: attention that raised it.

    Source: Chefer et al. 2021, "Generic attention-model explainability", equations 5 and 6; computed for the rows
    that are read, which are rows of their matrix product taken from the other end.
    """
    rows = rows.expand(len(weights[0]), -1, -1)
    return rows + _added(rows, raising_blocks(weights, gradients))


def normalized_relevance(
    rows: Float[Tensor, "#b r n"], weights: Sequence[Tensor], gradients: Sequence[Tensor]
) -> Float[Tensor, "b r n"]:
    """Compute the relevance where another stack reads the tokens: a token counts as much as all that reached it.

    The last block must have computed all rows. Source: the same, equations 8 and 9, from the left as well.
    """
    rows, blocks = rows.expand(len(weights[0]), -1, -1), raising_blocks(weights, gradients)
    total = torch.zeros_like(rows[:, :1])  # (b, 1, n): the sum of what attention added to each token
    for block in blocks:
        total = total + ((1 + total) @ block.mT)
    return rows + _added(quotient(rows, total), blocks)


def attended(
    selves: Sequence[Float[Tensor, "b n n"]], crosses: Sequence[Float[Tensor, "b n m"]]
) -> Float[Tensor, "b n m"]:
    """Compute what each token of a text has of each context token, from `raising_blocks` of its stack, by layer.

    A token takes from others what they attended to in the layers below, then attends itself. R of (q, q) is kept
    without its identity: rounding would lose small values beside its ones.
    Source: the same, equations 6 to 10.
    """
    own, found = torch.zeros_like(selves[0]), torch.zeros_like(crosses[0])
    for of_self, of_cross in zip(selves, crosses, strict=True):
        found = found + of_self @ found  # equation 7
        own = own + of_self + of_self @ own  # 6
        normalized = quotient(own, own.sum(dim=-1, keepdim=True))  # 8 and 9
        found = found + of_cross + normalized.mT @ of_cross  # 10
    return found


def of_part(by_site: Mapping[str, Tensor], kind: Literal["self", "cross"], *, part: str = "") -> list[Tensor]:
    """Return the tensors of a part's attentions of one kind, in the order of its layers; of all parts where empty."""
    start = part and f"{part}."
    return [one for name, one in by_site.items() if name.startswith(start) and name.endswith(f".{kind}")]


def _added(rows: Tensor, blocks: Sequence[Tensor]) -> Tensor:
    """Follow rows through blocks, without the identity: rounding would lose small values beside its ones."""
    found = torch.zeros_like(rows)
    for block in reversed(blocks):
        found = found + _through(rows + found, block)
    return found


def _through(rows: Float[Tensor, "b r n"], matrix: Float[Tensor, "b q n"]) -> Float[Tensor, "b r n"]:
    """Carry rows one block back: rows @ matrix, where the block may have computed only its first q rows."""
    return rows[..., : matrix.shape[1]] @ matrix


def quotient(amounts: Tensor, totals: Tensor) -> Tensor:
    """Divide, with 0 wherever the total is 0."""
    return torch.where(totals > 0, amounts / totals.clamp(min=torch.finfo(totals.dtype).tiny), 0.0)


def raising(weights: Float[Tensor, "b h q n"], gradients: Float[Tensor, "b h q n"]) -> Float[Tensor, "b q n"]:
    """Compute the attention that raised a score: the positive part of weight times gradient, averaged over heads."""
    return (gradients * weights).clamp(min=0).mean(dim=1)


def raising_blocks(weights: Sequence[Tensor], gradients: Sequence[Tensor]) -> list[Float[Tensor, "b q n"]]:
    """Compute `raising` for each block."""
    return [raising(block, gradient) for block, gradient in zip(weights, gradients, strict=True)]


def sharpness(weights: Float[Tensor, "*b n"]) -> Float[Tensor, "*b"]:
    """Compute how concentrated rows of attention are, 1 minus normalized entropy: 1 on one token, 0 spread evenly."""
    share = weights / weights.sum(dim=-1, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)
    entropy: Tensor = torch.special.entr(share).sum(dim=-1)
    return 1.0 - entropy / math.log(weights.shape[-1])


def leaf(images: Float[Tensor, "b *size"]) -> Float[Tensor, "b *size"]:
    """Copy images, or features of sound, into a leaf of the autograd graph.

    Needed where all weights are frozen, or in inference mode.
    """
    return images.detach().clone().requires_grad_()


class EmbeddingsAsLeaves(TorchFunctionMode):
    """A context in which embedded tokens are leaves of the autograd graph, in this thread, also from frozen tables."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call the function, and mark the result of an embedding."""
        found = func(*args, **(kwargs or {}))
        if func in (F.embedding, torch.embedding, embed_int8) and not found.requires_grad:
            found.requires_grad_()
        return found
