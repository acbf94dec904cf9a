"""The channels that a model reads: the luminance, red, green and blue, or these with alpha.

Pictures are loaded as RGB (`load_image`). Only a model of four channels needs what that leaves out: the color below
transparent pixels, and alpha.

Dimensions: h, w = height and width in pixels, c = channels.
"""

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from ..errors import ModelError
from .files import MAX_PIXELS, PICTURES, local_path
from .image_files import HEAD, Stream, open_picture
from .streams import NamedStream

MODES: Mapping[int, str] = {1: "L", 3: "RGB", 4: "RGBA"}
"""PIL's mode for each number of channels that can be read."""


def check_channels(channels: object, *, where: str) -> None:
    """Check that the channels of a model have a known meaning.

    Args:
        channels: The number that it reads.
        where: The model, for messages.

    Raises:
        ModelError: They have not.
    """
    if channels not in MODES:
        raise ModelError(
            f"{where}: the model's channels must be 1 (gray), 3 (red, green, blue) or 4 (with alpha), but are "
            f"{channels} instead, which no picture has: give another model"
        )


def in_channels(picture: Image.Image, channels: int) -> Image.Image:
    """Convert a picture to the mode that a model of so many channels reads; without transparency, alpha is 255.

    The luminance is PIL's (ITU-R 601-2): (299 red + 587 green + 114 blue) / 1000, in 8 bits.
    """
    mode = MODES[channels]
    return picture if picture.mode == mode else picture.convert(mode)


def channels_first(picture: Image.Image) -> UInt8[np.ndarray, "c h w"]:
    """Return the pixels of a picture in mode L, RGB or RGBA."""
    pixels = np.array(picture)  # [h, w] or [h, w, c]
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def with_alpha(source: object, opaque: Image.Image, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Return a loaded picture in mode RGBA, with its own alpha and the colors below it where it has some.

    Args:
        source: What the picture was loaded from; see `load_image`. A stream is opened again.
        opaque: The picture as `read_image` returned it: RGB, over white. Its pixels are returned with alpha 255 where
            the source has no transparency, or is damaged.
        max_pixels: As for `read_image`.
    """
    try:
        found = _transparent(source, max_pixels)
    except Exception:  # `read_image` has said what is wrong with the source
        found = None
    return found if found is not None and found.size == opaque.size else opaque.convert("RGBA")


def _transparent(source: object, max_pixels: int) -> Image.Image | None:
    """Return the upright RGBA picture of a transparent source, else None."""
    if isinstance(source, np.ndarray):
        if source.ndim != 3 or source.shape[2] != 4:
            return None
        values = source if source.dtype == np.uint8 else np.rint(source.astype(np.float32) * 255).astype(np.uint8)
        return Image.fromarray(np.ascontiguousarray(values))
    if isinstance(source, Image.Image):
        return _of_picture(source)
    with _opened(source) as stream:
        head = stream.read(HEAD)
        stream.seek(0)
        return _of_picture(open_picture(stream, head, str(source), max_pixels=max_pixels))


def _opened(source: object) -> Stream:
    """Open a file, or its bytes.

    Raises:
        TypeError: It is a tensor, which has no alpha, or something else.
    """
    if isinstance(source, bytes):
        return io.BytesIO(source)
    if isinstance(source, NamedStream):
        return source.open(PICTURES)
    if not isinstance(source, str | Path):
        raise TypeError(f"of a {type(source).__name__}, there is no file")
    return local_path(source).open("rb")


def _of_picture(picture: Image.Image) -> Image.Image | None:
    if not picture.has_transparency_data:
        return None
    return ImageOps.exif_transpose(picture).convert("RGBA")
