"""Positions of tokens: sinusoidal and learned tables that are added, and angles by which q and k are rotated.

Notation: b batch, h heads, n tokens, d width, r rows and c columns of a patch grid.
"""

import math
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..checks import check_argument

MAX_PERIOD = 10_000.0  # the longest wavelength is 2 pi times this many positions


def _angles(positions: Tensor, count: int, max_period: float) -> Tensor:
    """Multiply positions by `count` frequencies, which fall geometrically from 1 towards 1 / max_period: (n, count)."""
    exponent = torch.arange(count, dtype=torch.float64, device=positions.device) / count
    return positions.double()[:, None] * max_period**-exponent


def sinusoidal(
    length: int, dim: int, *, max_period: float = MAX_PERIOD, inclusive: bool = False
) -> Float[Tensor, "n d"]:
    """Compute the fixed positions of a sequence, [sin | cos]. Source: Vaswani et al. 2017, section 3.5.

    Args:
        length: Number of positions.
        dim: Width, even.
        max_period: The longest wavelength is 2 pi times this many positions.
        inclusive: Whether the lowest frequency is exactly 1 / max_period, as in Whisper, or one step above it.

    Raises:
        ValueError: `dim` cannot be split into sines and cosines.
    """
    must = "even and at least 4 for sinusoidal positions" if inclusive else "even for sinusoidal positions"
    check_argument(dim % 2 == 0 and not (inclusive and dim < 4), "dim", must=must, value=dim)
    count = dim // 2
    if inclusive:
        max_period = max_period ** (count / (count - 1))
    angles = _angles(torch.arange(length), count, max_period)
    return torch.cat([angles.sin(), angles.cos()], dim=-1).float()


