"""The conversion of pixels to 8-bit RGB: from PIL's modes, arrays and tensors.

Dimensions: h, w = height and width in pixels, c = channels.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, cast

import numpy as np
from jaxtyping import Shaped
from PIL import Image

from ..errors import InputError
from .tensors import TensorLike

# a picture with more than 8 bits is scaled by the smallest of these ranges that holds it: 12-bit scans stay dark
_RANGES = (255.0, 65535.0)
DARK = 4096
"""16-bit values that all are below this use no more than a sixteenth of their range."""

_STRIP = 1_000_000  # pixels that are converted at once


class Converted(NamedTuple):
    """A picture in RGB, and a remark on its conversion."""

    picture: Image.Image
    """In mode RGB."""

    remark: str | None = None
    """What must be said about it, to follow the picture's name; None for most pictures."""


def to_rgb(picture: Image.Image, name: str, *, white: float | None = None) -> Converted:
    """Convert a loaded picture of any mode to RGB, in strips; transparent ones are composed over white.

    Args:
        picture: Any mode: 1, L, LA, P, RGB, RGBA, CMYK, YCbCr, HSV, I;16, I, F.
        name: The name of the picture in messages.
        white: The value of white that the file states, for the modes I;16, I and F; used where it holds all values.

    Raises:
        InputError: A float picture holds NaN or infinity.
    """
    if picture.mode == "RGB" and "transparency" not in picture.info:
        return Converted(picture)
    if picture.mode.startswith("I;16") or picture.mode in ("I", "F"):
        low, scale, remark = _scale_of(picture, name, white)
        return Converted(_by_strips(picture, lambda part: _from_gray(_values(part, low) * scale)), remark)
    if picture.has_transparency_data:
        return Converted(_by_strips(picture, _over_white))
    return Converted(picture.convert("RGB"))


def _by_strips(picture: Image.Image, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """Convert a picture to RGB strip by strip, so that only the result is held beside it."""
    result = Image.new("RGB", picture.size)
    for box in _boxes(picture):
        result.paste(convert(picture.crop(box)), box[:2])
    return result


def _boxes(picture: Image.Image) -> Iterator[tuple[int, int, int, int]]:
    step = max(1, _STRIP // picture.width)
    for top in range(0, picture.height, step):
        yield (0, top, picture.width, min(top + step, picture.height))


def _over_white(part: Image.Image) -> Image.Image:
    layer = part.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, (255, 255, 255, 255)), layer).convert("RGB")


def invert(picture: Image.Image, white: float | None) -> None:
    """Invert a picture in mode I;16 in place.

    Args:
        picture: The picture, in which 0 is white.
        white: The largest value that the file states; 65535 where it states none, or holds larger ones.
    """
    top = 65535 if white is None else int(white)
    if any(int(np.asarray(picture.crop(box)).max()) > top for box in _boxes(picture)):
        top = 65535
    for box in _boxes(picture):
        values = np.asarray(picture.crop(box))
        picture.paste(Image.fromarray((top - values.astype(np.int64)).astype(values.dtype)), box[:2])


def _values(part: Image.Image, low: float) -> np.ndarray:
    """The pixels as float64, from 0 on."""
    values = np.asarray(part).astype(np.float64)
    return values - low if low else values


def _scale_of(picture: Image.Image, name: str, white: float | None) -> tuple[float, float, str | None]:
    """Return the value of black and the factor to bytes for a picture in mode I;16, I or F; a remark where unsure."""
    ranges = [_range(np.asarray(picture.crop(box)), name) for box in _boxes(picture)]
    lowest, highest = min(low for low, _ in ranges), max(high for _, high in ranges)
    tops: tuple[float, ...] = _RANGES[1:] if picture.mode.startswith("I;16") else _RANGES
    if picture.mode == "F":
        tops = (1.0, *_RANGES)
    if white is not None:
        tops = (white, *(top for top in tops if top > white))
    fitting = [top for top in tops if lowest >= 0 and highest <= top]
    if not fitting:  # no common range holds them: scale by their own range
        return lowest, 255 / max(highest - lowest, 1e-12), None
    dark = white is None and fitting[0] == 65535 and 0 < highest < DARK
    return 0.0, 255 / fitting[0], dark_remark(highest) if dark else None


def dark_remark(highest: float) -> str:
    """Return the remark about a picture whose 16-bit values end at `highest`."""
    return (
        f"is nearly black: its 16-bit values end at {highest:.0f}, and it does not state how many bits it uses "
        "(PNG: sBIT; TIFF: SMaxSampleValue)"
    )


def high_bytes(picture: Image.Image) -> int:
    """Return the highest value of the first three channels of a picture of bytes."""
    return max(int(high) for _, high in cast("tuple[tuple[float, float], ...]", picture.getextrema())[:3])


