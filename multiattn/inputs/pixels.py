"""Pixel values to 8-bit RGB: PIL's modes, arrays and tensors.

Dimensions: h, w = height and width in pixels, c = channels.
"""

from typing import Any

import numpy as np
from jaxtyping import Shaped
from PIL import Image
from torch import Tensor

from ..errors import InputError

# a wide picture of numbers is scaled by the smallest of these ranges that holds it, so that 12-bit scans stay dark
_RANGES = (255.0, 65535.0)


def to_rgb(picture: Image.Image, name: str) -> Image.Image:
    """Convert a loaded picture of any mode to RGB; transparent ones are laid over white.

    Args:
        picture: Any mode: 1, L, LA, P, RGB, RGBA, CMYK, YCbCr, HSV, I;16, I, F.
        name: What to call the picture in an error.

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
        page = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(page, layer).convert("RGB")
    return picture.convert("RGB")


def from_array(array: Shaped[np.ndarray, "..."]) -> Image.Image:
    """Make a picture of an array `[h, w]` or `[h, w, 1 | 3 | 4]`, uint8 or float in [0, 1].

    Raises:
        InputError: Another shape, dtype or range.
    """
    shape = tuple(array.shape)
    mend = ""
    if array.ndim == 3 and shape[0] in (1, 3) and shape[2] not in (1, 3, 4):
        mend = " Move the channels last: `array.transpose(1, 2, 0)`."
    elif array.ndim == 4:
        mend = " Pass a batch as a list of pictures: `list(batch)`."
    if not (array.ndim == 2 or (array.ndim == 3 and shape[2] in (1, 3, 4))):
        raise InputError(f"`array` must have shape [h, w] or [h, w, 1 | 3 | 4], but has {_show(shape)} instead.{mend}")
    return _from_channels_last(array, "array")


def from_tensor(tensor: Shaped[Tensor, "..."]) -> Image.Image:
    """Make a picture of a tensor `[h, w]` or `[1 | 3, h, w]`, uint8 or float in [0, 1], on any device.

    Raises:
        InputError: Another shape, dtype or range.
    """
    shape = tuple(tensor.shape)
    mend = ""
    if tensor.ndim == 3 and shape[2] in (1, 3) and shape[0] not in (1, 3):
        mend = " Move the channels first: `tensor.permute(2, 0, 1)`."
    elif tensor.ndim == 4:
        mend = " Pass a batch as a list of pictures: `list(batch)`."
    if not (tensor.ndim == 2 or (tensor.ndim == 3 and shape[0] in (1, 3))):
        raise InputError(f"`tensor` must have shape [h, w] or [1 | 3, h, w], but has {_show(shape)} instead.{mend}")
    values = tensor.detach().cpu()
    if values.is_floating_point():
        values = values.float()  # numpy has no bfloat16
    array = values.numpy()
    if array.ndim == 3:
        array = array.transpose(1, 2, 0)  # [h, w, c]
    return _from_channels_last(array, "tensor")


def _from_channels_last(array: np.ndarray, name: str) -> Image.Image:
    """`[h, w]` or `[h, w, c]` of a checked shape to RGB; checks dtype and range."""
    if array.size == 0:
        raise InputError(f"`{name}` must have at least one pixel, but has shape {_show(array.shape)} instead.")
    if np.issubdtype(array.dtype, np.floating):
        array = _from_unit_range(array, name)
    elif array.dtype != np.uint8:
        raise InputError(
            f"`{name}` must hold uint8, or floats from 0 to 1, but holds {array.dtype} instead. "
            "Divide it by the value that stands for white."
        )
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    return to_rgb(Image.fromarray(np.ascontiguousarray(array)), f"`{name}`")


def _from_unit_range(array: np.ndarray, name: str) -> np.ndarray:
    """Floats from 0 to 1 as uint8."""
    lowest, highest = float(array.min()), float(array.max())
    if not (np.isfinite(lowest) and np.isfinite(highest)):
        raise InputError(f"`{name}` must hold finite numbers, but holds NaN or infinity instead.")
    if lowest < 0 or highest > 1:
        mend = "Undo the normalization first" if lowest < 0 else "Divide by 255, or convert it to uint8"
        raise InputError(
            f"`{name}` must hold uint8, or floats from 0 to 1, but its values run from {lowest:.4g} to {highest:.4g} "
            f"instead. {mend}, or clip what lies outside."
        )
    return np.rint(array.astype(np.float32) * 255).astype(np.uint8)


def _to_range_of_bytes(values: np.ndarray, mode: str, name: str) -> np.ndarray:
    """Scale a wide picture (32-bit integers or floats) to 0 .. 255 by the range its values suggest."""
    lowest, highest = float(values.min()), float(values.max())
    if not (np.isfinite(lowest) and np.isfinite(highest)):
        raise InputError(f"{name} must hold finite numbers, but holds NaN or infinity instead.")
    ranges = (1.0, *_RANGES) if mode == "F" else _RANGES
    for top in ranges:
        if lowest >= 0 and highest <= top:
            return values * (255 / top)
    # no customary range holds them, and there is at least one step between lowest and highest or a lone value
    return (values - lowest) * (255 / max(highest - lowest, 1e-12))


def _from_gray(values: np.ndarray) -> Image.Image:
    """`[h, w]` floats from 0 to 255 as RGB."""
    return Image.fromarray(np.rint(values).astype(np.uint8)).convert("RGB")


def _show(shape: tuple[Any, ...]) -> str:
    return f"[{', '.join(map(str, shape))}]"
