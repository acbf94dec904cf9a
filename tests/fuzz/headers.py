"""Changes of headers that leave the file's own checksums right, so that they are believed."""

import json
import struct
import zlib
from random import Random

from .plain_bytes import number
from .values import changed, to_json

_JPEG_FRAMES = {0xC0, 0xC1, 0xC2, 0xC3, 0xC9}
_TIFF_TAGS = (256, 257, 258, 259, 262, 273, 274, 277, 278, 279, 284, 317, 320, 322, 323, 324, 338, 339, 347, 530, 33432)


def changed_header(data: bytes, random: Random) -> tuple[bytes, str] | None:
    """The file with a change of its header; None where it is of no format that is known here."""
    for magic, word, change in _KNOWN:
        if data.startswith(magic):
            try:
                return change(data, random), word
            except (struct.error, IndexError, ValueError, UnicodeDecodeError):  # changed before beyond recognition
                return None
    if data[8:9] == b"{":
        return _safetensors(data, random), "safetensors"
    return None


def _sized(value: int, width: int, order: str) -> bytes:
    return (value % 256**width).to_bytes(width, "little" if order == "<" else "big")


def _png(data: bytes, random: Random) -> bytes:
    chunks, at = [], 8
    while at + 8 <= len(data):
        (size,) = struct.unpack(">I", data[at : at + 4])
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += 12 + size
    index = random.randrange(len(chunks))
    kind, body = chunks[index]
    match random.choice(("ihdr", "ihdr", "field", "drop", "twice", "insert", "swap", "pixels")):
        case "ihdr":
            kind, body = chunks[0]
            where, width = random.choice(((0, 4), (4, 4), (8, 1), (9, 1), (10, 1), (11, 1), (12, 1)))
            chunks[0] = kind, body[:where] + _sized(number(random), width, ">") + body[where + width :]
        case "field" if body:
            where = random.randrange(len(body))
            chunks[index] = kind, body[:where] + random.randbytes(random.choice((1, 4))) + body[where + 1 :]
        case "drop":
            del chunks[index]
        case "twice":
            chunks.insert(index, chunks[index])
        case "swap":
            chunks[index], chunks[0] = chunks[0], chunks[index]
        case "pixels":  # another number of rows than the header says, or rows of another filter
            packed = zlib.compress(random.randbytes(random.choice((0, 1, 99))) + bytes(random.choice((0, 9, 10**6))))
            chunks = [(k, packed if k == b"IDAT" else b) for k, b in chunks]
        case _:
            kind = random.choice(
                (
                    b"tRNS",
                    b"PLTE",
                    b"gAMA",
                    b"iCCP",
                    b"zTXt",
                    b"iTXt",
                    b"tEXt",
                    b"eXIf",
                    b"sBIT",
                    b"acTL",
                    b"fcTL",
                    b"fdAT",
                )
            )
            body = random.choice((b"", random.randbytes(7), b"name\0\0" + zlib.compress(bytes(10**7)), bytes(300)))
            chunks.insert(random.randrange(1, len(chunks)), (kind, body))
    packed = (struct.pack(">I", len(b)) + k + b + struct.pack(">I", zlib.crc32(k + b)) for k, b in chunks)
    return data[:8] + b"".join(packed)


def _jpeg(data: bytes, random: Random) -> bytes:
    segments = []  # where each begins
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        segments.append(at)
        if data[at + 1] == 0xDA:
            break
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    match random.choice(("frame", "frame", "size", "drop", "twice", "exif", "end", "scan")):
        case "frame":
            (at, *_) = [at for at in segments if data[at + 1] in _JPEG_FRAMES]
            where, width = random.choice(((4, 1), (5, 2), (7, 2), (9, 1), (10, 1), (11, 1), (12, 1)))
            return data[: at + where] + _sized(number(random), width, ">") + data[at + where + width :]
        case "size":
            at = random.choice(segments)
            return data[: at + 2] + _sized(number(random), 2, ">") + data[at + 4 :]
        case "drop" | "twice" as what:
            at = random.choice(segments)
            end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
            return data[:at] + data[at:end] * (0 if what == "drop" else 2) + data[end:]
        case "exif":
            value = number(random) % 65536
            entries = struct.pack("<H", random.choice((1, 1, 60_000))) + struct.pack("<HHIHH", 0x0112, 3, 1, value, 0)
            body = b"Exif\0\0II*\0" + struct.pack("<I", random.choice((8, 8, 2**31))) + entries + bytes(4)
            return data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]
        case "end":
            return data.removesuffix(b"\xff\xd9")
    where = segments[-1] + random.randrange(4, len(data) - segments[-1])
    return data[:where] + random.choice((b"\xff\xd9", b"\xff\xda", b"\xff\xd0", b"\xff\x00", b"")) + data[where + 2 :]


