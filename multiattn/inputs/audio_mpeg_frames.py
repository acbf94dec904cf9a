"""The frames of an MPEG audio stream (mp3, mp2): where each begins, and what lies between them.

A frame states its own length, so that the length of a stream is counted, whatever a header says of it or leaves out.
Tags (ID3, APE, Lyrics3) are skipped wherever they stand, for files are joined with them. Bytes that belong to neither
are damage if they lie between frames; at the two ends they are what a capture or a download leaves there.

Source: ISO/IEC 11172-3, section 2.4; the Xing, Info and LAME fields as ffmpeg's `mp3dec.c` reads them.
"""

import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from io import BufferedIOBase
from typing import NamedTuple

_WINDOW = 1 << 20  # bytes of the file in memory
_CONFIRMED = 3  # frames in a row that show that bytes are frames
_SEARCHED = 1 << 20  # bytes, after the tags, in which a stream must begin
_PLACE = re.compile(rb"\xff[\xe2-\xff]|ID3[\x02-\x04]|APETAGEX|LYRICSBEGIN|TAG")  # where a frame or a tag may begin

_KBITS = {  # by version 1 or not, and layer; index 0 is a rate that is not stated, 15 is none
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448, 0),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 0),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256, 0),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0),
}
_RATES = (44_100, 48_000, 32_000)  # Hz; half in version 2, a quarter in 2.5


class Frame(NamedTuple):
    """What the four bytes at the head of a frame state."""

    size: int  # bytes
    samples: int
    rate: int  # Hz
    channels: int
    version: int  # 1; 2 for 2 and 2.5
    layer: int

    @property
    def kind(self) -> tuple[int, int, int]:
        """What is the same in all frames of a stream."""
        return self.samples, self.rate, self.layer


