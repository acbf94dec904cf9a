"""Loading a picture from a path, bytes, a PIL image, an array or a tensor, as an upright RGB picture."""

import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeAlias

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from ..errors import InputError
from .damage import Damage
from .fetch import stream_of
from .files import PICTURES, head_text, looks_like, require_file, unreadable
from .pixels import from_array, from_tensor, to_rgb
from .streams import NamedStream

ImageSource: TypeAlias = str | Path | bytes | NamedStream | Image.Image | np.ndarray | Tensor
"""What `load_image` accepts."""

# An explicit list: PIL's other decoders are little tested, and one (EPS) starts another program.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
PICTURE = "a picture (BMP, GIF, JPEG, PNG, TIFF or WebP)"

# Files of other types that are passed by mistake: offset, bytes, name.
_LOOKALIKES = (
    (4, b"ftyphei", "a HEIC photograph"),
    (4, b"ftypmif1", "a HEIC photograph"),
    (4, b"ftypavif", "an AVIF picture"),
    (4, b"ftyp", "a film"),
    (0, b"%PDF", "a PDF document"),
    (0, b"version https://git-lfs", "a pointer of Git LFS (run `git lfs pull`)"),
)


class LoadedImage(NamedTuple):
    """A picture, and what is missing of it."""

    picture: Image.Image
    """Upright, in mode RGB."""

    damaged: Damage | None
    """What could not be read; None for a whole picture."""


def load_image(source: ImageSource) -> Image.Image:
    """Load one whole picture as upright RGB; `read_image` also takes damaged ones, and describes the conversion.

    Returns:
        A new picture in mode RGB; the source is not changed.

    Raises:
        InputError: The source cannot be read, or is damaged. The message names the source, the reason and the remedy.
    """
    return read_image(source, strict=True).picture


def read_image(source: ImageSource, *, strict: bool = False) -> LoadedImage:
    """Read one picture as upright RGB, 8 bits per channel, as far as it can be read.

    The orientation in EXIF is applied. Transparent pictures (RGBA, LA, palette) are composed over white: most of them
    were drawn for a white page, and the color of a transparent pixel is arbitrary. Gray and CMYK become RGB; 16-bit,
    32-bit and float pictures are scaled to 8 bits, not clipped. Of several frames (GIF, WebP, TIFF) the first is taken.

    Args:
        source: A path or a web address; the bytes of a file; a PIL image; an array `[h, w]` or `[h, w, 1 | 3 | 4]`; or
            a tensor `[h, w]` or `[1 | 3, h, w]`. Arrays and tensors hold uint8, or floats from 0 to 1.
        strict: Whether to refuse a damaged picture.

    Returns:
        A new picture in mode RGB, and what is missing of it; the source is not changed.

    Raises:
        InputError: The source cannot be read. The message names the source, the reason and the remedy.
    """
    if isinstance(source, Image.Image):
        return LoadedImage(_upright(source, "the PIL image"), None)
    if isinstance(source, np.ndarray):
        return LoadedImage(from_array(source), None)
    if isinstance(source, Tensor):
        return LoadedImage(from_tensor(source), None)
    if isinstance(source, bytes):
        return LoadedImage(_decode(io.BytesIO(source), source[:512], "the bytes"), None)
    if (elsewhere := stream_of(source)) is not None:
        with elsewhere.open(PICTURES) as file:
            head = file.read(512)
            file.seek(0)
            return LoadedImage(_decode(file, head, f"`{elsewhere.name}`"), None)
    if not isinstance(source, str | Path):
        raise InputError(
            "`source` must be a path, bytes, a PIL image, an array or a tensor, "
            f"but is of type {type(source).__name__} instead."
        )
    path, name = require_file(source, PICTURE, finder="find_images"), f"`{source}`"
    try:
        with path.open("rb") as stream:
            return LoadedImage(_decode(stream, stream.peek(512)[:512], name), None)
    except OSError as error:  # of the file system: `_decode` turns those of the decoder into InputError
        raise unreadable(name, error) from error


def find_images(paths: Sequence[str | Path]) -> list[Path]:
    """List the pictures that files, folders and patterns stand for, as `Kind.find` does.

    Raises:
        InputError: A path does not exist, or a folder or pattern has no picture.
    """
    return PICTURES.find(paths)


def _decode(stream: BinaryIO, head: bytes, name: str) -> Image.Image:
    """Decode the first frame of an open file; `head` is its first bytes, for the error message."""
    if not head:
        raise InputError(f"{name} must be {PICTURE}, but is empty instead. Fetch or export it again.")
    try:
        with warnings.catch_warnings():
            # PIL only warns where a picture is above its limit; `_upright` raises an error instead
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            picture = Image.open(stream, formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise _too_large(name) from error
    except UnidentifiedImageError as error:
        raise InputError(
            f"{name} must be {PICTURE}, but is {_describe(head)} instead. Is it the right file?"
        ) from error
    except Exception as error:
        raise _damaged(name, error) from error
    return _upright(picture, name)


def _upright(picture: Image.Image, name: str) -> Image.Image:
    """Load the pixels, apply the orientation in EXIF, and convert to RGB."""
    width, height = picture.size
    if width < 1 or height < 1:
        raise InputError(f"{name} must have at least one pixel, but is {width} x {height} instead.")
    # PIL refuses a picture only above twice its limit, and warns above the limit, which does not save the memory
    if Image.MAX_IMAGE_PIXELS is not None and width * height > Image.MAX_IMAGE_PIXELS:
        raise _too_large(name)
    try:
        return to_rgb(ImageOps.exif_transpose(picture), name)
    except InputError:
        raise
    # for a damaged file PIL's decoders raise nearly anything: OSError, SyntaxError, struct.error, IndexError ...
    except Exception as error:
        raise _damaged(name, error) from error


def _too_large(name: str) -> InputError:
    limit = (Image.MAX_IMAGE_PIXELS or 0) // 1_000_000
    return InputError(
        f"{name} must have at most {limit} million pixels (a small file can unpack to more than the memory holds), "
        "but has more instead. Shrink it first."
    )


def _damaged(name: str, error: Exception) -> InputError:
    return InputError(
        f"{name} must be a whole picture, but is damaged or cut off instead ({str(error) or type(error).__name__}). "
        "Fetch or export it again."
    )


def _describe(head: bytes) -> str:
    """Describe a file that is no picture."""
    text = head_text(head)
    return looks_like(head, _LOOKALIKES) or (
        "something else" if text is None else "an SVG drawing" if "<svg" in text else "text"
    )