def _tiff(data: bytes, random: Random) -> bytes:
    order = "<" if data[:2] == b"II" else ">"
    (start,) = struct.unpack(f"{order}I", data[4:8])
    (count,) = struct.unpack(f"{order}H", data[start : start + 2])
    at = start + 2 + 12 * random.randrange(count)
    tag, kind, many, _ = struct.unpack(f"{order}HHII", data[at : at + 12])
    match random.choice(("value", "value", "value", "tag", "kind", "many", "entries", "next")):
        case "value":
            width = 2 if kind == 3 and many == 1 else 4
            return data[: at + 8] + _sized(number(random), width, order) + data[at + 8 + width :]
        case "tag":
            return data[:at] + _sized(random.choice(_TIFF_TAGS), 2, order) + data[at + 2 :]
        case "kind":
            return data[: at + 2] + _sized(random.randrange(20), 2, order) + data[at + 4 :]
        case "many":
            return data[: at + 4] + _sized(number(random), 4, order) + data[at + 8 :]
        case "entries":
            return data[:start] + _sized(random.choice((0, 1, count + 1, 65535)), 2, order) + data[start + 2 :]
    end = start + 2 + 12 * count
    return data[:end] + _sized(random.choice((start, 0, 8, 2**31)), 4, order) + data[end + 4 :]  # a circle of frames


def _riff(data: bytes, random: Random) -> bytes:
    """WAV, WebP: a chunk's size, a field of the first chunk, a chunk that is dropped, doubled or moved."""
    order = ">" if data.startswith((b"RIFX", b"FORM")) else "<"
    chunks, at = [], 12
    while at + 8 <= len(data):
        (size,) = struct.unpack(f"{order}I", data[at + 4 : at + 8])
        end = min(len(data), at + 8 + size + size % 2)
        chunks.append(data[at:end])
        at = end
    index = random.randrange(len(chunks))
    chunk = chunks[index]
    match random.choice(("field", "field", "field", "size", "whole", "drop", "twice", "swap", "insert")):
        case "field":
            where, width = random.choice(
                ((8, 2), (10, 2), (12, 4), (16, 4), (20, 2), (22, 2), (24, 2), (26, 2), (28, 4))
            )
            chunks[0] = chunks[0][:where] + _sized(number(random), width, order) + chunks[0][where + width :]
        case "size":
            chunks[index] = chunk[:4] + _sized(number(random), 4, order) + chunk[8:]
        case "whole":
            return data[:4] + _sized(number(random), 4, order) + data[8:]
        case "drop":
            del chunks[index]
        case "twice":
            chunks.insert(index, chunk)
        case "swap":
            chunks[index], chunks[0] = chunks[0], chunk
        case "insert":
            name = random.choice(
                (b"LIST", b"fact", b"PEAK", b"cue ", b"smpl", b"id3 ", b"JUNK", b"data", b"ALPH", b"ANMF")
            )
            body = random.randbytes(random.choice((0, 4, 30)))
            chunks.insert(index, name + _sized(random.choice((len(body), number(random))), 4, order) + body)
    return data[:12] + b"".join(chunks)


def _ogg(data: bytes, random: Random) -> bytes:
    """A byte of a page, with the page's checksum made right again."""
    pages, rest = _ogg_pages(data)
    page = random.choice(pages)
    match random.choice(("byte", "byte", "field", "flags", "drop", "twice")):
        case "byte":
            first = 27 + page[26]
            page[random.randrange(min(first, len(page) - 1), len(page))] = random.randrange(256)
        case "field":
            where, width = random.choice(((6, 8), (14, 4), (18, 4)))
            page[where : where + width] = _sized(number(random), width, "<")
        case "flags":
            page[5] = random.randrange(8)
        case "drop":
            pages.remove(page)
        case "twice":
            pages.insert(random.randrange(len(pages)), bytearray(page))
    return _ogg_file(pages) + rest


def _ogg_pages(data: bytes) -> tuple[list[bytearray], bytes]:
    """The pages, and what follows them."""
    pages, at = [], 0
    while at + 27 <= len(data) and data[at : at + 4] == b"OggS":
        table = data[at + 27 : at + 27 + data[at + 26]]
        pages.append(bytearray(data[at : at + 27 + len(table) + sum(table)]))
        at += len(pages[-1])
    return pages, data[at:]


