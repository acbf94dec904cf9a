"""How far a map can be trusted: what happens to the prediction when the patches it points at go, or come alone.

Notation: b batch, c channels, H and W the input's height and width, r and c rows and columns of the map.

A map that tells the truth makes the class's probability fall fast when its brightest patches are deleted first, and
rise fast when they are the first to be inserted into an empty picture. A random order is the baseline to hold it
against. Source: Petsiuk et al. 2018 (RISE), section 4.1; here by patches, with the picture's mean as what is empty.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ..models import ViT

STEPS = 16  # points on the curve; more changes the third digit


def deletion_scores(
    model: ViT, images: Float[Tensor, "b c H W"], maps: Float[Tensor, "b rows cols"], target: Sequence[int]
) -> Float[Tensor, " b"]:
    """The mean probability of the target while patches are deleted, brightest first. Lower is better."""
    return _curve(model, images, maps, target, deleting=True)


def insertion_scores(
    model: ViT, images: Float[Tensor, "b c H W"], maps: Float[Tensor, "b rows cols"], target: Sequence[int]
) -> Float[Tensor, " b"]:
    """The mean probability of the target while patches are inserted, brightest first. Higher is better."""
    return _curve(model, images, maps, target, deleting=False)


@torch.no_grad()
def _curve(model: ViT, images: Tensor, maps: Tensor, target: Sequence[int], *, deleting: bool) -> Tensor:
    """The mean over the curve's points, which is its area."""
    batch, rows, cols = maps.shape
    rank = maps.flatten(1).argsort(dim=1, descending=True).argsort(dim=1).reshape(batch, 1, rows, cols)
    empty = images.mean(dim=(2, 3), keepdim=True).expand_as(images)
    wanted = torch.as_tensor(target, device=images.device)[:, None]
    points = []
    for step in range(STEPS + 1):
        touched = (rank < step * rows * cols / STEPS).float()  # (b, 1, rows, cols)
        touched = torch.nn.functional.interpolate(touched, size=images.shape[-2:], mode="nearest").bool()
        shown = torch.where(touched, empty, images) if deleting else torch.where(touched, images, empty)
        points.append(model(shown).softmax(dim=-1).gather(1, wanted)[:, 0])
    return torch.stack(points).mean(dim=0)
