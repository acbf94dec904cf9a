"""Where a model's input lies in its source picture, and how large pictures become that are kept whole.

Dimensions: h, w = height and width of the model's input in pixels.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import InputError, ModelError
from .json_fields import as_json, ints_problem, names_problem


@dataclass(frozen=True)
class Geometry:
    """Where a model's input lies in its source picture: the source was resized, then a box was cut out."""

    source_size: tuple[int, int]
    """Height and width of the upright source picture, in pixels."""
    resized_size: tuple[int, int]
    """Height and width after the resize, in pixels."""
    crop: tuple[int, int, int, int]
    """Top, left, height and width of the box, in pixels of the resized picture; it reaches outside where the input
    was padded, so top and left may be negative."""

    def __post_init__(self) -> None:
        """Raise InputError where a size is not positive."""
        sizes = {"source_size": self.source_size, "resized_size": self.resized_size, "crop": self.crop[2:]}
        for name, size in sizes.items():
            if min(size) < 1:
                raise InputError(f"`{name}` must have a height and width of at least 1, but has {size} instead.")

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
        """The part of the source picture that the model saw.

        Returns:
            Left, top, right and bottom in source pixels, not clipped: where the input was padded, the box reaches
            outside of the picture.
        """
        _, _, height, width = self.crop
        return *self.to_source(0.0, 0.0), *self.to_source(float(width), float(height))

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON has them: lists for tuples."""
        return as_json(asdict(self))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Geometry":
        """The inverse of `to_dict`.

        Raises:
            InputError: A field is missing, unknown or wrong.
        """
        problem = names_problem(cls, data, required=("source_size", "resized_size", "crop"))
        problem = problem or ints_problem(data, {"source_size": 2, "resized_size": 2, "crop": 4})
        if problem:
            raise InputError(f"`geometry` {problem}")
        return cls(**{name: tuple(value) for name, value in data.items()})


@dataclass(frozen=True)
class Fit:
    """A resize that keeps a picture whole and nearly at its proportions, whatever they are.

    Source: transformers, ViltImageProcessor, whose rounding is kept.
    """

    shorter: int
    """Length of the shorter side, in pixels, where the longer one allows it."""
    longer: int
    """The most the longer side may have, in pixels."""
    multiple: int
    """Both sides are rounded down to multiples of so many pixels, and are at least one."""

    def __post_init__(self) -> None:
        """Raise ModelError where no size fits."""
        if not (1 <= self.multiple <= self.shorter <= self.longer):
            raise ModelError(
                "`resize_to` must have rising `multiple`, `shorter` and `longer` of at least 1 pixel, but has "
                f"{self.multiple}, {self.shorter} and {self.longer} instead."
            )

    def size(self, source_size: tuple[int, int]) -> tuple[int, int]:
        """Height and width after the resize of a picture with these, in pixels."""
        short = min(source_size)
        sides = [float(self.shorter) if side == short else side * (self.shorter / short) for side in source_size]
        if max(sides) > self.longer:
            scale = self.longer / max(sides)
            sides = [side * scale for side in sides]
        height, width = (max(int(side + 0.5) // self.multiple, 1) * self.multiple for side in sides)
        return height, width