def _ogg_file(pages: list[bytearray]) -> bytes:
    """The pages with their checksums."""
    for page in pages:
        page[22:26] = bytes(4)
        page[22:26] = _ogg_checksum(page).to_bytes(4, "little")
    return b"".join(pages)


def with_ogg_number(data: bytes, number: int) -> bytes:
    """The file with a serial number in place of the encoder's, which is random."""
    pages, rest = _ogg_pages(data)
    for page in pages:
        page[14:18] = number.to_bytes(4, "little")
    return _ogg_file(pages) + rest


def _ogg_table() -> list[int]:
    table = []
    for byte in range(256):
        value = byte << 24
        for _ in range(8):
            value = (value << 1 ^ 0x04C11DB7 if value >> 31 else value << 1) & 0xFFFFFFFF
        table.append(value)
    return table


_OGG = _ogg_table()


def _ogg_checksum(page: bytes | bytearray) -> int:
    value = 0
    for byte in page:
        value = (value << 8 & 0xFFFFFFFF) ^ _OGG[value >> 24 ^ byte]
    return value


def _flac(data: bytes, random: Random) -> bytes:
    """The numbers of STREAMINFO, which no checksum covers: block sizes, rate, channels, bits, samples."""
    info = int.from_bytes(data[18:26], "big")
    low, bits = random.choice(((44, 20), (41, 3), (36, 5), (0, 36)))
    mask = (1 << bits) - 1
    info = info & ~(mask << low) | (number(random) & mask) << low
    if random.random() < 0.2:
        at = random.choice((4, 8, 10, 12, 15))
        return data[:at] + _sized(number(random), 2, ">") + data[at + 2 :]
    return data[:18] + info.to_bytes(8, "big") + data[26:]


def _bmp(data: bytes, random: Random) -> bytes:
    where, width = random.choice(
        ((10, 4), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2), (30, 4), (34, 4), (46, 4), (50, 4))
    )
    return data[:where] + _sized(number(random), width, "<") + data[where + width :]


def _gif(data: bytes, random: Random) -> bytes:
    where = random.choice((6, 8, 10, 11))
    frame = data.find(b"\x2c", 13)
    if frame > 0 and random.random() < 0.6:
        where = frame + random.choice((1, 3, 5, 7, 9, 10))
    width = 2 if random.random() < 0.7 else 1
    return data[:where] + _sized(number(random), width, "<") + data[where + width :]


def _safetensors(data: bytes, random: Random) -> bytes:
    (size,) = struct.unpack("<Q", data[:8])
    if random.random() < 0.15:
        return struct.pack("<Q", number(random) % 2**64) + data[8:]
    try:
        header = json.loads(data[8 : 8 + size])
    except (ValueError, RecursionError):
        return data[:9]
    if isinstance(header, dict) and header and random.random() < 0.6:
        name = random.choice(sorted(header))
        match random.choice(("dtype", "shape", "offsets", "rename", "drop")), header[name]:
            case "dtype", {"dtype": _} as entry:
                entry["dtype"] = random.choice(("F64", "F16", "BF16", "I64", "U8", "BOOL", "F8_E4M3", "I32", "X"))
            case "shape", {"shape": [*shape]} as entry:
                entry["shape"] = [number(random), *shape[1:]] if shape else [1]
            case "offsets", {"data_offsets": [*offsets]} as entry:
                entry["data_offsets"] = [number(random) if random.random() < 0.5 else one for one in offsets]
            case "rename", entry:
                header[name + random.choice((".x", "\0", "é", "\n"))] = header.pop(name)
            case _:
                del header[name]
    else:
        header, _ = changed(header, random)
    text = to_json(header, random)
    return struct.pack("<Q", len(text)) + text + data[8 + size :]


_KNOWN = (
    (b"\x89PNG", "png", _png),
    (b"\xff\xd8", "jpeg", _jpeg),
    (b"II*\0", "tiff", _tiff),
    (b"MM\0*", "tiff", _tiff),
    (b"RIFF", "riff", _riff),
    (b"RIFX", "riff", _riff),
    (b"FORM", "iff", _riff),
    (b"OggS", "ogg", _ogg),
    (b"fLaC", "flac", _flac),
    (b"BM", "bmp", _bmp),
    (b"GIF8", "gif", _gif),
)
