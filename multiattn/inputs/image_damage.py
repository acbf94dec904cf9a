"""What can be read of a damaged picture, measured: the file is decoded twice, so that what it does not say differs.

Nothing here switches PIL's `LOAD_TRUNCATED_IMAGES`, which is one for the whole process: pictures are read in threads.
"""

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import numpy as np
from jaxtyping import Bool
from PIL import Image

from .damage import Damage

Decode = Callable[[bytes, int | None], Any]
"""Decodes a file as far as it goes; the pixels that it does not reach have the value given, or any with None."""

FILL = (128, 128, 128)
"""The gray of pixels that are missing."""

_CUT = "it is cut off"
_BROKEN = "its data are broken"
_END = b"\xff\xd9"  # the end marker of a JPEG
_ROWS_AT_ONCE = 4_000_000  # pixels of a strip that is compared
_LONGEST_TAIL = 64_000_000  # bytes that are put in for missing ones
_ORIENTATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Part:
    """What can be read of a picture, still as stored: neither upright nor RGB."""

    def __init__(self, picture: Any, missing: Bool[np.ndarray, "h w"] | None, reason: str, place: str = "") -> None:
        """Set the parts.

        Args:
            picture: The decoded picture.
            missing: True for each pixel that could not be read; None where all could, or are all coarse.
            reason: What is wrong with the file.
            place: Where, if `missing` does not say.
        """
        self.picture, self.reason, self.place = picture, reason, place
        self.missing = None if missing is None or not missing.any() else missing

    def turn(self, orientation: int) -> None:
        """Turn `missing` as EXIF asks for, like the picture."""
        method = _ORIENTATIONS.get(orientation)
        if self.missing is not None and method is not None:
            self.missing = np.asarray(Image.fromarray(self.missing.view(np.uint8)).transpose(method)).view(np.bool_)

    def filled(self, picture: Image.Image) -> tuple[Image.Image, Damage]:
        """Fill what is missing of the upright RGB picture, and say what that is."""
        if self.missing is None:
            return picture, Damage(self.reason, self.place or "after its last row", None if self.place else 0.0)
        share = float(self.missing.mean())
        coarse = _coarse(picture, self.missing)
        mask = Image.fromarray(self.missing.view(np.uint8) * np.uint8(255))
        if coarse is not None:
            picture.paste(coarse, mask=mask)
            return picture, Damage(self.reason, "between the rows and columns that came first (interlaced)", share)
        picture.paste(FILL, mask=mask)
        return picture, Damage(self.reason, _place(self.missing), share)


