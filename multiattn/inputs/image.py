"""A picture from wherever it comes: path, bytes, PIL image, array or tensor, always to an upright RGB picture."""

import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from ..errors import InputError
from .files import PICTURES, require_present
from .pixels import from_array, from_tensor, to_rgb

ImageSource: TypeAlias = str | Path | bytes | Image.Image | np.ndarray | Tensor
"""What `load_image` accepts."""

# Named rather than left to PIL: its other decoders are little exercised, and one (EPS) starts a foreign program.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
PICTURE = "a picture (BMP, GIF, JPEG, PNG, TIFF or WebP)"

# What people pass by mistake, told by its first bytes (offset, bytes, name).
_LOOKALIKES = (
    (4, b"ftyphei", "a HEIC photograph"),
    (4, b"ftypmif1", "a HEIC photograph"),
    (4, b"ftypavif", "an AVIF picture"),
    (4, b"ftyp", "a film"),
    (0, b"%PDF", "a PDF document"),
    (0, b"version https://git-lfs", "a pointer of Git LFS (run `git lfs pull`)"),
)


def load_image(source: ImageSource) -> Image.Image:
    """Load one picture as upright RGB, 8 bits a channel.

    The orientation that a camera notes in EXIF is applied. Transparent pictures (RGBA, LA, palette) are laid over
    white: most of them were drawn for a white page, and the color hidden under a transparent pixel is arbitrary.
    Gray and CMYK become RGB; 16 bit, 32 bit and float pictures are scaled to 8 bits, not clipped. Of several
    frames (GIF, WebP, TIFF) the first is taken.

    Args:
        source: A path; the bytes of a file; a PIL image; an array `[h, w]` or `[h, w, 1 | 3 | 4]`; or a tensor
            `[h, w]` or `[1 | 3, h, w]`. Arrays and tensors hold uint8, or floats from 0 to 1.

    Returns:
        A new picture in mode RGB; the source stays as it is.

    Raises:
        InputError: The source cannot be read. The message names it, the reason and the mend.
    """
    if isinstance(source, Image.Image):
        return _upright(source, "the PIL image")
    if isinstance(source, np.ndarray):
        return from_array(source)
    if isinstance(source, Tensor):
        return from_tensor(source)
    if isinstance(source, bytes):
        return _decode(io.BytesIO(source), source[:512], "the bytes")
    if not isinstance(source, str | Path):
        raise InputError(
            "`source` must be a path, bytes, a PIL image, an array or a tensor, "
            f"but is of type {type(source).__name__} instead."
        )
    name = f"`{source}`"
    if str(source).startswith(("http://", "https://")):
        raise InputError(f"{name} must be a file on this machine, but is a web address instead. Download it first.")
    path = Path(source)
    require_present(path)
    if path.is_dir():
        raise InputError(
            f"{name} must be {PICTURE}, but is a folder instead. `multiattn.inputs.find_images` lists its pictures."
        )
    try:
        with path.open("rb") as stream:
            return _decode(stream, stream.peek(512)[:512], name)
    except OSError as error:  # of the file system: `_decode` turns those of the decoder into InputError
        raise InputError(f"{name} must be a readable file, but opening it fails instead: {error.strerror}.") from error


def find_images(paths: Sequence[str | Path]) -> list[Path]:
    """List the pictures that files, folders and patterns stand for, as `Kind.find` does it.

    Raises:
        InputError: A path does not exist, or a folder or pattern has no picture.
    """
    return PICTURES.find(paths)


def _decode(stream: io.BufferedReader | io.BytesIO, head: bytes, name: str) -> Image.Image:
    """Decode the first frame of an open file; `head` are its first bytes, for the error message."""
    if not head:
        raise InputError(f"{name} must be {PICTURE}, but is empty instead. Fetch or export it again.")
    try:
        with warnings.catch_warnings():
            # from the limit on PIL warns and goes on; here that is an error, which `_upright` raises
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
    """Load the pixels, turn the picture as its EXIF says, and make it RGB."""
    width, height = picture.size
    if width < 1 or height < 1:
        raise InputError(f"{name} must have at least one pixel, but is {width} x {height} instead.")
    # PIL refuses only above twice its limit and warns from the limit on; a warning does not keep the memory free
    if Image.MAX_IMAGE_PIXELS is not None and width * height > Image.MAX_IMAGE_PIXELS:
        raise _too_large(name)
    try:
        return to_rgb(ImageOps.exif_transpose(picture), name)
    except InputError:
        raise
    # a damaged file makes PIL's decoders raise nearly anything: OSError, SyntaxError, struct.error, IndexError ...
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
    """Say in words what a file is that is no picture."""
    for offset, magic, what in _LOOKALIKES:
        if head[offset:].startswith(magic):
            return what
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:  # later than that, the head ends within a letter
            return "something else"
        text = head[: error.start].decode("utf-8")
    if not all(letter.isprintable() or letter.isspace() for letter in text):
        return "something else"
    return "an SVG drawing" if "<svg" in text else "text"
