"""The conversion of pixels to 8-bit RGB: from PIL's modes, arrays and tensors.

Dimensions: h, w = height and width in pixels, c = channels.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Shaped
from PIL import Image
from torch import Tensor

from ..errors import InputError

# a picture with more than 8 bits is scaled by the smallest of these ranges that holds it: 12-bit scans stay dark
_RANGES = (255.0, 65535.0)


def to_rgb(picture: Image.Image, name: str) -> Image.Image:
    """Convert a loaded picture of any mode to RGB; transparent ones are composed over white.

    Args:
        picture: Any mode: 1, L, LA, P, RGB, RGBA, CMYK, YCbCr, HSV, I;16, I, F.
        name: The name of the picture in messages.

    Raises:
        InputError: A float picture holds NaN or infinity.
    """
    if picture.mode == "RGB" and "transparency" not in picture.info:
        return picture
    if picture.mode.startswith("I;16"):
        values = np.asarray(picture).astype(np.float64)  # [h, w]
        return _from_gray(values * (255 / 65535))
    if picture.mode in ("I", "F"):
        return _from_gray(_to_range_of_bytes(np.asarray(picture).astype(np.float64), picture.mode, name))
    if picture.has_transparency_data:
        layer = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, (255, 255, 255, 255)), layer).convert("RGB")
    return picture.convert("RGB")


def from_array(array: Shaped[np.ndarray, "..."]) -> Image.Image:
    """Convert an array `[h, w]` or `[h, w, 1 | 3 | 4]` of uint8, or of floats in [0, 1], to a picture.

    Raises:
        InputError: The array has another shape, dtype or range.
    """
    _check_shape(array.shape, "array", channels=(1, 3, 4), axis=2)
    return _from_channels_last(array, "array")


def from_tensor(tensor: Shaped[Tensor, "..."]) -> Image.Image:
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
    return to_rgb(Image.fromarray(np.ascontiguousarray(array)), f"`{name}`")


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


def _to_range_of_bytes(values: np.ndarray, mode: str, name: str) -> np.ndarray:
    """Scale 32-bit integers or floats to 0 .. 255, by the smallest common range that holds them."""
    lowest, highest = _range(values, name)
    ranges = (1.0, *_RANGES) if mode == "F" else _RANGES
    for top in ranges:
        if lowest >= 0 and highest <= top:
            return values * (255 / top)
    # no common range holds them: scale by their own range
    return (values - lowest) * (255 / max(highest - lowest, 1e-12))


def _from_gray(values: np.ndarray) -> Image.Image:
    """Convert floats `[h, w]` from 0 to 255 to RGB."""
    return Image.fromarray(np.rint(values).astype(np.uint8)).convert("RGB")
