"""Hide parts of one input and compute the probability of what a map explains: one way for all tasks.

A `MaskedInput` is one picture, recording or question with the prediction that is explained. Its cells are what can be
hidden: patches of a picture (rows, cols), cells of a log-mel (bands, moments), words of a question (words,). What
stands in place of a hidden cell is the filling.

Notation: n inputs with different cells hidden, c channels, H and W the picture's height and width, mels features of a
log-mel, t its frames, k tokens, V vocabulary.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from ..checks import require
from .grounding import mean_color

Filling = Literal["mean", "blur"]
"""What stands in place of a hidden part. "mean": the picture's mean color; of a log-mel, the recording's mean in each
band. "blur": the picture or log-mel itself, blurred by a Gaussian as wide as a cell."""

FILLINGS: tuple[Filling, ...] = ("mean", "blur")

PICTURES_AT_ONCE = 16
"""Pictures or questions in a batch."""

RECORDINGS_AT_ONCE = 4
"""Recordings in a batch: an encoder of speech reads 1500 frames of each."""

MOMENT_SECONDS = 0.1
"""Length of a cell of a recording, about that of a speech sound. Random cells of one frame would be a hiss over all of
the recording, which no word survives."""


@dataclass(frozen=True, eq=False)
class MaskedInput:
    """One input, of which any cells can be hidden, and the prediction whose probability is watched."""

    cells: tuple[int, ...]
    """Number of cells along each axis: (rows, cols), (bands, moments) or (words,)."""

    score: Callable[[Bool[Tensor, "n *cells"]], Float[Tensor, " n"]]
    """Compute the probability with these cells hidden, all in one batch."""

    batch_size: int
    """Inputs computed at once; more are divided."""

    device: torch.device
    """Where the model is."""

    center: tuple[float | None, ...] = ()
    """Where along each axis, from 0 to 1, one would look without a model; None for an axis that does not matter. The
    middle of all where empty."""

    @torch.no_grad()
    def probability(self, hidden: Bool[Tensor, "n *cells"]) -> Float[Tensor, " n"]:
        """Compute the probability of what is explained with these cells hidden, on the CPU.

        Raises:
            ModelError: `hidden` has other cells.
        """
        require(hidden.shape[1:] == self.cells, "hidden", must=f"of {self.cells} cells", value=tuple(hidden.shape[1:]))
        parts = torch.split(hidden.to(self.device), self.batch_size)
        return torch.cat([self.score(part).float().cpu() for part in parts])

    @cached_property
    def whole(self) -> float:
        """The probability with nothing hidden."""
        return float(self.probability(torch.zeros(1, *self.cells, dtype=torch.bool)))

    def ranks(self, values: np.ndarray) -> Tensor:
        """Return the rank of each cell by a map of them, 0 for the brightest; of equal ones, the first is brighter.

        A map of a recording is averaged over each cell.

        Args:
            values: The map: of the cells; for a recording, of its frames (t,) or (bands, t).

        Raises:
            ModelError: A map of another input.
        """
        found = torch.as_tensor(np.array(values, dtype=np.float32))
        if found.shape != self.cells:
            fits = len(self.cells) == 2 and 1 <= found.ndim <= 2 and found.shape[-1] >= self.cells[-1]
            require(fits, "values", must=f"of {self.cells} cells", value=tuple(found.shape))
            rows = found[None] if found.ndim == 1 else found  # (bands, t)
            found = F.adaptive_avg_pool2d(rows[None], (self.cells[0], self.cells[1]))[0]
        order = found.flatten().argsort(descending=True, stable=True)
        return order.argsort().reshape(self.cells)


def filled(
    picture: Float[Tensor, "c H W"], filling: str, *, cell: tuple[float, float], over: tuple[int, ...] = (1, 2)
) -> Float[Tensor, "c H W"]:
    """What stands in place of hidden parts; the mean is that over the dimensions `over`."""
    require(filling in FILLINGS, "filling", must=f"one of {', '.join(FILLINGS)}", value=filling)
    if filling == "blur":
        return blurred(picture, sigma=cell)
    if over == (1, 2):
        return mean_color(picture[None])[0]
    return picture.mean(dim=over, keepdim=True).expand_as(picture)


def blurred(picture: Float[Tensor, "c H W"], *, sigma: tuple[float, float]) -> Float[Tensor, "c H W"]:
    """Blur by a Gaussian, whose standard deviations are in pixels down and across; edges go on as they are."""
    found = picture[:, None]  # (c, 1, H, W)
    for axis, width in zip((2, 3), sigma, strict=True):
        reach = max(1, round(3 * width))
        steps = torch.arange(-reach, reach + 1, device=picture.device, dtype=torch.float32)
        kernel = torch.exp(-(steps**2) / (2 * width**2))
        kernel = (kernel / kernel.sum()).to(picture.dtype)
        pad = (0, 0, reach, reach) if axis == 2 else (reach, reach, 0, 0)
        found = F.conv2d(
            F.pad(found, pad, mode="replicate"), kernel[None, None, :, None] if axis == 2 else kernel[None, None, None]
        )
    return found[:, 0]
