"""How many bits of a deep picture are used, where its file says so: 12-bit scans and X-rays are stored in 16 bits."""

from typing import Any

from .image_files import Stream

_PNG_HEADER = 8 + 25  # the signature and the IHDR chunk
_MOST_CHUNKS = 64
_MAX_SAMPLE, _SMAX_SAMPLE, _BITS = 281, 341, 258  # tags of TIFF


def stated_white(picture: Any, stream: Stream) -> float | None:
    """Return the value of white that a picture's file states, for samples of more than 8 bits.

    It is read from PNG's sBIT chunk, from TIFF's SMaxSampleValue, MaxSampleValue or a BitsPerSample below 16, and from
    the header of a PGM.

    Args:
        picture: An opened `ImageFile` that is not decoded.
        stream: Its file; its position is kept.

    Returns:
        The value; None where nothing is stated. Samples may be above it all the same: those of a correct PNG fill 16
        bits, whatever its sBIT.
    """
    if picture.format == "PNG":
        bits = _significant_bits(stream)
        return float(2**bits - 1) if 8 < bits < 16 else None
    if picture.format == "TIFF":
        tags = picture.tag_v2
        for tag in (_SMAX_SAMPLE, _MAX_SAMPLE):
            value = tags.get(tag)
            if isinstance(value, tuple):
                value = max(value, default=None)
            if value is not None and float(value) > (255 if picture.mode != "F" else 0):
                return float(value)
        bits = max(tags.get(_BITS, (16,)))
        return float(2**bits - 1) if 8 < bits < 16 else None
    if picture.format == "PPM" and picture.mode == "I":
        return 65535.0  # PIL scales by the value in the header
    return None


def _significant_bits(stream: Stream) -> int:
    """Return the most significant bits of a PNG's channels that its sBIT chunk states; 0 without such a chunk."""
    before = stream.tell()
    try:
        stream.seek(_PNG_HEADER)
        for _ in range(_MOST_CHUNKS):
            start = stream.read(8)
            length, name = int.from_bytes(start[:4], "big"), start[4:]
            if len(start) < 8 or name in (b"IDAT", b"IEND"):
                return 0
            if name == b"sBIT":
                return max(stream.read(min(length, 4)), default=0)
            stream.seek(length + 4, 1)
        return 0
    finally:
        stream.seek(before)
