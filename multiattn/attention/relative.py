"""Relative positions: what is added to the score of a query and a key for the distance between them.

Notation: h heads, n tokens (p prefix tokens first, then a grid of r rows and c columns, row by row), R and C rows and
columns of another grid; in a text, q query positions and k key positions.
"""

from bisect import bisect_left

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..checks import check_argument

EXTRA = 3
"""Rows of the table for pairs with a prefix token: from it to a patch, from a patch to it, and among prefix tokens."""


class GridBias(nn.Module):
    """A learned bias for each head and each distance in a grid. Source: BEiT (Bao et al. 2022), section 2.5.

    Args:
        grid: Rows and columns of patches that the table was learned for.
        num_heads: Number of heads.
        prefix: Number of tokens before the patches; their pairs have three rows of the table of their own.
    """

    def __init__(self, grid: tuple[int, int], num_heads: int, *, prefix: int = 1) -> None:
        super().__init__()
        self.grid = grid
        self.prefix = prefix
        distances = (2 * grid[0] - 1) * (2 * grid[1] - 1)
        self.weight = nn.Parameter(torch.zeros(distances + (EXTRA if prefix else 0), num_heads))

    def forward(self, grid: tuple[int, int]) -> Float[Tensor, "1 h n n"]:
        """Return the bias, with the table resampled where `grid` differs from the one that it was learned for."""
        (rows, cols), p = grid, self.prefix
        old_rows, old_cols = self.grid
        distances = (2 * old_rows - 1) * (2 * old_cols - 1)
        table = self.weight[:distances].reshape(2 * old_rows - 1, 2 * old_cols - 1, -1).permute(2, 0, 1)
        if grid != self.grid:
            table = resample_distances(table, grid)
        # of (h, 2 r - 1, 2 c - 1), entry (i, j) is the distance i - (r - 1), j - (c - 1) of a query from a key: the
        # windows of r x c that begin at the query's row and column, backwards
        windows = table.unfold(1, rows, 1).unfold(2, cols, 1).flip(-2, -1)  # (h, r, c, r, c)
        bias = windows.reshape(len(table), rows * cols, rows * cols)  # (h, r c, r c)
        if p:
            to_patches, from_patches, among = self.weight[distances:, :, None, None].unbind(0)  # (h, 1, 1) each
            n = rows * cols
            upper = torch.cat([among.expand(-1, p, p), to_patches.expand(-1, p, n)], dim=2)  # (h, p, p + r c)
            lower = torch.cat([from_patches.expand(-1, n, p), bias], dim=2)  # (h, r c, p + r c)
            bias = torch.cat([upper, lower], dim=1)
        return bias[None]


def resample_distances(
    table: Float[Tensor, "h old_rows old_cols"], grid: tuple[int, int]
) -> Float[Tensor, "h new_rows new_cols"]:
    """Resample a table of distances, (2 r - 1) x (2 c - 1), to those of another grid, (2 R - 1) x (2 C - 1).

    Short distances matter more, so the old ones are laid out over the new range with steps that grow outwards
    geometrically, and the new ones are read off between them linearly.
    Source: BEiT's `run_class_finetuning.py`, in timm's form: `resize_rel_pos_bias_table`.
    """
    for axis, side in enumerate(grid, start=1):
        matrix = _resampling(table.shape[axis], 2 * side - 1).to(table)
        table = torch.movedim(torch.movedim(table, axis, -1) @ matrix.T, -1, axis)
    return table


def _resampling(old: int, new: int) -> Float[Tensor, "new old"]:
    """Return the linear map from values at `old` distances to values at `new` ones, both centered at 0."""
    reach = old // 2
    low, high = 1.01, 1.5  # the ratio between steps, so that the steps add up to the new range
    while high - low > 1e-6:
        ratio = (low + high) / 2
        low, high = (low, ratio) if (1 - ratio**reach) / (1 - ratio) > new // 2 else (ratio, high)
    outwards = [(1 - ratio**step) / (1 - ratio) for step in range(1, reach + 1)]
    places = [*(-place for place in reversed(outwards)), 0.0, *outwards]
    rows = []
    for target in range(-(new // 2), new // 2 + 1):
        right = min(sum(place < target for place in places), old - 1)
        left = max(right - 1, 0)
        row = [0.0] * old
        share = (target - places[left]) / (places[right] - places[left]) if left < right else 1.0
        share = min(max(share, 0.0), 1.0)  # beyond the outermost place its value holds
        row[left] += 1.0 - share
        row[right] += share
        rows.append(row)
    return torch.tensor(rows)


class BucketBias(nn.Module):
    """A learned bias for each head and each bucket of distances in a text: short ones alone, longer ones together.

    Queries and keys are aligned bottom-right, as in `Mask`: the last query is at the last key.
    Source: Raffel et al. 2020 (T5), section 2.1.

    Args:
        num_heads: Number of heads.
        num_buckets: Rows of the table, at least 4.
        max_distance: The distance from which on all share a bucket; above half of `num_buckets`.
        causal: Whether all buckets are for keys before the query; otherwise half of them are for keys after it.
    """

    def __init__(self, num_heads: int, *, num_buckets: int = 32, max_distance: int = 128, causal: bool = False) -> None:
        super().__init__()
        check_argument(num_buckets >= 4, "num_buckets", must="at least 4", value=num_buckets)
        must = f"above half of `num_buckets` ({num_buckets})"
        check_argument(max_distance > num_buckets // 2, "max_distance", must=must, value=max_distance)
        self.causal = causal
        self._starts = bucket_starts(num_buckets if causal else num_buckets // 2, max_distance)
        self.weight = nn.Parameter(torch.zeros(num_buckets, num_heads))

    def forward(self, q_len: int, k_len: int) -> Float[Tensor, "1 h q k"]:
        """Return the bias of the last `q_len` of `k_len` positions to all of them."""
        key_after = torch.arange(1 - k_len, q_len, device=self.weight.device)  # (k + q - 1,): key minus query position
        starts = torch.tensor(self._starts, device=self.weight.device)
        distance = (-key_after).clamp(min=0) if self.causal else key_after.abs()
        bucket = torch.bucketize(distance, starts, right=True)
        if not self.causal:
            bucket = bucket + (key_after > 0) * (len(self._starts) + 1)
        # the first query is the farthest before the last key, so its window of k distances is the last one
        windows = self.weight[bucket].t().unfold(1, k_len, 1).flip(1)  # (h, q, k)
        return windows[None]


def bucket_starts(num_buckets: int, max_distance: int) -> tuple[int, ...]:
    """Return the shortest distance in each bucket but the first, which begins at 0.

    The first half of the buckets has a distance each. The starts of the others grow geometrically up to `max_distance`:
    they are compared in whole numbers, as a logarithm would be rounded just where a bucket begins.
    """
    exact = num_buckets // 2
    wide = num_buckets - exact
    starts = [*range(1, exact + 1)]
    for step in range(1, wide):  # the first distance of at least exact (max_distance / exact)^(step / wide)
        least = max_distance**step * exact ** (wide - step)
        starts.append(bisect_left(range(max_distance), least, key=lambda distance: distance**wide))
    return tuple(starts)
