"""Loading a picture from a path, bytes, a PIL image, an array or a tensor, as an upright RGB picture."""

import io
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeAlias

import numpy as np
from PIL import Image, ImageOps

from ..checks import require
from ..errors import InputError, reading
from .damage import Damage
from .fetch import stream_of
from .files import MAX_PIXELS, PICTURES, require_file
from .image_budget import check_size, reduce_to_budget
from .image_damage import Part, read_part
from .image_depth import stated_white
from .image_files import HEAD, PICTURE, WHOLE, DamagedImage, Stream, open_picture
from .pixels import DARK, dark_remark, from_array, from_tensor, high_bytes, invert, to_rgb, with_low_bytes
from .streams import NamedStream
from .tensors import TensorLike

ImageSource: TypeAlias = str | Path | bytes | NamedStream | Image.Image | np.ndarray | TensorLike
"""What `load_image` accepts."""

_ORIENTATION = 274  # the tag in EXIF
_PHOTOMETRIC = 262  # the tag in TIFF; 0: white is zero
_SIDEWAYS = (5, 6, 7, 8)  # its values that swap height and width


class LoadedImage(NamedTuple):
    """A picture, and what is to be known about its file."""

    picture: Image.Image
    """Upright, in mode RGB. A JPEG or JPEG 2000 picture beyond the limit of pixels is a half, a quarter or an eighth
    as high and wide as its file says."""

    damaged: Damage | None
    """What could not be read; None for a whole picture."""

    size: tuple[int, int]
    """Height and width of the upright picture in its file, in pixels."""

    remark: str | None = None
    """What must be said about the picture, to follow its name: that its depth is not stated. None for most."""