def read_part(data: bytes, decode: Decode, error: Exception) -> Part:
    """Read what can be read of a damaged picture.

    Args:
        data: The file.
        decode: Opens and decodes such a file.
        error: What decoding the whole file raised.

    Raises:
        Exception: `error`, where nothing can be read.
    """
    if data.startswith(b"\xff\xd8"):
        part = _jpeg(data, decode)
    elif data.startswith(b"\x89PNG"):
        part = _png(data, decode)
    elif data.startswith(b"RIFF"):
        part = _padded(data, int.from_bytes(data[4:8], "little") + 8, decode)
    elif data[4:8] == b"ftyp":
        part = _padded(data, _boxes_end(data), decode)
    elif data.startswith((b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  ")):
        part = _jpeg2000(data, decode)
    else:
        part = _by_fill(data, decode, _BROKEN if _is_broken(error) else _CUT)
    if part is None or (part.missing is not None and part.missing.all()):
        raise error
    return part


def _is_broken(error: Exception) -> bool:
    """Return whether a decoder met wrong data, not the end of the file."""
    words = str(error)
    return "truncated" not in words and "-9" not in words and "buffer is not large enough" not in words


# --- by format ---


def _jpeg(data: bytes, decode: Decode) -> Part | None:
    """A JPEG: with an end marker put in, its decoder takes what is there."""
    body = data.rstrip(b"\0") if data[-64:] == bytes(64) else data  # a download into a file of the full length
    scans, end = _scans(body)
    body = body[:end].removesuffix(b"\xff")
    if scans > 1:
        with suppress(Exception):
            return Part(decode(body + _END, None), None, _CUT, f"in its fine detail or color, from scan {scans} on")
    part = _by_ending(body, (_END, _noise(4096).replace(b"\xff", b"\x7f") + _END), decode)
    if part is None:
        return _by_fill(body, decode, _BROKEN)
    if part.missing is None:
        part.reason = "its end marker is missing"
    return part


def _png(data: bytes, decode: Decode) -> Part | None:
    """A PNG: its pixels alone, with right checksums, without the chunks that cannot be read."""
    chunks, spoiled = [], ""
    for name, content, is_right in _chunks(data):
        pixels = name == b"IDAT"
        if pixels or (is_right and name in (b"IHDR", b"PLTE", b"tRNS", b"eXIf")):
            chunks.append((name, content))
        elif not is_right and not spoiled:
            spoiled = name.decode("latin-1")
        if pixels and not is_right and spoiled != "IDAT":
            spoiled = "IDAT"
    # a number of bytes of zlib's end may be missing: its checksum then is, but no row
    repaired = data[:8] + b"".join(_chunk(name, content) for name, content in chunks)
    part = _by_fill(repaired, decode, _CUT)
    if part is None or part.missing is not None:
        if part is not None and spoiled == "IDAT" and _ended(data):
            part.reason = _BROKEN
        return part
    if spoiled == "IDAT":  # every row is there, but some are wrong
        part.reason, part.place = "a checksum of its pixels is wrong", "in rows that cannot be told from the others"
    elif spoiled:
        part.reason, part.place = f"its {spoiled} chunk cannot be read", ""
    elif not _ended(data):
        part.reason = "its end is missing"
    else:
        part.reason, part.place = "a chunk beside its pixels cannot be read", ""
    return part


def _jpeg2000(data: bytes, decode: Decode) -> Part | None:
    """A JPEG 2000 picture: zeros in place of what is missing are empty packets, which leave it coarser."""
    tail = bytes(_missing_of_tile(data)) + _END
    with suppress(Exception):
        return Part(decode(data + tail, None), None, _CUT, "in its fine detail")
    return _by_fill(data + tail, decode, _CUT)


def _padded(data: bytes, length: int, decode: Decode) -> Part | None:
    """A file whose decoder takes only whole ones: with two different ends, what both give came from the file."""
    missing = length - len(data)
    if not 0 < missing <= _LONGEST_TAIL:
        return None
    noise = _noise(missing)
    return _by_ending(data, (bytes(missing), noise, b"\x55" * missing, noise[::-1], b"\xff" * missing), decode)


# --- two ways to measure ---


def _by_fill(data: bytes, decode: Decode, reason: str) -> Part | None:
    """Decode twice, over different values: the pixels that keep them are missing."""
    try:
        first, second = decode(data, 0), decode(data, 255)
    except Exception:
        return None
    width, height = first.size
    missing = np.zeros((height, width), np.bool_)
    for top, a, b in _strips(first, second):
        different = a != b
        missing[top : top + len(a)] = different if different.ndim == 2 else different.any(axis=2)
    return Part(first, missing, reason)


def _by_ending(data: bytes, tails: tuple[bytes, ...], decode: Decode) -> Part | None:
    """Decode with two tails: from the first row on that differs, the picture is missing."""
    found: list[Any] = []
    for tail in tails:
        with suppress(Exception):
            found.append(decode(data + tail, None))
        if len(found) == 2:
            break
    if len(found) < 2:
        return None
    first, second = found
    width, height = first.size
    missing = np.zeros((height, width), np.bool_)
    for top, a, b in _strips(first, second):
        rows = np.flatnonzero((a != b).reshape(len(a), -1).any(axis=1))
        if len(rows):
            missing[top + rows[0] :] = True
            break
    return Part(first, missing, _CUT)


def _strips(first: Any, second: Any) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield strips of two pictures of one size: the top row, and the pixels of each."""
    width, height = first.size
    step = max(1, _ROWS_AT_ONCE // width)
    for top in range(0, height, step):
        box = (0, top, width, min(top + step, height))
        yield top, np.asarray(first.crop(box)), np.asarray(second.crop(box))


# --- the place of what is missing ---


def _place(missing: Bool[np.ndarray, "h w"]) -> str:
    """Say where the missing pixels of an upright picture are."""
    height, width = missing.shape
    rows, columns = np.flatnonzero(missing.any(axis=1)), np.flatnonzero(missing.any(axis=0))
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    if (left, right) == (0, width) and bottom == height and top > 0:
        return f"below row {top} of {height}"
    if (left, right) == (0, width) and top == 0 and bottom < height:
        return f"above row {bottom + 1} of {height}"
    if (top, bottom) == (0, height) and right == width and left > 0:
        return f"right of column {left} of {width}"
    if (top, bottom) == (0, height) and left == 0 and right < width:
        return f"left of column {right + 1} of {width}"
    return f"in parts of rows {top + 1} to {bottom} of {height}"


def _coarse(picture: Image.Image, missing: Bool[np.ndarray, "h w"]) -> Image.Image | None:
    """Return the picture from every 2nd, 4th or 8th row and column, where none of those is missing; None else.

    This is how PNG and GIF files come that are stored in several passes.
    """
    rows = np.flatnonzero(missing.any(axis=1))
    if missing.shape[0] < 9 or missing[rows[0] : rows[-1] + 1].all():  # all that is missing is a block
        return None
    for down, across in ((2, 1), (2, 2), (4, 1), (4, 2), (4, 4), (8, 1), (8, 4), (8, 8)):
        if not missing[::down, ::across].any():
            pixels = np.asarray(picture)[::down, ::across]
            whole = pixels.repeat(down, axis=0).repeat(across, axis=1)[: missing.shape[0], : missing.shape[1]]
            return Image.fromarray(whole)
    return None


# --- parts of files ---


def _noise(count: int) -> bytes:
    return np.random.default_rng(0).bytes(count)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes, bool]]:
    """Yield the chunks of a PNG: name, content, and whether its checksum is right; the last may be cut off."""
    at = 8
    while at + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        name = data[at + 4 : at + 8]
        if not name.isalpha():
            return
        content = data[at + 8 : at + 8 + length]
        checksum = data[at + 8 + length : at + 12 + length]
        yield name, content, checksum == struct.pack(">I", zlib.crc32(content, zlib.crc32(name)))
        at += 12 + length


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(content, zlib.crc32(name)))


def _ended(data: bytes) -> bool:
    return b"IEND" in data[-64:]


def _scans(data: bytes) -> tuple[int, int]:
    """Return the number of scans of a JPEG that have begun, and where its last segment that is not complete begins."""
    at, scans = 2, 0
    while True:
        at = data.find(b"\xff", at)
        if at < 0:
            return scans, len(data)
        kind = data[at + 1] if at + 1 < len(data) else 0xD9
        if kind in (0, 1, 0xFF) or 0xD0 <= kind <= 0xD9:  # within the data of a scan, or without content
            at += 1 if kind == 0xFF else 2
            continue
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if end > len(data) or at + 4 > len(data):
            return scans, at
        scans += kind == 0xDA
        at = end


def _missing_of_tile(data: bytes) -> int:
    """Return the number of bytes that the last tile part of a JPEG 2000 picture lacks; at most `_LONGEST_TAIL`."""
    at = data.find(b"\xff\x90\0\x0a")
    while 0 <= at <= len(data) - 10:
        length = int.from_bytes(data[at + 6 : at + 10], "big")
        if length < 12 or at + length > len(data):  # 0: to the end
            return min(max(0, at + length - len(data)) if length else 0, _LONGEST_TAIL)
        at += length
        if data[at : at + 2] != b"\xff\x90":
            break
    return 0


def _boxes_end(data: bytes) -> int:
    """Return the length that a file of boxes (AVIF, HEIC) says it has."""
    at, stream = 0, io.BytesIO(data)
    while at < len(data):
        stream.seek(at)
        length = int.from_bytes(stream.read(4), "big")
        stream.seek(at + 8)
        if length == 1:
            length = int.from_bytes(stream.read(8), "big")
        if length < 8:  # 0: to the end of the file, wherever that was
            return 2 * len(data)
        at += length
    return at
