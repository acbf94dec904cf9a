"""The preprocessing of a picture: an upright RGB picture to a model's input.

Dimensions: h, w = height and width of the model's input in pixels, c = the channels that the model reads.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float32
from PIL import Image

from ..checks import check_choices, check_rules, require, require_fields
from ..errors import InputError, ModelError
from .channels import MODES, channels_first, in_channels
from .files import MAX_PIXELS
from .geometry import Fit, Geometry, as_json

if TYPE_CHECKING:
    from torch import Tensor

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]

LARGEST_INPUT, LARGEST_RESIZE = 4096, 8192
"""Longest side of a model's input, and of the picture that it is cropped from, in pixels."""

_NUMBERS = (1e-6, 1e6)  # bounds of what pixels are multiplied and divided by: beyond them float32 loses all of them

_RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


@dataclass(frozen=True)
class ImagePreprocessing:
    """Resize, crop from the center, rescale and normalize, with PIL's resampling.

    The result equals timm's evaluation transform (`resize_to` an integer, `floor(size / crop_pct)`) and transformers'
    ViTImageProcessor on PIL (`resize_to` the size itself).

    Source: torchvision.transforms.functional (`resize`, `center_crop`), whose rounding is kept; timm.data;
    transformers, `TorchvisionBackend.center_crop`.
    """

    size: tuple[int, int]
    """Height and width of the model's input, in pixels, at most 4096. With a `Fit`, where each picture has its own
    size, those of a square picture."""
    resize_to: tuple[int, int] | int | Fit
    """Height and width that the picture is resized to, which may change its proportions; or the length of its shorter
    side, which keeps them. Sides larger than `size` are then cropped, smaller ones padded with black. With a `Fit`,
    nothing is cropped or padded. At most 8192 pixels."""
    interpolation: Interpolation
    """The filter of the resize; all except "nearest" are antialiased when the picture shrinks."""
    mean: tuple[float, ...]
    """Subtracted from red, green and blue after `rescale`; at most a million. One number is for a model that reads the
    luminance, four are for one that reads red, green, blue and alpha."""
    std: tuple[float, ...]
    """Divides red, green and blue after `mean` is subtracted; as many numbers, from a millionth to a million."""
    rescale: float = 1 / 255
    """Multiplies the 8-bit values first; from a millionth to a million."""
    center: Literal["nearest", "floor"] = "nearest"
    """Where the crop begins if the center lies between two pixels: "nearest" rounds halves to even numbers, as
    torchvision's `center_crop` does, and with it timm and open_clip; "floor" is transformers'."""

    def __post_init__(self) -> None:
        """Raise ModelError where a field cannot be used."""
        for name, side in {"size": self.size, "resize_to": self.resize_to}.items():
            if not isinstance(side, Fit):
                sides = (side,) if isinstance(side, int) else side
                require(min(sides) >= 1, name, must="at least 1 pixel", value=side)
        ends = self.resize_to.longer if isinstance(self.resize_to, Fit) else self.resize_to
        for name, side, most in (("size", self.size, LARGEST_INPUT), ("resize_to", ends, LARGEST_RESIZE)):
            longest = side if isinstance(side, int) else max(side)
            require(longest <= most, name, must=f"at most {most} pixels", value=side)
        if isinstance(self.resize_to, Fit):
            square = self.resize_to.size((1, 1))
            must = f"a square picture's ({square}) with a `Fit`"
            require(self.size == square, "size", must=must, value=self.size)
        check_choices(self, error=ModelError)
        in_range = "from a millionth to a million"
        check_rules(
            self,
            ("mean", len(self.mean) in MODES, "a number for each of 1, 3 or 4 channels"),
            ("std", len(self.std) == len(self.mean), f"as many numbers as `mean` ({len(self.mean)})"),
            ("mean", all(abs(value) <= _NUMBERS[1] for value in self.mean), "at most a million"),
            ("std", all(_NUMBERS[0] <= value <= _NUMBERS[1] for value in self.std), in_range),
            ("rescale", _NUMBERS[0] <= self.rescale <= _NUMBERS[1], in_range),
            error=ModelError,
        )

    @property
    def channels(self) -> int:
        """The channels that the model reads: 1 for the luminance, 3 for RGB, 4 for RGB and alpha."""
        return len(self.mean)

    @property
    def varies(self) -> bool:
        """Whether each picture has its own size."""
        return isinstance(self.resize_to, Fit)

    def __call__(
        self, picture: Image.Image, *, source_size: tuple[int, int] | None = None
    ) -> "tuple[Tensor, Geometry]":
        """Turn a picture into the model's input, as `array` does, as a tensor."""
        from torch import from_numpy  # here, so that a runtime without torch can use `array`

        values, geometry = self.array(picture, source_size=source_size)
        return from_numpy(values), geometry

    def array(
        self, picture: Image.Image, *, source_size: tuple[int, int] | None = None
    ) -> tuple[Float32[np.ndarray, "c h w"], Geometry]:
        """Turn a picture into the model's input.

        Args:
            picture: Upright RGB, as `load_image` returns it; or already of the mode that the model reads, L or RGBA.
            source_size: Height and width of the picture that `picture` is a scaled copy of; None for its own.

        Returns:
            The input, and its box in a picture of `source_size`.

        Raises:
            InputError: The picture is of another mode, or so elongated that it would be resized to more than 89 million
                pixels.
        """
        if picture.mode not in ("RGB", MODES[self.channels]):
            raise InputError(f"`picture` must be in mode RGB, but is {picture.mode} instead. Use `load_image`.")
        geometry = self.geometry(source_size or (picture.height, picture.width))
        pixels = channels_first(self._to_geometry(in_channels(picture, self.channels), geometry))  # [c, h, w]
        # in float64 the product rounds to the same float32 as torchvision's division by 255
        values = np.multiply(pixels, self.rescale, dtype=np.float64).astype(np.float32, order="C")
        mean, std = (np.array(numbers, np.float32).reshape(-1, 1, 1) for numbers in (self.mean, self.std))
        values -= mean
        values /= std
        return values, geometry

    def resized(self, picture: Image.Image) -> Image.Image:
        """Resize and crop a picture to the size of the model's input, in 8 bits.

        Returns:
            A picture of `[h, w]`; `picture` itself where its size is right already.

        Raises:
            InputError: The picture is so elongated that it would be resized to more than 89 million pixels.
        """
        return self._to_geometry(picture, self.geometry((picture.height, picture.width)))

    def _to_geometry(self, picture: Image.Image, geometry: Geometry) -> Image.Image:
        height, width = geometry.resized_size
        if picture.size != (width, height):
            picture = picture.resize((width, height), _RESAMPLING[self.interpolation])
        top, left, height, width = geometry.crop
        if (top, left, width, height) == (0, 0, *picture.size):
            return picture
        return picture.crop((left, top, left + width, top + height))  # PIL pads with black

    def geometry(self, source_size: tuple[int, int]) -> Geometry:
        """Compute the box of the model's input in a picture of this height and width, without resizing it.

        Raises:
            InputError: The picture is so elongated that it would be resized to more than 89 million pixels.
        """
        resized_size = self._resized_size(source_size)
        if math.prod(resized_size) > MAX_PIXELS:
            raise InputError(
                f"`picture` must not be so long and thin, but is {source_size[1]} x {source_size[0]} instead and would "
                f"be resized to {resized_size[1]} x {resized_size[0]}. Crop it."
            )
        size = resized_size if isinstance(self.resize_to, Fit) else self.size
        (top, height), (left, width) = map(self._center, resized_size, size)
        return Geometry(source_size=source_size, resized_size=resized_size, crop=(top, left, height, width))

    def _center(self, resized: int, wanted: int) -> tuple[int, int]:
        """Return start and length of the centered box along one side."""
        if resized < wanted:
            return -((wanted - resized) // 2), wanted
        left = resized - wanted
        # Python rounds halves to the even number
        return left // 2 if self.center == "floor" else round(left / 2), wanted

    def _resized_size(self, source_size: tuple[int, int]) -> tuple[int, int]:
        """Return height and width after the resize. The longer side is rounded down, as in torchvision."""
        if isinstance(self.resize_to, Fit):
            return self.resize_to.size(source_size)
        if not isinstance(self.resize_to, int):
            return self.resize_to
        height, width = source_size
        if width <= height:
            return int(self.resize_to * height / width), self.resize_to
        return self.resize_to, int(self.resize_to * width / height)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON has them: lists for tuples."""
        return as_json(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "ImagePreprocessing":
        """Invert `to_dict`.

        Raises:
            ModelError: A field is missing, unknown or wrong.
        """
        values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in data.items()}
        if isinstance(fit := values.get("resize_to"), Mapping):
            require_fields(fit, Fit, "preprocessing.resize_to", complete=True)
            values["resize_to"] = Fit(**fit)
        require_fields(values, cls, "preprocessing", complete=True)
        values |= {name: tuple(map(float, values[name])) for name in ("mean", "std")}
        return cls(**values | {"rescale": float(values.get("rescale", cls.rescale))})
