"""The memory that decoding a picture takes, estimated from its header before anything is allocated.

A picture within the limits is decoded whole. A JPEG or JPEG 2000 picture beyond them, of at most twice the pixels, is
decoded at a half, a quarter or an eighth of its sides, which their decoders do in less memory.
"""

import math
from typing import Any, NamedTuple

from ..errors import InputError, TooLargeError
from .files import MAX_PIXELS
from .image_files import Stream, too_large

WHOLE_BYTES = 800_000_000
"""Memory to decode one picture of `MAX_PIXELS` and convert it to RGB, in bytes; it grows with the limit."""

REDUCED_BYTES = 600_000_000
"""Memory to decode one JPEG picture of twice `MAX_PIXELS` at a smaller size, in bytes; it grows with the limit."""

MAX_SIDE = 4_194_304
"""Longest side of a picture in pixels; a resize takes 32 bytes for each pixel of a side."""

_REDUCTIONS = (1, 2, 3)  # halvings of the sides that the decoders of JPEG and JPEG 2000 offer
_REDUCIBLE = ("JPEG", "MPO", "JPEG2000")
_OUT = 4  # bytes of a pixel in PIL's RGB


class JpegHeader(NamedTuple):
    """What the header of a JPEG says about decoding it."""

    buffered: bool
    """Whether all coefficients are kept in memory while it is decoded: it has several scans."""

    coefficients: float
    """Coefficients for each pixel, of all components."""


def reduce_to_budget(picture: Any, stream: Stream, name: str, *, max_pixels: int) -> tuple[int, int]:
    """Check the size that a picture claims, and have it decoded at a smaller one where that alone is within the limits.

    Args:
        picture: An opened `ImageFile` that is not decoded.
        stream: Its file.
        name: The file's name in messages.
        max_pixels: The limit.

    Returns:
        Width and height of the whole picture in pixels, as stored.

    Raises:
        InputError: It has no pixels, or is too large.
    """
    size: tuple[int, int] = picture.size
    width, height = size
    check_size(size, name, max_pixels=2 * max_pixels if picture.format in _REDUCIBLE else max_pixels)
    pixels, share = width * height, max_pixels / MAX_PIXELS
    if pixels <= max_pixels and _cost(picture, stream, 0) * pixels <= WHOLE_BYTES * share:
        return size
    if picture.format in _REDUCIBLE:
        for halvings in _REDUCTIONS:
            if _cost(picture, stream, halvings) * pixels <= REDUCED_BYTES * share:
                _reduce(picture, halvings)
                return size
    needed = math.ceil(_cost(picture, stream, 0) * pixels / 1e6)
    raise TooLargeError(
        f"{name} must be decoded in at most {WHOLE_BYTES * share / 1e6:.0f} MB of memory, but needs about {needed} MB "
        f"instead ({width} x {height} pixels in this format). Shrink it first, or raise `max_pixels` (--max-pixels)."
    )


def check_size(size: tuple[int, int], name: str, *, max_pixels: int) -> None:
    """Raise InputError where a picture of this width and height has no pixels, or too many of them."""
    width, height = size
    if width < 1 or height < 1:
        raise InputError(f"{name} must have at least one pixel, but is {width} x {height} instead.")
    if max(size) > MAX_SIDE:
        raise TooLargeError(f"{name} must have sides of at most {MAX_SIDE} pixels, but is {width} x {height} instead.")
    if width * height > max_pixels:
        raise too_large(name, max_pixels)


