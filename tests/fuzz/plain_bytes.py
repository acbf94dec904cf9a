"""Changes that fit any file: bits, bytes, pieces, and numbers in binary."""

import struct
from collections.abc import Callable
from random import Random

Change = Callable[[bytes, Random], bytes]

INTERESTING = (
    *(0, 1, 2, 3, 7, 8, 15, 16, 31, 32, 64, 100, 127, 128, 255, 256, 1000, 4096, 32767, 32768, 65535, 65536),
    *(999_983, 16_777_216, 2**30, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1, 2**40, 2**53, 2**62, 2**63 - 1, 2**64 - 1),
)
"""Numbers at which readers go wrong; -1 is 255, 65535, 2**32 - 1 and 2**64 - 1."""

_HEAD = 512  # most of what sizes anything stands in the first bytes


def position(data: bytes, random: Random) -> int:
    """A place in the file, more often in its head."""
    if not data:
        return 0
    reach = random.choice((16, 64, _HEAD, len(data), len(data)))
    return random.randrange(min(reach, len(data)))


def flip_bits(data: bytes, random: Random) -> bytes:
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 5, 30)) if data else 0):
        changed[position(data, random)] ^= 1 << random.randrange(8)
    return bytes(changed)


def set_bytes(data: bytes, random: Random) -> bytes:
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 5, 30)) if data else 0):
        changed[position(data, random)] = random.choice((0, 1, 127, 128, 254, 255, random.randrange(256)))
    return bytes(changed)


def truncate(data: bytes, random: Random) -> bytes:
    return data[: random.choice((position(data, random), random.randrange(len(data) + 1), max(0, len(data) - 1)))]


def piece(data: bytes, random: Random) -> tuple[int, int]:
    """Start and end of a piece of the file."""
    start = position(data, random)
    return start, min(len(data), start + random.choice((1, 2, 4, 16, 100, len(data) // 3 + 1)))


def remove(data: bytes, random: Random) -> bytes:
    start, end = piece(data, random)
    return data[:start] + data[end:]


def repeat(data: bytes, random: Random) -> bytes:
    start, end = piece(data, random)
    return data[:end] + data[start:end] * random.choice((1, 1, 2, 50)) + data[end:]


def insert(data: bytes, random: Random) -> bytes:
    at = position(data, random)
    return (
        data[:at] + random.choice((b"\0", b"\xff", b"\n", random.randbytes(7))) * random.choice((1, 4, 99)) + data[at:]
    )


def swap(data: bytes, random: Random) -> bytes:
    one, other = sorted((piece(data, random), piece(data, random)))
    if other[0] < one[1]:
        return remove(data, random)
    return data[: one[0]] + data[slice(*other)] + data[one[1] : other[0]] + data[slice(*one)] + data[other[1] :]


def overwrite(data: bytes, random: Random) -> bytes:
    start, end = piece(data, random)
    return data[:start] + random.choice((bytes, random.randbytes, lambda n: b"\xff" * n))(end - start) + data[end:]


def set_number(data: bytes, random: Random) -> bytes:
    """A binary integer is set to an interesting one."""
    at, width = position(data, random), random.choice((1, 2, 4, 4, 8))
    if random.random() < 0.7:
        at -= at % width
    value = number(random) % 256**width
    return data[:at] + value.to_bytes(width, random.choice(("little", "big"))) + data[at + width :]


def set_float(data: bytes, random: Random) -> bytes:
    """A binary float is set to one that is not finite, or very large or small."""
    at, value = position(data, random), random.choice((float("nan"), float("inf"), -float("inf"), 3e38, 1e-45, -0.0))
    packed = struct.pack(random.choice("<>") + random.choice("fd"), value)
    return data[:at] + packed + data[at + len(packed) :]


def append(data: bytes, random: Random) -> bytes:
    return data + random.choice((data, b"\0" * 4096, random.randbytes(99), b"\n"))


def number(random: Random) -> int:
    """An interesting number, or one beside it."""
    return max(0, random.choice(INTERESTING) + random.choice((0, 0, 0, -1, 1)))


CHANGES: tuple[Change, ...] = (
    *(flip_bits, set_bytes, truncate, remove, repeat, insert, swap, overwrite),
    *(set_number, set_number, set_float, append),
)
