"""The `model.bin` of CTranslate2, whole or in parts: named arrays of several types, read as float32 and written.

Source: CTranslate2, specs/model_spec.py (`_serialize`, `_quantize`). All numbers are little-endian:

    version u32 | string spec | revision u32 | count u32 | variables | count u32 | aliases
    variable: string name | rank u8 | dims u32 each | type u8 | bytes u32 | data
    alias: string name | string of the variable it stands for
    string: length u16, with its NUL | bytes | NUL
"""

import math
import mmap
import re
import struct
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import torch
from torch import Tensor

from ..errors import ModelError, reading

WEIGHTS = "model.bin"
_VERSION = 6
_TYPES = (torch.float32, torch.int8, torch.int16, torch.int32, torch.float16, torch.bfloat16)  # by their number
_SCALE = "_scale"  # of `weight_scale`, which belongs to `weight`
_PART = re.compile(rf"{re.escape(WEIGHTS)}[.-](part)?[._-]?([0-9]{{1,5}}(-of-[0-9]{{1,5}})?|[a-z]{{1,3}})")
_LONGEST = (1 << 32) - 1  # bytes of an array, for their number is a u32


@dataclass(frozen=True)
class Variables:
    """What the file holds."""

    spec: str
    """The kind of model, such as "WhisperSpec"."""

    revision: int
    """The version of that kind."""

    arrays: Mapping[str, Tensor]
    """The arrays by name, when read also by their aliases: two of the same values are written once. Floating and
    quantized ones are read as float32, the quantized ones divided by their scales, which are left out. Other integers
    are as they were."""

    aliases: Mapping[str, str]
    """Further names, and the array that each stands for."""


def weight_files(directory: Path) -> list[Path]:
    """List the files of a directory that make up its `model.bin`, in order; none where it has none.

    A file that was cut for a store with a limit lies in parts, such as `model.bin.part1` and `model.bin.part2`, or
    `model.bin.aa` and `model.bin.ab`: they are one file when read one after the other. Their numbers count as numbers.
    """
    whole = directory / WEIGHTS
    if whole.is_file():
        return [whole]
    parts = (path for path in directory.iterdir() if _PART.fullmatch(path.name) and path.is_file())
    return sorted(parts, key=lambda path: [(len(run), run) for run in re.findall(r"\d+|\D+", path.name)])


def read_variables(paths: Sequence[Path]) -> Variables:
    """Read a file, or one that is cut into parts.

    Args:
        paths: The file, or its parts in order, as `weight_files` gives them.

    Raises:
        ModelError: It is missing, damaged, incomplete, or of another kind.
    """
    path = paths[0] if len(paths) == 1 else paths[0].with_name(WEIGHTS)
    name = f"`{path}`" if len(paths) == 1 else f"`{path}` in {len(paths)} parts ({', '.join(p.name for p in paths)})"
    with reading(name, "a model.bin of CTranslate2", mend="Download or convert it again.", error=ModelError):
        with ExitStack() as opened:
            files = [opened.enter_context(part.open("rb")) for part in paths]
            maps = [mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) for file in files]
            reader = _Reader([opened.enter_context(part) for part in maps])
            version = reader.number("I")
            if version != _VERSION:
                raise ValueError(f"its version is {version}, where {_VERSION} is known")
            spec, revision = reader.string(), reader.number("I")
            stored = dict(reader.variable() for _ in range(reader.number("I")))
            aliases = {reader.string(): reader.string() for _ in range(reader.number("I"))}
            if unknown := [name for name, of in aliases.items() if of not in stored or name in stored]:
                raise ValueError(f"its alias {unknown[0]} stands for nothing")
    scales = {name: stored[of] for name, of in aliases.items() if name.endswith(_SCALE)}
    arrays = _dequantized({**stored, **scales}, path)
    return Variables(
        spec, revision, {**arrays, **{name: arrays[of] for name, of in aliases.items() if of in arrays}}, aliases
    )


def write_variables(path: Path, variables: Variables) -> None:
    """Write a file. The arrays are written in the types that they have.

    Raises:
        ModelError: An array is larger than the format can say.
    """
    with path.open("wb") as file:

        def string(text: str) -> bytes:
            data = text.encode()
            return struct.pack("<H", len(data) + 1) + data + b"\0"

        file.write(struct.pack("<I", _VERSION) + string(variables.spec) + struct.pack("<I", variables.revision))
        file.write(struct.pack("<I", len(variables.arrays)))
        for name, array in variables.arrays.items():
            kept = array.detach().cpu().contiguous()
            data = kept.reshape(-1).view(torch.uint8).numpy()
            if data.nbytes > _LONGEST:
                raise ModelError(
                    f"{name} must have less than 4 GiB in this layout, but has {data.nbytes} bytes instead"
                )
            head = struct.pack(f"<B{kept.ndim}IBI", kept.ndim, *kept.shape, _TYPES.index(kept.dtype), data.nbytes)
            file.write(string(name) + head)
            file.write(data.tobytes())
        file.write(struct.pack("<I", len(variables.aliases)))
        for name, of in variables.aliases.items():
            file.write(string(name) + string(of))


class _Reader:
    """Reads from a position on, across parts. What the numbers in the file ask for is checked against what is there."""

    def __init__(self, parts: Sequence[mmap.mmap]) -> None:
        self._parts, self._at = parts, 0
        self._ends = list(accumulate(map(len, parts)))

    def number(self, kind: str) -> int:
        return int(struct.unpack("<" + kind, self._take(struct.calcsize("<" + kind)))[0])

    def string(self) -> str:
        return self._take(self.number("H")).rstrip(b"\0").decode()

    def variable(self) -> tuple[str, Tensor]:
        name = self.string()
        shape = [self.number("I") for _ in range(self.number("B"))]
        kind, size = self.number("B"), self.number("I")
        if kind >= len(_TYPES):
            raise ValueError(f"{name} is of the type {kind}, which is not known")
        dtype = _TYPES[kind]
        if math.prod(shape) * dtype.itemsize != size:
            raise ValueError(f"{name} has the shape {shape} and {size} bytes")
        data = self._take(size)
        # a copy: the file is memory-mapped, and is closed
        return name, torch.frombuffer(bytearray(data), dtype=dtype).reshape(shape) if size else torch.zeros(shape)

    def _take(self, count: int) -> bytes:
        end = self._at + count
        if end > self._ends[-1]:
            raise ValueError(f"it ends after {self._ends[-1]} bytes, where {end} are needed")
        found = b"".join(
            part[max(0, self._at - start) : end - start]
            for part, start in zip(self._parts, (0, *self._ends), strict=False)
            if self._at < start + len(part) and start < end
        )
        self._at = end
        return found


def _dequantized(stored: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    arrays = {}
    for name, array in stored.items():
        if name.endswith(_SCALE) and name.removesuffix(_SCALE) in stored:
            continue
        if array.is_floating_point():
            array = array.float()
        elif (scale := stored.get(name + _SCALE)) is not None:
            rows = scale.float().reshape(-1, *[1] * (array.ndim - 1)) if scale.ndim else scale.float()
            if scale.ndim and (array.ndim == 0 or len(scale) != len(array)):
                raise ModelError(f"`{path}`: {name}{_SCALE} must have one number a row, but has {list(scale.shape)}.")
            array = array.float() / rows
        arrays[name] = array
    return arrays