def _reduce(picture: Any, halvings: int) -> None:
    if picture.format == "JPEG2000":
        # not by PIL's `reduce`, which rounds the sides where openjpeg rounds up
        sides = tuple(-(-side // 2**halvings) for side in picture.size)
        codec, _, layers, *rest = picture.tile[0].args
        picture.tile = [picture.tile[0]._replace(extents=(0, 0, *sides), args=(codec, halvings, layers, *rest))]
        picture._size = sides
    else:
        picture.draft(None, (max(1, picture.width >> halvings), max(1, picture.height >> halvings)))


def _cost(picture: Any, stream: Stream, halvings: int) -> float:
    """Return the most bytes that are held at once for each pixel of the whole picture, conversion to RGB included."""
    channels = len(picture.getbands())
    out: float = _OUT / 4**halvings
    plain = 2 * out  # the pixels, and their copy in RGB or turned upright
    if picture.format in ("JPEG", "MPO"):
        header = jpeg_header(stream)
        return max(plain, 2 * header.coefficients + out) if header.buffered else plain
    if picture.format == "JPEG2000":
        levels, tiles = _jpeg2000_header(stream)
        if halvings > levels:
            return math.inf
        # openjpeg holds the samples in 32 bits twice; and about 8 KiB for each tile, before it reads any
        held = 6 * channels / 4**halvings + out
        return float(max(plain, held) + tiles * 8192 / (picture.width * picture.height))
    if picture.format == "WEBP":
        return 3.0 * _OUT  # the canvas twice, and its copy
    if picture.format == "AVIF":
        return max(_avif_planes(stream, picture) + 2.0 * channels, plain)
    if picture.format in ("HEIF", "HEIC"):
        return 3.0 * _OUT
    if picture.format == "TIFF":
        return max(plain, _OUT + _tiff_strip(picture))
    return plain


def _tiff_strip(picture: Any) -> float:
    """Return the bytes of a strip or tile for each pixel of the picture: libtiff decodes one at a time."""
    tags = picture.tag_v2
    bits = tags.get(258, (1,))
    bits = sum(bits) if isinstance(bits, tuple) and len(bits) > 1 else (bits[0] if isinstance(bits, tuple) else bits)
    bits *= tags.get(277, 1) if len(tags.get(258, (1,))) == 1 else 1
    width, height = picture.size
    if 322 in tags:
        held = tags.get(322, width) * tags.get(323, height)
    else:
        held = width * min(tags.get(278, height), height)
    return float(held * bits / 8 / (width * height))


def _avif_planes(stream: Stream, picture: Any) -> float:
    """Return the bytes of the decoded planes for each pixel, by the `av1C` boxes; the most there can be if none."""
    stream.seek(0)
    head = stream.read(65536)
    found = []
    at = head.find(b"av1C")
    while at >= 0 and at + 8 <= len(head):
        flags = head[at + 6]  # tier, high bit depth, twelve bits, monochrome, subsampling across and down
        wide = 2 if flags & 0x40 else 1
        chroma = 0.0 if flags & 0x10 else 0.5 if flags & 0x04 else 1.0 if flags & 0x08 else 2.0
        found.append(wide * (1 + chroma))
        at = head.find(b"av1C", at + 4)
    alpha = 1 if picture.mode in ("RGBA", "LA") else 0
    return (max(found) if found else 6.0) + alpha


def jpeg_header(stream: Stream) -> JpegHeader:
    """Read a JPEG's markers up to its first scan; of a file that has none, a header that costs most."""
    stream.seek(2)
    coefficients, progressive, components = 3.0, True, 3
    while True:
        marker = stream.read(2)
        if len(marker) < 2:
            return JpegHeader(True, coefficients)
        while marker[1] == 0xFF:
            marker = marker[1:] + stream.read(1)
            if len(marker) < 2:
                return JpegHeader(True, coefficients)
        if marker[0] != 0xFF:
            stream.seek(-1, 1)  # junk between the segments
            continue
        kind = marker[1]
        if kind in (0, 1) or 0xD0 <= kind <= 0xD8:
            continue
        length = int.from_bytes(stream.read(2), "big")
        segment = stream.read(max(0, length - 2))
        if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC) and len(segment) >= 6:
            progressive = kind in (0xC2, 0xC6, 0xCA, 0xCE)
            factors = [divmod(segment[i], 16) for i in range(7, len(segment), 3)][: segment[5]] or [(1, 1)]
            components = len(factors)
            most = max(1, max(h for h, _ in factors)) * max(1, max(v for _, v in factors))
            coefficients = sum(h * v for h, v in factors) / most
        if kind == 0xDA:
            return JpegHeader(progressive or (bool(segment) and segment[0] < components), coefficients)


def _jpeg2000_header(stream: Stream) -> tuple[int, int]:
    """Return the number of halvings that a JPEG 2000 picture offers, and of its tiles."""
    stream.seek(0)
    head = stream.read(65536)
    start = head.find(b"\xff\x4f\xff\x51")
    if start < 0:
        return 0, 1
    size = [int.from_bytes(head[start + 8 + 4 * i : start + 12 + 4 * i], "big") for i in range(8)]
    across, down, left, top, tile_width, tile_height, tile_left, tile_top = size
    tiles = 1
    if tile_width and tile_height:
        tiles = math.ceil((across - tile_left) / tile_width) * math.ceil((down - tile_top) / tile_height)
    cod = head.find(b"\xff\x52", start)
    levels = head[cod + 9] if 0 <= cod < len(head) - 9 else 0
    return levels, max(1, tiles)
