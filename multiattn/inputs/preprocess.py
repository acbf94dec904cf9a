"""A picture to a model's input.

Dimensions: h, w = height and width of the model's input in pixels.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float32
from PIL import Image
from torch import Tensor

from ..errors import InputError, ModelError
from .geometry import Fit, Geometry
from .json_fields import as_json, ints_problem, is_list, names_problem

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]

_RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


@dataclass(frozen=True)
class ImagePreprocessing:
    """Resize, crop from the center, rescale and normalize, with PIL's own numbers.

    Equal to timm's evaluation transform (`resize_to` an integer, `floor(size / crop_pct)`) and to transformers'
    ViTImageProcessor on PIL (`resize_to` the size itself).

    Source: torchvision.transforms.functional (`resize`, `center_crop`), whose rounding is kept; timm.data.
    """

    size: tuple[int, int]
    """Height and width of the model's input, in pixels; with a `Fit` those of a square picture's, for each picture then
    has its own."""
    resize_to: tuple[int, int] | int | Fit
    """Height and width the picture is resized to, whatever its proportions; or the length of its shorter side, which
    keeps them. What is then larger than `size` is cropped, what is smaller is padded with black. With a `Fit` nothing
    is cropped or padded."""
    interpolation: Interpolation
    """The filter of the resize; all but "nearest" widen it when the picture shrinks (antialias)."""
    mean: tuple[float, float, float]
    """Subtracted from red, green and blue after `rescale`."""
    std: tuple[float, float, float]
    """Divides red, green and blue after `mean` is subtracted."""
    rescale: float = 1 / 255
    """Multiplies the 8-bit values first."""

    def __post_init__(self) -> None:
        """Raise ModelError where a field cannot be used."""
        sides = {"size": self.size, "resize_to": self.resize_to}
        for name, side in sides.items():
            if not isinstance(side, Fit) and (side if isinstance(side, int) else min(side)) < 1:
                raise ModelError(f"`{name}` must be at least 1 pixel, but is {side} instead.")
        if isinstance(self.resize_to, Fit) and self.size != (square := self.resize_to.size((1, 1))):
            raise ModelError(f"`size` must be a square picture's ({square}) with a `Fit`, but is {self.size} instead.")
        _require_known(self.interpolation)
        if not all(map(math.isfinite, self.mean)):
            raise ModelError(f"`mean` must be finite, but is {self.mean} instead.")
        if not all(math.isfinite(value) and value > 0 for value in self.std):
            raise ModelError(f"`std` must be finite and above 0, but is {self.std} instead.")
        if not (math.isfinite(self.rescale) and self.rescale > 0):
            raise ModelError(f"`rescale` must be finite and above 0, but is {self.rescale} instead.")

    def __call__(self, picture: Image.Image) -> tuple[Float32[Tensor, "3 h w"], Geometry]:
        """Turn one picture into the model's input.

        Args:
            picture: Upright RGB, as `load_image` gives it.

        Returns:
            The input, and where it lies in `picture`.

        Raises:
            InputError: The picture is not RGB, or so long and thin that it would be resized beyond PIL's limit.
        """
        if picture.mode != "RGB":
            raise InputError(f"`picture` must be in mode RGB, but is {picture.mode} instead. Use `load_image`.")
        geometry = self.geometry((picture.height, picture.width))
        pixels = torch.from_numpy(np.array(self.resized(picture))).permute(2, 0, 1)  # [3, h, w]
        # in float64 the product rounds to the same float32 as the division by 255 that torchvision does
        values = (pixels.double() * self.rescale).float()
        mean, std = (torch.tensor(numbers).view(3, 1, 1) for numbers in (self.mean, self.std))
        return values.sub_(mean).div_(std).contiguous(), geometry

    def resized(self, picture: Image.Image) -> Image.Image:
        """The part that the model sees, at the size of its input and still in 8 bits.

        Returns:
            A picture of `[h, w]`; the one that was given where there is nothing to do.

        Raises:
            InputError: The picture is so long and thin that it would be resized beyond PIL's limit.
        """
        geometry = self.geometry((picture.height, picture.width))
        height, width = geometry.resized_size
        if picture.size != (width, height):
            picture = picture.resize((width, height), _RESAMPLING[self.interpolation])
        top, left, height, width = geometry.crop
        if (top, left, width, height) == (0, 0, *picture.size):
            return picture
        return picture.crop((left, top, left + width, top + height))  # PIL fills what lies outside with black

    def geometry(self, source_size: tuple[int, int]) -> Geometry:
        """Where the model's input will lie in a picture of this height and width; computed, nothing is resized.

        Raises:
            InputError: The picture is so long and thin that it would be resized beyond PIL's limit.
        """
        resized_size = self._resized_size(source_size)
        if Image.MAX_IMAGE_PIXELS is not None and math.prod(resized_size) > Image.MAX_IMAGE_PIXELS:
            raise InputError(
                f"`picture` must not be so long and thin, but is {source_size[1]} x {source_size[0]} instead and would "
                f"be resized to {resized_size[1]} x {resized_size[0]}. Crop it."
            )
        size = resized_size if isinstance(self.resize_to, Fit) else self.size
        (top, height), (left, width) = map(_center, resized_size, size)
        return Geometry(source_size=source_size, resized_size=resized_size, crop=(top, left, height, width))

    def _resized_size(self, source_size: tuple[int, int]) -> tuple[int, int]:
        """Height and width after the resize. The long side is cut down to an integer, as torchvision does it."""
        if isinstance(self.resize_to, Fit):
            return self.resize_to.size(source_size)
        if not isinstance(self.resize_to, int):
            return self.resize_to
        height, width = source_size
        if width <= height:
            return int(self.resize_to * height / width), self.resize_to
        return self.resize_to, int(self.resize_to * width / height)

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON has them: lists for tuples."""
        return as_json(asdict(self))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "ImagePreprocessing":
        """The inverse of `to_dict`.

        Raises:
            ModelError: A field is missing, unknown or wrong.
        """
        problem = names_problem(cls, data, required=("size", "resize_to", "interpolation", "mean", "std"))
        resize_to = data.get("resize_to")
        pairs = {"size": 2} if isinstance(resize_to, int | Mapping) else {"size": 2, "resize_to": 2}
        problem = problem or ints_problem(data, pairs) or _not_numbers(data) or _not_a_fit(resize_to)
        if problem:
            raise ModelError(f"`preprocessing` {problem}")
        _require_known(data["interpolation"])
        values = dict(data)
        values["size"] = tuple(data["size"])
        if isinstance(resize_to, Mapping):
            values["resize_to"] = Fit(**resize_to)
        elif not isinstance(resize_to, int):
            values["resize_to"] = tuple(data["resize_to"])
        for name in ("mean", "std"):
            values[name] = tuple(map(float, data[name]))
        values["rescale"] = float(data.get("rescale", cls.rescale))
        return cls(**values)


