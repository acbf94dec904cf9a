"""Opening picture files: which decoder takes a file, without the noise that the codecs make on standard error."""

import ctypes
import io
import logging
import re
import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any, BinaryIO, TypeAlias

from PIL import (
    AvifImagePlugin,  # noqa: F401
    BmpImagePlugin,  # noqa: F401
    GifImagePlugin,  # noqa: F401
    IcoImagePlugin,  # noqa: F401
    Image,
    Jpeg2KImagePlugin,  # noqa: F401
    JpegImagePlugin,  # noqa: F401
    PngImagePlugin,  # noqa: F401
    PpmImagePlugin,  # noqa: F401
    TgaImagePlugin,  # noqa: F401
    TiffImagePlugin,  # noqa: F401
    WebPImagePlugin,  # noqa: F401
)

from ..errors import InputError, TooLargeError, WrongKindError, reading
from .files import head_text, looks_like

Stream: TypeAlias = io.BufferedReader | io.BytesIO | BinaryIO
"""An open picture file."""

PICTURE = "a picture (AVIF, BMP, GIF, HEIC, ICO, JPEG, JPEG 2000, PNG, PPM, TGA, TIFF or WebP)"
WHOLE = "a whole picture"
"""What a file must be, for `reading`."""

HEAD = 512
"""Bytes at the beginning of a file that tell its format."""

# An explicit list: PIL's other decoders are little tested, and one (EPS) starts another program.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP", "AVIF", "JPEG2000", "PPM", "ICO")
_PNM = re.compile(rb"P[1-6f]\s")  # PIL takes any text that begins with P1 to P6, Py or P0
_ICONS = 64  # pictures in an ICO file; Windows itself writes 10 or so
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1")

# Files of other types that are passed by mistake: offset, bytes, name.
_LOOKALIKES = (
    (4, b"ftyp", "a film"),
    (0, b"%PDF", "a PDF document"),
    (0, b"version https://git-lfs", "a pointer of Git LFS (run `git lfs pull`)"),
)


class DamagedImage(InputError):
    """A picture file of which not everything can be decoded."""


def _silence_codecs() -> None:
    """Keep libtiff, and the warnings and log lines of PIL, off standard error: what is wrong is said in one line."""
    try:
        library = ctypes.CDLL(
            import_module("PIL._imaging").__file__
        )  # finds the functions of the libtiff that PIL is linked with
        for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
            setter = getattr(library, name)
            setter.argtypes, setter.restype = [ctypes.c_void_p], ctypes.c_void_p
            setter(None)
    except (AttributeError, OSError):  # a PIL without libtiff, or with one that shows no functions
        pass
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    for category in (UserWarning, RuntimeWarning):
        warnings.filterwarnings("ignore", category=category, module=r"PIL\.")


_silence_codecs()


def open_picture(stream: Stream, head: bytes, name: str, *, max_pixels: int) -> Any:
    """Open the first frame of a picture file; its pixels are not decoded, except those of an icon.

    PIL's own `open` is not used, because its limit of pixels is one for the whole process.

    Args:
        stream: The file.
        head: Its first `HEAD` bytes.
        name: The file's name in messages.
        max_pixels: The limit for the pictures of an icon.

    Returns:
        PIL's `ImageFile`, of any size.

    Raises:
        DamagedImage: Its header is damaged.
        InputError: The file is no picture, or an icon is too large.
    """
    if not head:
        raise WrongKindError(f"{name} must be {PICTURE}, but is empty instead. Fetch or export it again.")
    failed: Exception | None = None
    for factory in _factories(stream, head, name):
        try:
            if head.startswith(b"\0\0\1\0"):
                _check_icon(stream, name, max_pixels)
            stream.seek(0)
            return _without_padding(factory(stream, ""), head)
        except InputError:
            raise
        except Image.DecompressionBombError:
            raise too_large(name, max_pixels) from None
        except Exception as error:
            failed = error
    if failed is None:
        raise WrongKindError(f"{name} must be {PICTURE}, but is {_describe(head)} instead. Is it the right file?")
    with reading(name, WHOLE, error=DamagedImage):
        raise failed


def _without_padding(picture: Any, head: bytes) -> Any:
    """Leave out the fourth byte of the pixels of a TGA file whose header says that it is no alpha."""
    if picture.format == "TGA" and picture.mode == "RGBA" and not head[17] & 15 and head[16] == 32:
        picture._mode = "RGB"
        picture.tile = [tile._replace(args=("BGRX", *tile.args[1:])) for tile in picture.tile]
    return picture


def too_large(name: str, max_pixels: int) -> InputError:
    """Return the error for a picture with too many pixels."""
    limit = f"{max_pixels // 1_000_000} million" if max_pixels >= 1_000_000 else str(max_pixels)
    return TooLargeError(
        f"{name} must have at most {limit} pixels (a small file can unpack to more than the memory holds), "
        "but has more instead. Shrink it first, or raise `max_pixels` (--max-pixels)."
    )


def _factories(stream: Stream, head: bytes, name: str) -> list[Callable[..., Any]]:
    """Return what may open a file that begins so."""
    found: list[Callable[..., Any]] = []
    for kind in _FORMATS:
        factory, accept = Image.OPEN[kind]
        try:
            accepted = accept is not None and accept(head[:16]) is True
        except IndexError:  # a shorter file than any
            accepted = False
        if accepted and (kind != "PPM" or _PNM.match(head)):
            found.append(factory)
    if head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS:
        try:
            # not registered with PIL, whose formats are one list for the whole process
            found.append(import_module("pillow_heif.as_plugin").HeifImageFile)
        except ImportError:
            if not found:
                raise WrongKindError(
                    f"{name} is a HEIC photograph, which needs one package more: `pip install multiattn[heif]`. "
                    "Or export it as JPEG."
                ) from None
    if not found and _is_tga(stream, head, name):
        found.append(Image.OPEN["TGA"][0])
    return found


def _is_tga(stream: Stream, head: bytes, name: str) -> bool:
    """Return whether a file is in TGA, which has no signature at its beginning."""
    if len(head) < 18 or head[1] > 1 or head[2] not in (1, 2, 3, 9, 10, 11):
        return False
    stream.seek(0, 2)
    stream.seek(max(0, stream.tell() - 18))
    return stream.read().startswith(b"TRUEVISION-XFILE") or name.lower().endswith((".tga`", "the bytes"))


def _check_icon(stream: Stream, name: str, max_pixels: int) -> None:
    """Raise InputError where a picture in an ICO file, which opening decodes, claims too many pixels."""
    stream.seek(4)
    count = int.from_bytes(stream.read(2), "little")
    if count > _ICONS:
        raise InputError(f"{name} must be an icon of at most {_ICONS} pictures, but claims {count} instead.")
    offsets = [int.from_bytes(stream.read(16)[12:], "little") for _ in range(count)]
    for offset in offsets:
        stream.seek(offset)
        start = stream.read(24)
        if start.startswith(b"\x89PNG"):
            sides = int.from_bytes(start[16:20], "big"), int.from_bytes(start[20:24], "big")
        else:  # a bitmap with a mask below it
            height = abs(int.from_bytes(start[8:12], "little", signed=True))
            sides = int.from_bytes(start[4:8], "little"), height // 2
        if sides[0] * sides[1] > max_pixels:
            raise too_large(name, max_pixels)


def _describe(head: bytes) -> str:
    """Describe a file that is no picture."""
    text = head_text(head)
    return looks_like(head, _LOOKALIKES) or (
        "something else" if text is None else "an SVG drawing" if "<svg" in text else "text"
    )
