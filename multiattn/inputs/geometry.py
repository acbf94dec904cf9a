"""The geometry between a model's input and its source picture, and the sizes of pictures that are not cropped.

Dimensions: h, w = height and width of the model's input in pixels.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..checks import require, require_fields
from ..errors import InputError, ModelError

_MOST = 2**31  # pixels: a saved map may state any number
MOST_LONGER = 2**14
"""Pixels of the longer side of a picture that is not cropped."""


def as_json(data: Any) -> dict[str, Any]:
    """Return the fields of a dataclass as JSON has them: lists for tuples."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(data).items()}


@dataclass(frozen=True)
class Geometry:
    """The box of a source picture that became a model's input: the source was resized, then a box was cropped."""

    source_size: tuple[int, int]
    """Height and width of the upright source picture, in pixels."""
    resized_size: tuple[int, int]
    """Height and width after the resize, in pixels."""
    crop: tuple[int, int, int, int]
    """Top, left, height and width of the box, in pixels of the resized picture. Where the input was padded, the box
    extends beyond the picture, so top and left may be negative."""

    def __post_init__(self) -> None:
        """Raise InputError where a size is not positive."""
        sizes = {"source_size": self.source_size, "resized_size": self.resized_size, "crop": self.crop[2:]}
        for name, size in sizes.items():
            require(min(size) >= 1, name, must="a height and width of at least 1", value=size, error=InputError)
        for name, numbers in {
            "source_size": self.source_size,
            "resized_size": self.resized_size,
            "crop": self.crop,
        }.items():
            holds = max(map(abs, numbers)) <= _MOST
            require(holds, name, must=f"pixels of at most {_MOST}", value=numbers, error=InputError)

    def to_source(self, x: float, y: float) -> tuple[float, float]:
        """Map a point of the model's input to the source picture.

        Both are measured in pixels from the top left corner of their picture, so that the center of the first pixel
        is at (0.5, 0.5) and the lower right corner of an input of `[h, w]` at (w, h).

        Returns:
            x and y in the source picture; outside of it for a point in the padding.
        """
        top, left = self.crop[:2]
        scale_y = self.source_size[0] / self.resized_size[0]
        scale_x = self.source_size[1] / self.resized_size[1]
        return (x + left) * scale_x, (y + top) * scale_y

    def source_box(self) -> tuple[float, float, float, float]:
        """Return the part of the source picture that the model's input shows.

        Returns:
            Left, top, right and bottom in source pixels, not clipped: where the input was padded, the box extends
            beyond the picture.
        """
        _, _, height, width = self.crop
        return *self.to_source(0.0, 0.0), *self.to_source(float(width), float(height))

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON has them: lists for tuples."""
        return as_json(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Geometry":
        """Invert `to_dict`.

        Raises:
            InputError: A field is missing, unknown or wrong.
        """
        require_fields(data, cls, "geometry", complete=True, error=InputError)
        return cls(**{name: tuple(value) for name, value in data.items()})


@dataclass(frozen=True)
class Fit:
    """A resize that crops nothing and nearly keeps the proportions of a picture.

    Source: transformers, ViltImageProcessor, whose rounding is kept.
    """

    shorter: int
    """Length of the shorter side, in pixels, unless the longer side would exceed `longer`."""
    longer: int
    """Largest length of the longer side, in pixels."""
    multiple: int
    """Both sides are rounded down to a multiple of this many pixels, and are at least one multiple."""

    def __post_init__(self) -> None:
        """Raise ModelError where no size fits."""
        if not (1 <= self.multiple <= self.shorter <= self.longer <= MOST_LONGER):
            raise ModelError(
                f"`resize_to` must have rising `multiple`, `shorter` and `longer` from 1 to {MOST_LONGER} pixels, "
                f"but has {self.multiple}, {self.shorter} and {self.longer} instead."
            )

    def size(self, source_size: tuple[int, int]) -> tuple[int, int]:
        """Return height and width after the resize of a picture of this height and width, in pixels."""
        short = min(source_size)
        sides = [float(self.shorter) if side == short else side * (self.shorter / short) for side in source_size]
        if max(sides) > self.longer:
            scale = self.longer / max(sides)
            sides = [side * scale for side in sides]
        height, width = (max(int(side + 0.5) // self.multiple, 1) * self.multiple for side in sides)
        return height, width
