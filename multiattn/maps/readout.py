"""From attention weights over tokens to one number a patch: the parts that all methods share.

Notation: b batch, h heads, q query rows, n tokens, r and c rows and columns of the patch grid.

A method follows the prediction backwards as a row vector over tokens, (b, n), that starts at what the head reads: the
class token, or all patches alike. Rows rather than n x n products: a vector times a matrix is all the head needs.
"""

from jaxtyping import Float
from torch import Tensor

from ..models import ViT


def readout_row(model: ViT, tokens: int, like: Tensor) -> Float[Tensor, "1 n"]:
    """How much the head reads of each token: 1 at the class token, or an equal share of each patch."""
    row = like.new_zeros(1, tokens)
    if model.config.pool == "class":
        row[:, 0] = 1.0
    else:
        row[:, model.num_prefix_tokens :] = 1.0 / (tokens - model.num_prefix_tokens)
    return row


def through(row: Float[Tensor, "b n"], matrix: Float[Tensor, "b q n"]) -> Float[Tensor, "b n"]:
    """The row carried one block back: row @ matrix, where the block may have computed only its first q rows."""
    return (row[:, None, : matrix.shape[1]] @ matrix)[:, 0]


def to_grid(row: Float[Tensor, "*b n"], grid: tuple[int, int]) -> Float[Tensor, "*b r c"]:
    """The patches of rows over tokens as a grid; the prefix tokens before them are left out."""
    rows, cols = grid
    patches = row[..., row.shape[-1] - rows * cols :]
    return patches.reshape(*row.shape[:-1], rows, cols)