def _center(resized: int, wanted: int) -> tuple[int, int]:
    """Start and length of the centerd box along one side; the odd pixel falls as torchvision's `center_crop` has it."""
    if resized < wanted:
        return -((wanted - resized) // 2), wanted
    return round((resized - wanted) / 2), wanted  # Python rounds halves to the even number


def _require_known(interpolation: Any) -> None:
    """Raise ModelError unless this filter exists."""
    if interpolation not in get_args(Interpolation):
        names = ", ".join(get_args(Interpolation))
        raise ModelError(f"`interpolation` must be one of {names}, but is {interpolation!r} instead.")


def _not_numbers(data: Mapping[str, Any]) -> str:
    """The same for the fields of `ImagePreprocessing` that must be numbers."""
    for name in ("mean", "std"):
        if not (is_list(data[name], 3) and all(type(number) in (int, float) for number in data[name])):
            return f"must have 3 numbers in `{name}`, but has {data[name]!r} instead."
    if type(data.get("rescale", 1.0)) not in (int, float):
        return f"must have a number in `rescale`, but has {data['rescale']!r} instead."
    return ""


def _not_a_fit(resize_to: Any) -> str:
    """The same for a `Fit`, which is an object there; nothing where `resize_to` is none."""
    names = [field.name for field in fields(Fit)]
    if isinstance(resize_to, Mapping) and not (
        sorted(resize_to) == sorted(names) and all(type(number) is int for number in resize_to.values())
    ):
        return f"must have integers for {', '.join(names)} in `resize_to`, but has {dict(resize_to)!r} instead."
    return ""