@lru_cache(maxsize=4096)
def frame_of(head: bytes) -> Frame | None:
    """Read the four bytes at the head of a frame; None for other bytes."""
    bits = int.from_bytes(head, "big")
    version, layer = bits >> 19 & 3, 4 - (bits >> 17 & 3)
    if len(head) < 4 or bits >> 21 != 0x7FF or version == 1 or layer == 4 or bits >> 10 & 3 == 3:
        return None
    kbits = _KBITS[version == 3, layer][bits >> 12 & 15]
    if not kbits:
        return None
    rate = _RATES[bits >> 10 & 3] >> (0, 0, 1, 0)[version] + 2 * (version == 0)
    samples = 384 if layer == 1 else 576 if layer == 3 and version != 3 else 1152
    slot = 4 if layer == 1 else 1
    size = (samples // 8 // slot * kbits * 1000 // rate + (bits >> 9 & 1)) * slot
    return Frame(size, samples, rate, 1 if bits >> 6 & 3 == 3 else 2, 1 if version == 3 else 2, layer)


class Tag(NamedTuple):
    """The header that an encoder writes into a first frame without sound (Xing, Info or VBRI)."""

    frames: int  # number that it states, 0 where it does not
    size: int  # bytes, likewise
    delay: int  # samples that the encoder put before the sound, with those of the decoder; 0 where not stated
    padding: int  # samples that are too many at the end; 0 where not stated

    @classmethod
    def of(cls, data: bytes, frame: Frame) -> "Tag | None":
        """Read the header in a frame; None where it has sound."""
        at = 4 + {(1, 2): 32, (1, 1): 17, (2, 2): 17, (2, 1): 9}[frame.version, frame.channels]
        if data[36:40] == b"VBRI" and len(data) >= 54:
            return cls(int.from_bytes(data[50:54], "big"), int.from_bytes(data[46:50], "big"), 0, 0)
        if data[at : at + 4] not in (b"Xing", b"Info"):
            return None
        flags, at = data[at + 7], at + 8
        frames = size = delay = padding = 0
        if flags & 1:
            frames, at = int.from_bytes(data[at : at + 4], "big"), at + 4
        if flags & 2:
            size, at = int.from_bytes(data[at : at + 4], "big"), at + 4
        if not frames and not size:
            return None
        at += 100 * bool(flags & 4) + 4 * bool(flags & 8)
        if data[at : at + 4] in (b"LAME", b"Lavf", b"Lavc"):
            stated = int.from_bytes(data[at + 21 : at + 24], "big")
            delay, padding = (stated >> 12) + 529, max(0, (stated & 4095) - 529)
        return cls(frames, size, delay, padding)


@dataclass
class Run:
    """Frames of one kind that follow each other."""

    first: int  # index of the first frame
    frame: Frame
    lost: int = 0
    """Bytes before it that are neither frame nor tag, and follow frames."""

    count: int = 0


@dataclass
class Frames:
    """All frames of a stream."""

    places: array = field(default_factory=lambda: array("Q"))  # type: ignore[type-arg]  # the offset of each
    runs: list[Run] = field(default_factory=list)
    tag: Tag | None = None
    bytes_of_frames: int = 0
    is_cut: bool = False  # whether the file ends inside a frame
    tail: int = 0  # bytes after the last frame that are no tag
    is_joined: bool = False
    """Whether the file goes on, with a header or a tag, after the frames that its first header states."""

    @property
    def mean(self) -> float:
        """The mean size of a frame, in bytes."""
        return self.bytes_of_frames / max(1, len(self.places))


class _File:
    """A window on a file."""

    def __init__(self, stream: BufferedIOBase) -> None:
        self._stream = stream
        self.size = stream.seek(0, 2)
        self._data, self._start = b"", 0

    def get(self, start: int, count: int) -> bytes:
        """Return bytes; fewer at the end."""
        at = start - self._start
        if at < 0 or at + count > len(self._data):
            self._stream.seek(start)
            self._data, self._start, at = self._stream.read(max(count, _WINDOW)), start, 0
        return self._data[at : at + count]


def find_frames(stream: BufferedIOBase) -> Frames | None:
    """Find the frames of a stream; None where it is none, which is known after the first megabyte."""
    file, found = _File(stream), Frames()
    at = end = lost = 0
    run: Run | None = None
    while at < file.size:
        frame = frame_of(file.get(at, 4))
        if frame is not None and (run is None or lost or frame.kind != run.frame.kind):
            # a first frame, or one of another kind, must be followed by others of its kind
            frame = frame if _confirmed(file, at, frame, alone=run is None and not lost) else None
        if frame is None:
            length = tag_length(file.get(at, 227), file.size - at)
            if length:
                at += length
                continue
            if run is None and lost > _SEARCHED:
                return None
            after = _next_place(file, at + 1)
            lost, at = lost + after - at, after
            continue
        if run is None and (tag := Tag.of(file.get(at, frame.size), frame)):
            found.tag, lost = tag, 0
            run = Run(0, frame)
            found.runs.append(run)
        else:
            if run is None or lost or (frame.kind, frame.channels) != (run.frame.kind, run.frame.channels):
                if run is None:
                    lost = 0
                run = Run(len(found.places), frame, lost)
                found.runs.append(run)
                lost = 0
            if found.tag and len(found.places) == found.tag.frames:
                is_first = at != end or Tag.of(file.get(at, frame.size), frame) is not None
                found.is_joined = is_first and not run.lost
            found.places.append(at)
            found.bytes_of_frames += frame.size
            run.count += 1
        at = end = at + frame.size
    found.tail, found.is_cut = lost, end > file.size
    found.runs = [run for run in found.runs if run.count]
    return found if found.runs else None


def _confirmed(file: _File, at: int, frame: Frame, *, alone: bool) -> bool:
    """Tell whether frames of the same kind follow, or the end of the file or a tag.

    Args:
        file: The file.
        at: The offset of the frame.
        frame: The frame.
        alone: Whether one or two frames with nothing else in the file are enough.
    """
    following: Frame | None = frame
    start = at
    for _ in range(_CONFIRMED - 1):
        assert following is not None
        at += following.size
        head = file.get(at, 227)
        following = frame_of(head[:4])
        if following is None or following.kind != frame.kind:
            alone = alone and start + frame.size <= file.size
            return alone and (not head or bool(tag_length(head, file.size - at)))
    return True


def _next_place(file: _File, at: int) -> int:
    """Return the next offset where a frame or a tag may begin; the size of the file where none does."""
    while at < file.size:
        data = file.get(at, min(_WINDOW, file.size - at))
        if found := _PLACE.search(data):
            return at + found.start()
        at += max(1, len(data) - 11)  # a tag may begin at the window's end
        if at + 11 >= file.size:
            return file.size
    return file.size


def tag_length(head: bytes, remaining: int) -> int:
    """Return the number of bytes of the tag that begins with `head`; 0 where none does.

    Args:
        head: The next 227 bytes of a file, or fewer at its end.
        remaining: The number of bytes to the end of the file.
    """
    length = 0
    if head[:3] == b"ID3" and len(head) >= 10 and head[3] < 0xFF and max(head[6:10]) < 0x80:
        length = 10 + (head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]) + (10 if head[5] & 0x10 else 0)
    elif head[:8] == b"APETAGEX" and len(head) >= 32:
        is_header = head[23] & 0x20
        length = 32 + int.from_bytes(head[12:16], "little") if is_header else 32
    elif head[:4] == b"TAG+":
        length = 227
    elif head[:3] == b"TAG" and (remaining <= 128 or frame_of(head[128:132]) or head[128:131] in (b"ID3", b"TAG")):
        length = 128
    elif head[:11] == b"LYRICSBEGIN":
        length = 11
    # a tag that would leave nothing states a wrong length: what follows its header is searched
    return length if length <= remaining else 10 if length > 227 else remaining


def after_tags(stream: BufferedIOBase) -> int:
    """Return the offset after the ID3 tags that a file begins with."""
    at, size = 0, stream.seek(0, 2)
    while True:
        stream.seek(at)
        head = stream.read(10)
        if head[:3] != b"ID3" or not (length := tag_length(head, size - at)):
            return at
        at += length


def frame_data(stream: BufferedIOBase, places: "array[int]", first: int) -> Iterator[bytes]:
    """Yield the bytes of each frame from the index `first` on; those of the last one may be cut off."""
    file = _File(stream)
    for at in places[first:]:
        frame = frame_of(file.get(at, 4))
        assert frame is not None  # it was found before
        yield file.get(at, frame.size).ljust(frame.size, b"\0")  # a decoder reads on where it is cut off
