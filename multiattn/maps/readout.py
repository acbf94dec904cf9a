"""From attention weights over tokens to one number a patch: the parts that all methods share.

Notation: b batch, h heads, q query rows, n tokens, r readers, rows and cols of the patch grid.

A method follows a prediction backwards as a row vector over tokens that starts at what its reader reads: a classifier's
head the class token, or all patches alike; a word what the decoder's cross-attention took. Rows rather than n x n
products: vectors times a matrix are all that is needed.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ..models import ViT


def readout_row(model: ViT, tokens: int, like: Tensor) -> Float[Tensor, "1 1 n"]:
    """How much the head reads of each token: 1 at the class token, or an equal share of each patch."""
    row = like.new_zeros(1, 1, tokens)
    if model.config.pool == "class":
        row[..., 0] = 1.0
    else:
        row[..., model.num_prefix_tokens :] = 1.0 / (tokens - model.num_prefix_tokens)
    return row


def through(rows: Float[Tensor, "b r n"], matrix: Float[Tensor, "b q n"]) -> Float[Tensor, "b r n"]:
    """The rows carried one block back: rows @ matrix, where the block may have computed only its first q rows."""
    return rows[..., : matrix.shape[1]] @ matrix


def to_grid(row: Float[Tensor, "*b n"], grid: tuple[int, int]) -> Float[Tensor, "*b rows cols"]:
    """The patches of rows over tokens as a grid; the prefix tokens before them are left out."""
    rows, cols = grid
    patches = row[..., row.shape[-1] - rows * cols :]
    return patches.reshape(*row.shape[:-1], rows, cols)


def to_array(grid: Float[Tensor, "*grid"]) -> Float32[np.ndarray, "*grid"]:
    """The values of an `AttentionMap`."""
    return np.ascontiguousarray(grid.detach().cpu().numpy(), dtype=np.float32)


def leaf(images: Float[Tensor, "b c H W"]) -> Float[Tensor, "b c H W"]:
    """A copy that a graph can start from, also where the caller's own was made in inference mode."""
    return images.detach().clone().requires_grad_()


class EmbeddingsAsLeaves(TorchFunctionMode):
    """While it is on, in this thread: embedded tokens are what a graph can start from, also of frozen tables."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Do what was asked for."""
        found = func(*args, **(kwargs or {}))
        if func in (F.embedding, torch.embedding) and not found.requires_grad:
            found.requires_grad_()
        return found
