"""Changes of zip archives (npz, and the .pt and .pth of torch) that leave their checksums right."""

import io
import re
import struct
import warnings
import zipfile
from random import Random

from .plain_bytes import CHANGES, number

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


def changed_archive(data: bytes, random: Random) -> tuple[bytes, str] | None:
    """The archive with a member changed, or a record of the archive itself; None where it is none."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [(info.filename, archive.read(info), info.compress_type) for info in archive.infolist()]
    except Exception:  # changed before beyond recognition
        return None
    if not members:
        return None
    index = random.randrange(len(members))
    name, content, method = members[index]
    what = random.choice(
        ("content", "content", "content", "method", "drop", "twice", "rename", "record", "record", "bomb")
    )
    match what:
        case "content":
            content = _changed_content(content, random)
        case "method":
            method = random.choice(_METHODS)
        case "drop":
            members.pop(index)
        case "twice":
            members.append(members[index])
        case "rename":
            name = random.choice((f"{name}x", "../x", "values.npy", "values", "", "a/data.pkl", "é\n", name.upper()))
        case "bomb":
            content = content[:128] + bytes(random.choice((10**6, 5 * 10**7)))
            method = zipfile.ZIP_DEFLATED
    if what in ("content", "method", "rename", "bomb"):
        members[index] = name, content, method
    packed = _archive(members)
    return (_changed_record(packed, random) if what == "record" else packed), f"zip:{what}"


def _archive(members: list[tuple[str, bytes, int]]) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a name that is there twice
        for name, content, method in members:
            info = zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0))
            info.compress_type = method
            archive.writestr(info, content)
    return written.getvalue()


def with_same_id(data: bytes) -> bytes:
    """A file of torch with a fixed number and folder in place of those of each saving."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [
            ("archive/" + info.filename.partition("/")[2], archive.read(info), info.compress_type)
            for info in archive.infolist()
        ]
    fixed = [(name, b"0" * 40 if name.endswith("serialization_id") else content, how) for name, content, how in members]
    return _archive(fixed)


def _changed_record(data: bytes, random: Random) -> bytes:
    """A field of a local header, of the central directory or of its end."""
    fields = {
        b"PK\x03\x04": ((4, 2), (6, 2), (8, 2), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2)),
        b"PK\x01\x02": ((6, 2), (8, 2), (10, 2), (16, 4), (20, 4), (24, 4), (28, 2), (30, 2), (32, 2), (42, 4)),
        b"PK\x05\x06": ((4, 2), (8, 2), (10, 2), (12, 4), (16, 4), (20, 2)),
    }
    sign = random.choice(list(fields))
    where = random.choice([found.start() for found in re.finditer(re.escape(sign), data)])
    at, width = random.choice(fields[sign])
    value = random.choice((number(random), 12, 14, 93, 95, 99)) % 256**width
    return data[: where + at] + value.to_bytes(width, "little") + data[where + at + width :]


def _changed_content(content: bytes, random: Random) -> bytes:
    if content.startswith(b"\x93NUMPY") and random.random() < 0.7:
        return _changed_array(content, random)
    return random.choice(CHANGES)(content, random)


def _changed_array(content: bytes, random: Random) -> bytes:
    """Another header of an npy file: type, shape and order are Python text."""
    (size,) = struct.unpack("<H", content[8:10])
    header = content[10 : 10 + size].decode("latin1").strip()
    match random.choice(("descr", "shape", "order", "text", "values")):
        case "descr":
            kind = random.choice(("<f8", ">f4", "<f2", "|O", "<U9", "<c8", "|V4", "<i8", "|b1", "<M8[ns]", "<f16", "x"))
            header = re.sub(r"'descr': '[^']*'", f"'descr': '{kind}'", header)
        case "shape":
            sizes = ", ".join(str(random.choice((0, 1, 2, 3, -1, number(random)))) for _ in range(random.randrange(5)))
            header = re.sub(r"'shape': \([^)]*\)", f"'shape': ({sizes},)" if sizes else "'shape': ()", header)
        case "order":
            header = header.replace("False", random.choice(("True", "None", "0")))
        case "text":
            header = random.choice((header[:-3], "(" * 5000, header * 2, "{}", "{'descr': [('a', '<f4')] * 9}", ""))
        case "values":
            at = 10 + size + 4 * random.randrange(max(1, (len(content) - 10 - size) // 4))
            value = struct.pack("<f", random.choice((float("nan"), float("inf"), 3e38, -3e38, 1e-45)))
            return content[:at] + value + content[at + 4 :]
    packed = header.encode("latin1")
    packed += b" " * (-(len(packed) + 11) % 64) + b"\n"
    return content[:8] + struct.pack("<H", len(packed)) + packed + content[10 + size :]