def with_low_bytes(high: Image.Image, low: Image.Image, white: float) -> Image.Image:
    """Put the two bytes of 16-bit color together, and scale the values so that `white` becomes 255.

    Args:
        high: The upper bytes, in mode RGB; it becomes the result.
        low: The lower bytes.
        white: The value of white; larger ones are clipped to it.
    """
    for box in _boxes(high):
        values = np.asarray(high.crop(box)).astype(np.float64) * 256 + np.asarray(low.crop(box))
        high.paste(Image.fromarray(np.rint(np.minimum(values * (255 / white), 255)).astype(np.uint8)), box[:2])
    return high


def from_array(array: Shaped[np.ndarray, "..."]) -> Image.Image:
    """Convert an array `[h, w]` or `[h, w, 1 | 3 | 4]` of uint8, or of floats in [0, 1], to a picture.

    Raises:
        InputError: The array has another shape, dtype or range.
    """
    _check_shape(array.shape, "array", channels=(1, 3, 4), axis=2)
    return _from_channels_last(array, "array")


def from_tensor(tensor: TensorLike) -> Image.Image:
    """Convert a tensor `[h, w]` or `[1 | 3, h, w]` of uint8, or of floats in [0, 1], on any device, to a picture.

    Raises:
        InputError: The tensor has another shape, dtype or range.
    """
    _check_shape(tensor.shape, "tensor", channels=(1, 3), axis=0)
    values = tensor.detach().cpu()
    if values.is_floating_point():
        values = values.float()  # numpy has no bfloat16
    array = values.numpy()
    if array.ndim == 3:
        array = array.transpose(1, 2, 0)  # [h, w, c]
    return _from_channels_last(array, "tensor")


def _check_shape(shape: Sequence[int], name: str, *, channels: Sequence[int], axis: int) -> None:
    """Raise InputError unless a picture has the shape `[h, w]`, or three axes with its channels at `axis`."""
    if len(shape) == 2 or (len(shape) == 3 and shape[axis] in channels):
        return
    mend = ""
    if len(shape) == 3 and shape[2 - axis] in (1, 3):
        move = "last: `array.transpose(1, 2, 0)`" if axis else "first: `tensor.permute(2, 0, 1)`"
        mend = f" Move the channels {move}."
    elif len(shape) == 4:
        mend = " Pass a batch as a list of pictures: `list(batch)`."
    counts = " | ".join(map(str, channels))
    wanted = f"[h, w, {counts}]" if axis else f"[{counts}, h, w]"
    raise InputError(f"`{name}` must have shape [h, w] or {wanted}, but has {list(shape)} instead.{mend}")


def _range(values: np.ndarray, name: str) -> tuple[float, float]:
    """Return the lowest and the highest value; raise InputError where a value is not finite."""
    lowest, highest = float(values.min()), float(values.max())
    if not (np.isfinite(lowest) and np.isfinite(highest)):
        raise InputError(f"{name} must hold finite numbers, but holds NaN or infinity instead.")
    return lowest, highest


def _from_channels_last(array: np.ndarray, name: str) -> Image.Image:
    """Convert an array `[h, w]` or `[h, w, c]` of a checked shape to RGB; checks dtype and range."""
    if array.size == 0:
        raise InputError(f"`{name}` must have at least one pixel, but has shape {list(array.shape)} instead.")
    if np.issubdtype(array.dtype, np.floating):
        array = _from_unit_range(array, name)
    elif array.dtype != np.uint8:
        raise InputError(
            f"`{name}` must hold uint8, or floats from 0 to 1, but holds {array.dtype} instead. "
            "Divide it by the value of white."
        )
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    return to_rgb(Image.fromarray(np.ascontiguousarray(array)), f"`{name}`").picture


def _from_unit_range(array: np.ndarray, name: str) -> np.ndarray:
    """Convert floats from 0 to 1 to uint8."""
    lowest, highest = _range(array, f"`{name}`")
    if lowest < 0 or highest > 1:
        mend = "Undo the normalization first" if lowest < 0 else "Divide by 255, or convert it to uint8"
        raise InputError(
            f"`{name}` must hold uint8, or floats from 0 to 1, but its values run from {lowest:.4g} to {highest:.4g} "
            f"instead. {mend}, or clip the values outside."
        )
    return np.rint(array.astype(np.float32) * 255).astype(np.uint8)


def _from_gray(values: np.ndarray) -> Image.Image:
    """Convert floats `[h, w]` from 0 to 255 to RGB."""
    return Image.fromarray(np.rint(values).astype(np.uint8)).convert("RGB")