def sinusoidal_2d(rows: int, cols: int, dim: int, *, max_period: float = MAX_PERIOD) -> Float[Tensor, "rc d"]:
    """Compute the fixed positions of a grid, row by row: half of the width encodes the column, half the row.

    Source: MoCo v3 (Chen et al. 2021), `build_2d_sincos_position_embedding`.
    """
    check_argument(dim % 4 == 0, "dim", must="a multiple of 4 for 2-D sinusoidal positions", value=dim)
    across = sinusoidal(cols, dim // 2, max_period=max_period).repeat(rows, 1)  # (r c, d / 2)
    down = sinusoidal(rows, dim // 2, max_period=max_period).repeat_interleave(cols, 0)  # (r c, d / 2)
    return torch.cat([across, down], dim=-1)


Resampling = Literal["bicubic", "bicubic_aliased", "bilinear"]
"""How a learned table is resampled to another grid: `bicubic` with antialiasing, as in timm; `bicubic_aliased` without,
as in DINOv2; `bilinear` with the corners of both grids aligned, as in ViLT."""


class LearnedPositions(nn.Module):
    """A learned table for a grid of tokens, after `prefix` rows for tokens that are outside the grid."""

    def __init__(self, grid: tuple[int, int], dim: int, *, prefix: int = 0, resampling: Resampling = "bicubic") -> None:
        super().__init__()
        self.grid = grid
        self.prefix = prefix
        self.resampling = resampling
        self.weight = nn.Parameter(torch.empty(1, prefix + grid[0] * grid[1], dim))
        nn.init.trunc_normal_(self.weight, std=0.02)

    def forward(self, grid: tuple[int, int]) -> Float[Tensor, "1 n d"]:
        """Return the table, resampled where `grid` differs from the one that it was learned for."""
        is_known = all(isinstance(side, int) for side in grid)  # not so where it is a symbol of an exported graph
        if is_known and grid == self.grid:
            return self.weight
        return resample_positions(self.weight, self.grid, grid, self.prefix, resampling=self.resampling)


def resample_positions(
    weight: Float[Tensor, "1 n d"],
    old: tuple[int, int],
    new: tuple[int, int],
    prefix: int,
    *,
    resampling: Resampling = "bicubic",
) -> Float[Tensor, "1 m d"]:
    """Resample a learned table to another grid.

    Source: timm, `resample_abs_pos_embed`; transformers, `Dinov2Embeddings`; ViLT, `visual_embed`.
    """
    fixed, table = weight[:, :prefix], weight[:, prefix:]
    picture = table.float().reshape(1, *old, -1).permute(0, 3, 1, 2)  # (1, d, r, c)
    if resampling == "bilinear":
        picture = F.interpolate(picture, size=new, mode="bilinear", align_corners=True)
    else:
        picture = F.interpolate(picture, size=new, mode="bicubic", antialias=resampling == "bicubic")
    table = picture.permute(0, 2, 3, 1).flatten(1, 2)  # (1, r c, d)
    return torch.cat([fixed, table.to(weight.dtype)], dim=1)


class Rotary(NamedTuple):
    """The cosines and sines that rotate q and k, one row per token; for all heads, or each with its own.

    All blocks of a forward pass share them, unless their frequencies are learned.
    """

    cos: Float[Tensor, "*h n d"]
    sin: Float[Tensor, "*h n d"]
    neighbors: bool = False
    """Whether a pair that is rotated is (2 i, 2 i + 1), or (i, i + d / 2)."""

    def first(self, count: int) -> "Rotary":
        """Return the angles of the first tokens."""
        return self._replace(cos=self.cos[..., :count, :], sin=self.sin[..., :count, :])

    def to(self, dtype: torch.dtype) -> "Rotary":
        """Return the angles in another type."""
        return self._replace(cos=self.cos.to(dtype), sin=self.sin.to(dtype))


def rotary(length: int, head_dim: int, *, max_period: float = MAX_PERIOD, device: torch.device | None = None) -> Rotary:
    """Compute the rotary positions of a sequence. Source: RoFormer (Su et al. 2021), section 3.2."""
    check_argument(head_dim % 2 == 0, "head_dim", must="even for rotary positions", value=head_dim)
    angles = _angles(torch.arange(length, device=device), head_dim // 2, max_period)  # (n, d / 2)
    angles = torch.cat([angles, angles], dim=-1).float()  # (n, d): a pair is (i, i + d / 2)
    return Rotary(angles.cos(), angles.sin())


def rotary_2d(
    rows: int,
    cols: int,
    head_dim: int,
    *,
    prefix: int = 0,
    max_period: float = 100.0,
    offset: float = 0.0,
    reference: tuple[int, int] | None = None,
    centered: bool = False,
    columns_first: bool = False,
    neighbors: bool = False,
    device: torch.device | None = None,
) -> Rotary:
    """Compute axial rotary positions: half of the head width rotates with the row, half with the column.

    The `prefix` tokens before the grid are not rotated. The longest wavelength is short because a grid is tens of
    patches wide, not thousands.
    Source: RoPE-ViT (Heo et al. 2024), section 3.2, the axial form; EVA-02 and DINOv3 (timm, `pos_embed_sincos.py`).

    Args:
        rows: Of the grid.
        cols: Of the grid.
        head_dim: A multiple of 4.
        prefix: Number of tokens before the grid.
        max_period: The longest wavelength is 2 pi times this many patches.
        offset: Added to each row and column, counted from 0.
        reference: Rows and columns that those of the grid are scaled to, so that a finer grid spans the same angles.
        centered: Count from -2 pi at one edge of the grid to 2 pi at the other, at the middles of the patches, however
            many there are.
        columns_first: Whether the first half of the angles is the columns' and not the rows'.
        neighbors: See `Rotary`.
        device: Where to.
    """
    check_argument(head_dim % 4 == 0, "head_dim", must="a multiple of 4 for 2-D rotary positions", value=head_dim)
    places = _places(rows, cols, offset=offset, reference=reference, centered=centered, device=device)
    down, across = (_angles(places[:, axis], head_dim // 4, max_period) for axis in (0, 1))  # (r c, d / 4)
    angles = torch.cat([across, down] if columns_first else [down, across], dim=-1)  # (r c, d / 2)
    return _rotary_of(angles, prefix=prefix, neighbors=neighbors)


def rotary_mixed(
    rows: int,
    cols: int,
    frequencies: Float[Tensor, "2 h half"],
    *,
    prefix: int = 0,
    columns_first: bool = False,
    neighbors: bool = False,
) -> Rotary:
    """Compute rotary positions of learned frequencies: every pair of a head rotates with the row and with the column.

    Args:
        rows: Of the grid.
        cols: Of the grid.
        frequencies: Angle per row and per column, or the other way round, for each head and pair.
        prefix: Number of tokens before the grid, which are not rotated.
        columns_first: Whether the first frequencies are the columns' and not the rows'.
        neighbors: See `Rotary`.

    Source: RoPE-ViT (Heo et al. 2024), section 3.2, the mixed form.
    """
    places = _places(rows, cols, device=frequencies.device).float()  # (r c, 2)
    first, second = (places[:, 1], places[:, 0]) if columns_first else (places[:, 0], places[:, 1])
    of_first, of_second = frequencies.float()[:, :, None]  # (h, 1, d / 2) each
    angles = first[:, None] * of_first + second[:, None] * of_second  # (h, r c, d / 2)
    return _rotary_of(angles, prefix=prefix, neighbors=neighbors)


@torch.no_grad()
def start_frequencies(frequencies: Float[Tensor, "2 l h half"], *, period: float) -> None:
    """Draw, in place, what `rotary_mixed` starts to learn from: axial frequencies, turned by an angle for each head.

    Args:
        frequencies: Of all blocks, l; `half` is half of a head's width.
        period: The lowest frequency is about 1 / period.
    """
    if frequencies.is_meta:
        return
    _, depth, num_heads, half = frequencies.shape
    size = (period ** -(torch.arange(half // 2) / (half // 2))).repeat(2)  # (half,)
    turn = torch.rand(depth, num_heads, 1) * 2 * math.pi
    turns = torch.cat([turn.expand(-1, -1, half // 2), turn.expand(-1, -1, half // 2) + math.pi / 2], dim=-1)
    frequencies.copy_(torch.stack([size * turns.cos(), size * turns.sin()]))


def _places(
    rows: int,
    cols: int,
    *,
    offset: float = 0.0,
    reference: tuple[int, int] | None = None,
    centered: bool = False,
    device: torch.device | None = None,
) -> Float[Tensor, "rc 2"]:
    """Return where each patch of a grid lies, row by row: down and across."""
    sides = []
    for axis, count in enumerate((rows, cols)):
        side = torch.arange(count, dtype=torch.float64, device=device) + offset
        if centered:
            side = 2 * math.pi * (2 * (side + 0.5) / count - 1)
        elif reference is not None:
            side = side / count * reference[axis]
        sides.append(side)
    return torch.stack(torch.meshgrid(*sides, indexing="ij"), dim=-1).flatten(0, 1)


def _rotary_of(angles: Float[Tensor, "*h rc half"], *, prefix: int, neighbors: bool) -> Rotary:
    """Return cosines and sines of one angle for each pair, with prefix tokens that are not rotated."""
    angles = F.pad(angles, (0, 0, prefix, 0)).float()  # (*h, n, d / 2)
    angles = angles.repeat_interleave(2, dim=-1) if neighbors else torch.cat([angles, angles], dim=-1)
    return Rotary(angles.cos(), angles.sin(), neighbors)


def apply_rotary(x: Float[Tensor, "b h n d"], rotary: Rotary) -> Float[Tensor, "b h n d"]:
    """Rotate each pair by its token's angle. Source: RoFormer (Su et al. 2021), equation 34."""
    if rotary.neighbors:
        turned = torch.stack([-x[..., 1::2], x[..., ::2]], dim=-1).flatten(-2)
    else:
        left, right = x.chunk(2, dim=-1)
        turned = torch.cat([-right, left], dim=-1)
    return (x * rotary.cos + turned * rotary.sin).to(x.dtype)