def load_image(source: ImageSource, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Load one whole picture as upright RGB; `read_image` also takes damaged ones, and describes the conversion.

    Returns:
        A new picture in mode RGB; the source is not changed.

    Raises:
        InputError: The source cannot be read, or is damaged. The message names the source, the reason and the remedy.
    """
    return read_image(source, strict=True, max_pixels=max_pixels).picture


def read_image(source: ImageSource, *, strict: bool = False, max_pixels: int = MAX_PIXELS) -> LoadedImage:
    """Read one picture as upright RGB, 8 bits per channel, as far as it can be read.

    The orientation in EXIF is applied. Transparent pictures (RGBA, LA, palette) are composed over white: most of them
    were drawn for a white page, and the color of a transparent pixel is arbitrary. Gray and CMYK become RGB; 16-bit,
    32-bit and float pictures are scaled to 8 bits, not clipped, by the depth that their file states. Of several frames
    (GIF, WebP, TIFF) the first is taken. What is missing of a damaged picture is gray (128, 128, 128).

    Args:
        source: A path or a web address; the bytes of a file; a PIL image; an array `[h, w]` or `[h, w, 1 | 3 | 4]`; or
            a tensor `[h, w]` or `[1 | 3, h, w]`. Arrays and tensors hold uint8, or floats from 0 to 1.
        strict: Whether to refuse a damaged picture.
        max_pixels: The most pixels of a picture that is decoded whole. Decoding one takes at most 9 bytes for each:
            800 MB at the default. JPEG and JPEG 2000 pictures with up to twice as many pixels are decoded at half
            their size or less, in at most 600 MB.

    Returns:
        A new picture in mode RGB, and what is to be known about it; the source is not changed.

    Raises:
        InputError: The source cannot be read. The message names the source, the reason and the remedy.
    """
    require(max_pixels >= 1, "max_pixels", must="at least 1", value=max_pixels)
    if isinstance(source, Image.Image):
        return _of_image(source, max_pixels)
    if isinstance(source, np.ndarray):
        return _loaded(from_array(source))
    if isinstance(source, TensorLike):
        return _loaded(from_tensor(source))
    if isinstance(source, bytes):
        return _read(io.BytesIO(source), "the bytes", strict=strict, max_pixels=max_pixels)
    if (elsewhere := stream_of(source)) is not None:
        with elsewhere.open(PICTURES) as file:
            return _read(file, f"`{elsewhere.name}`", strict=strict, max_pixels=max_pixels)
    if not isinstance(source, str | Path):
        raise InputError(
            "`source` must be a path, bytes, a PIL image, an array or a tensor, "
            f"but is of type {type(source).__name__} instead."
        )
    path, name = require_file(source, PICTURE, finder="find_images"), f"`{source}`"
    with reading(name, WHOLE), path.open("rb") as stream:
        return _read(stream, name, strict=strict, max_pixels=max_pixels)


def read_size(source: str | Path | NamedStream, *, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Return height and width of a picture file as `read_image` gives it, upright, without decoding it.

    Raises:
        InputError: The file is no picture, or is too large.
    """
    name = f"`{source}`"
    with reading(name, WHOLE), _opened(source) as stream:
        picture = open_picture(stream, stream.read(HEAD), name, max_pixels=max_pixels)
        width, height = reduce_to_budget(picture, stream, name, max_pixels=max_pixels)
        # a PNG would be decoded for EXIF that stands behind its pixels
        tags = picture.getexif() if picture.format != "PNG" or "exif" in picture.info else {}
        sideways = picture.format != "TIFF" and tags.get(_ORIENTATION) in _SIDEWAYS  # PIL's TIFF has an upright size
        return (width, height) if sideways else (height, width)


def _opened(source: str | Path | NamedStream) -> BinaryIO:
    if isinstance(source, NamedStream):
        return source.open(PICTURES)
    return require_file(source, PICTURE, finder="find_images").open("rb")


def find_images(paths: Sequence[str | Path]) -> list[Path]:
    """List the pictures that files, folders and patterns stand for, as `Kind.find` does.

    Raises:
        InputError: A path does not exist, or a folder or pattern has no picture.
    """
    return PICTURES.find(paths)


def _loaded(picture: Image.Image) -> LoadedImage:
    return LoadedImage(picture, None, (picture.height, picture.width))


def _of_image(source: Image.Image, max_pixels: int) -> LoadedImage:
    """Read a PIL image, which may be a file that is not decoded yet."""
    name = "the PIL image"
    check_size(source.size, name, max_pixels=max_pixels)
    with reading(name, WHOLE):
        picture, remark = to_rgb(ImageOps.exif_transpose(source), name)
    return _loaded(picture)._replace(remark=remark)


class _Decoded(NamedTuple):
    """A decoded picture as it is stored."""

    picture: Any
    size: tuple[int, int]  # width and height in the file
    white: float | None  # the value of white that the file states for deep samples
    deep: bool  # whether the file has 16 bits for each of red, green and blue, of which PIL gives the upper 8


def _read(stream: Stream, name: str, *, strict: bool, max_pixels: int) -> LoadedImage:
    """Read an open file, whole or else as far as it can be read."""
    decode = partial(_decode, name=name, max_pixels=max_pixels)
    try:
        found = decode(stream)
        remark = None
        if found.deep and (highest := high_bytes(found.picture)) < DARK // 256:
            if found.white is None:
                remark = dark_remark(256.0 * highest + 255)
            elif found.picture.format == "PNG":
                found = found._replace(
                    picture=with_low_bytes(found.picture, decode(stream, low=True).picture, found.white)
                )
        loaded = _upright(found, None, name)
        return loaded if remark is None else loaded._replace(remark=remark)
    except DamagedImage as error:
        if strict:
            raise
        failed = error
    stream.seek(0)
    data = stream.read()
    sizes: list[_Decoded] = []

    def decode_part(data: bytes, ink: int | None) -> Any:
        sizes.append(decode(io.BytesIO(data), ink=ink))
        return sizes[-1].picture

    # what was decoded without an error may still have a palette that cannot be applied
    with reading(name, WHOLE, error=DamagedImage):
        part = read_part(data, decode_part, failed)
    found = next(decoded for decoded in sizes if decoded.picture is part.picture)
    sizes.clear()  # the second picture, which was only compared
    return _upright(found, part, name)


def _decode(stream: Stream, *, name: str, max_pixels: int, ink: int | None = None, low: bool = False) -> _Decoded:
    """Decode the first frame of a file.

    Args:
        stream: The file.
        name: Its name in messages.
        max_pixels: The limit.
        ink: The value of pixels that decoding does not reach; None raises where there are such.
        low: Whether to give the lower 8 of the 16 bits of a PNG in color.

    Raises:
        DamagedImage: The picture cannot be decoded; with `ink`, not even in part.
        InputError: The file is no picture, or too large.
    """
    stream.seek(0)
    picture = open_picture(stream, stream.read(HEAD), name, max_pixels=max_pixels)
    with reading(name, WHOLE, error=DamagedImage):
        width, height = reduce_to_budget(picture, stream, name, max_pixels=max_pixels)
        white = stated_white(picture, stream)
        deep = picture.mode == "RGB" and any(";16" in str(tile.args) for tile in picture.tile)
        if low:  # PNG stores the upper byte first: as if it stored the lower one first
            picture.tile = [tile._replace(args=tile.args.replace(";16B", ";16L")) for tile in picture.tile]
        _prepare(picture, ink)
        try:
            picture.load()
        except Exception:
            if ink is None or picture._im is None:
                raise
            picture.tile = []
            with suppress(Exception):
                picture.load_end()
        finally:
            picture.__dict__.pop("load_prepare", None)  # a circle that would keep the pixels
        if picture.format == "TIFF" and picture.mode.startswith("I;16") and picture.tag_v2.get(_PHOTOMETRIC) == 0:
            invert(picture, white)  # white is zero; PIL inverts it for 8 bits only
        return _Decoded(picture, (width, height), white, deep)


def _prepare(picture: Any, ink: int | None) -> None:
    """Have a picture's memory made in our way when it is decoded."""
    before = picture.load_prepare

    def load_prepare() -> None:
        if hasattr(picture, "_decoder"):  # of WebP and AVIF, which has given its frame and holds copies of it
            picture._decoder = None
        if hasattr(picture, "_tile_size") and picture._im is None:  # TIFF, which else asks for PIL's own limit
            picture.im = Image.new(picture.mode, picture._tile_size).im
        before()
        if ink is not None:
            bands = Image.getmodebands(picture.im.mode)
            picture.im.paste((ink,) * bands if bands > 1 else ink, (0, 0, *picture.im.size))

    picture.load_prepare = load_prepare


def _upright(found: _Decoded, part: Part | None, name: str) -> LoadedImage:
    """Apply the orientation in EXIF, convert to RGB, and fill what is missing of a damaged picture."""
    picture, (width, height), white, _ = found
    with reading(name, WHOLE, error=DamagedImage):
        unread = None
        try:
            orientation = picture.getexif().get(_ORIENTATION, 1)
            ImageOps.exif_transpose(picture, in_place=True)
        except Exception:  # of a PNG; in a JPEG, PIL passes over it
            orientation, unread = 1, "has EXIF that cannot be read: it may lie on its side"
        if part is not None:
            part.turn(orientation)
        # a plain image: one of a file keeps its stream and its tags
        rgb, remark = to_rgb(picture._new(picture.im), name, white=white)
        remark = remark or unread
        if orientation in _SIDEWAYS:
            width, height = height, width
        if part is None:
            return LoadedImage(rgb, None, (height, width), remark)
        filled, damage = part.filled(rgb)
        return LoadedImage(filled, damage, (height, width), remark)
