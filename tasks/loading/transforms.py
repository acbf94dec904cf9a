"""Random changes to training pictures. Evaluation and inference use `ImagePreprocessing` alone.

h, w are the height and width of the model's input in pixels.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float32
from PIL import Image
from timm.data.auto_augment import RandAugment, rand_augment_transform
from timm.data.random_erasing import RandomErasing
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

from multiattn.checks import require
from multiattn.errors import InputError
from multiattn.inputs import ImagePreprocessing
from multiattn.inputs.channels import channels_first, in_channels

Transform = Callable[[Image.Image], Float32[Tensor, "c h w"]]


@dataclass(frozen=True)
class Augmentation:
    """How training pictures are varied. Every value can be set in the YAML under `data.init_args.augmentation`."""

    crop: Literal["resized", "padded", "none"] = "resized"
    """`resized`: a random part, stretched to the input's size. `padded`: resized to the input's size, then moved by up
    to `padding` pixels, which suits small pictures. `none`: as in evaluation."""

    scale: tuple[float, float] = (0.35, 1.0)
    """Smallest and largest share of the picture's area that a `resized` crop takes."""

    padding: int = 4
    """How far a `padded` crop may move, in pixels of the input; the gap is filled with a mirror image of the edge."""

    flip: float = 0.5
    """Probability of a mirror image, left to right."""

    rand_augment: str | None = None
    """timm's notation, e.g. `rand-m9-n2-mstd0.5`: magnitude 9, two operations a picture."""

    erasing: float = 0.0
    """Probability that a rectangle is replaced by noise."""

    def __post_init__(self) -> None:
        """Raise InputError where a value is out of range."""
        low, high = self.scale
        require(
            0 < low <= high <= 1, "scale", must="two rising shares above 0, up to 1", value=self.scale, error=InputError
        )
        require(self.padding >= 0, "padding", must="at least 0", value=self.padding, error=InputError)
        for name in ("flip", "erasing"):
            require(
                0 <= getattr(self, name) <= 1, name, must="from 0 to 1", value=getattr(self, name), error=InputError
            )
        if self.rand_augment:
            _rand_augment(self.rand_augment, size=(1, 1), gray=(0, 0, 0))


def training_transform(augmentation: Augmentation, preprocessing: ImagePreprocessing) -> Transform:
    """Make the random transform from a picture (upright RGB) to the model's input, normalized as by `preprocessing`.

    It draws from the generators of torch, numpy and Python; with the same seeds the result is the same.
    """
    height, width = preprocessing.size
    interpolation = InterpolationMode(preprocessing.interpolation)
    steps: list[Callable[[Image.Image], Image.Image]] = []
    if augmentation.crop == "resized":
        steps.append(
            v2.RandomResizedCrop((height, width), scale=augmentation.scale, interpolation=interpolation, antialias=True)
        )
    else:
        steps.append(preprocessing.resized)
        if augmentation.crop == "padded":
            steps.append(partial(_shifted, reach=augmentation.padding))
    if augmentation.flip:
        steps.append(partial(_flipped, probability=augmentation.flip))
    if augmentation.rand_augment:
        gray = tuple(min(255, round(255 * m)) for m in (preprocessing.mean * 3)[:3])  # still an RGB picture
        steps.append(_rand_augment(augmentation.rand_augment, size=(height, width), gray=gray))
    erase = RandomErasing(augmentation.erasing, mode="pixel", device="cpu") if augmentation.erasing else None
    # (value * rescale - mean) / std as one multiplication and one addition
    std = torch.tensor(preprocessing.std).view(-1, 1, 1)
    factor = preprocessing.rescale / std
    offset = torch.tensor(preprocessing.mean).view(-1, 1, 1) / std

    def transform(picture: Image.Image) -> Float32[Tensor, "c h w"]:
        for step in steps:
            picture = step(picture)
        pixels = torch.from_numpy(channels_first(in_channels(picture, preprocessing.channels)))  # (c, h, w)
        values = (pixels * factor).sub_(offset).contiguous()
        return values if erase is None else erase(values)

    return transform


def _rand_augment(notation: str, *, size: tuple[int, int], gray: tuple[int, ...]) -> RandAugment:
    """Make RandAugment for an input of `size`, with `gray` for pixels from outside the picture.

    Raises:
        InputError: The notation is not timm's.
    """
    try:
        augment: RandAugment = rand_augment_transform(
            notation, {"translate_const": int(min(size) * 0.45), "img_mean": gray}
        )
    except (AssertionError, KeyError, ValueError) as error:  # timm asserts, or fails to convert a number
        raise InputError(
            f"`rand_augment` must be in timm's notation, for example 'rand-m9-n2-mstd0.5', but is {notation!r} instead."
        ) from error
    return augment


def _shifted(picture: Image.Image, *, reach: int) -> Image.Image:
    """Move a picture by up to `reach` pixels in each direction; the gap is filled with a mirror image of the edge."""
    reach = min(reach, picture.height - 1, picture.width - 1)  # a mirror image is not larger than the picture
    padded = np.pad(np.asarray(picture), ((reach, reach), (reach, reach), (0, 0)), mode="reflect")
    top, left = random.randint(0, 2 * reach), random.randint(0, 2 * reach)
    return Image.fromarray(padded[top : top + picture.height, left : left + picture.width])


def _flipped(picture: Image.Image, *, probability: float) -> Image.Image:
    """Mirror a picture left to right, with a probability."""
    return picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if random.random() < probability else picture
