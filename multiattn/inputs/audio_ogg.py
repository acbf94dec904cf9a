"""Whether an Ogg file is whole: its pages are counted and checked, since libsndfile passes over what is missing.

Source: RFC 3533, section 6.
"""

import zlib
from dataclasses import dataclass
from io import BufferedIOBase

_HEAD = 27  # bytes of a page before its table of segments
_WINDOW = 1 << 16
_FIRST, _LAST = 2, 4  # flags of a page
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass
class OggPages:
    """What the pages of a file say."""

    links: int = 0
    """Number of streams that follow each other."""

    lost: str = ""
    """What is wrong between pages; empty where nothing is."""

    is_cut: bool = False
    """Whether the last page is missing."""


def check_pages(stream: BufferedIOBase) -> OggPages:
    """Read the pages of a file."""
    found = OggPages()
    expected: dict[int, int] = {}  # the next number of each stream that has not ended
    has_ended = True  # whether the streams of the link have
    data, at = b"", 0
    stream.seek(0)
    while True:
        if len(data) - at < 1 << 16:  # more than the longest page, 65,307 bytes
            data, at = data[at:] + stream.read(_WINDOW * 4), 0
        if len(data) == at:
            break
        place = data.find(b"OggS", at)
        if place != at:
            if place < 0 and len(data) - at < 1 << 16:
                found.is_cut = found.is_cut or bool(expected)
                break
            if expected:
                found.lost = found.lost or "bytes between its pages are no sound"
            at = place if place >= 0 else len(data) - 3
            continue
        size = page_size(data, at)
        if size is None or len(data) - at < size:
            found.is_cut = True
            break
        page = data[at : at + size]
        if not _is_sound(page):
            found.lost = found.lost or "the checksum of a page is wrong"
            at += 4
            continue
        serial, number, flags = page[14:18], int.from_bytes(page[18:22], "little"), page[5]
        key = int.from_bytes(serial, "little")
        if flags & _FIRST:
            found.links += has_ended
            has_ended = False
        elif expected.get(key, number) != number:
            found.lost = found.lost or "pages are missing"
        expected[key] = (number + 1) & 0xFFFFFFFF
        if flags & _LAST:
            expected.pop(key, None)
            has_ended = not expected
        at += size
    found.is_cut = found.is_cut or bool(expected)
    return found


def page_size(data: bytes, at: int) -> int | None:
    """Return the bytes of the page that begins at `at`; None where its head is cut off."""
    if len(data) < at + _HEAD or len(data) < at + _HEAD + data[at + 26]:
        return None
    return _HEAD + data[at + 26] + sum(data[at + _HEAD : at + _HEAD + data[at + 26]])


def _is_sound(page: bytes) -> bool:
    """Tell whether the checksum of a page is right."""
    without = page[:22] + bytes(4) + page[26:]
    # zlib's is the same polynomial on reversed bits, which begins with ones and ends inverted
    turned = zlib.crc32(without.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{turned:032b}"[::-1], 2) == int.from_bytes(page[22:26], "little")
