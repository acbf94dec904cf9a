"""Sequences whose items are made when they are asked for: names, texts and numbers lie in a few arrays.

A list of a million paths is a million objects, which each worker process copies as soon as it looks at them. These
arrays hold no object for an item, and all processes share their memory.
"""

import os
from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar, overload

import numpy as np

T = TypeVar("T")
S = TypeVar("S")


class SharedArray:
    """An array that other processes share: a forked one inherits it, one that is spawned maps the same memory."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values
        self._tensor: Any = None

    def __len__(self) -> int:
        return len(self.values)

    def __getstate__(self) -> Any:
        import torch  # whose pickling passes the memory on; needed only here

        if self._tensor is None:
            own: Any = torch.from_numpy(self.values)
            self._tensor = own.share_memory_()
            self.values = self._tensor.numpy()
        return self._tensor

    def __setstate__(self, tensor: Any) -> None:
        self._tensor, self.values = tensor, tensor.numpy()


class Packed(Sequence[T], ABC):
    """A sequence whose items are made on access. A part of it (`[2:7]`) is one, too; it equals any with its items."""

    @abstractmethod
    def at(self, index: int) -> T:
        """Make the item at an index from 0 on."""

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> "Packed[T]": ...
    def __getitem__(self, index: int | slice) -> "T | Packed[T]":
        if isinstance(index, slice):
            return Chosen(self, range(*index.indices(len(self))))
        if not -len(self) <= index < len(self):
            raise IndexError(f"there are {len(self)} items, and none at {index}")
        return self.at(index % len(self))

    def __iter__(self) -> Iterator[T]:
        return map(self.at, range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(one == two for one, two in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]


class Chosen(Packed[T]):
    """Some items of a sequence, in any order."""

    def __init__(self, items: Sequence[T], indices: Sequence[int]) -> None:
        """Choose.

        Args:
            items: The sequence.
            indices: The index of each item.
        """
        self.items = items
        self._indices = indices if isinstance(indices, range) else SharedArray(np.asarray(indices, np.int64))

    def __len__(self) -> int:
        return len(self._indices)

    def at(self, index: int) -> T:
        """See `Packed`."""
        indices = self._indices
        return self.items[indices[index] if isinstance(indices, range) else int(indices.values[index])]

    @property
    def indices(self) -> np.ndarray:
        """The index of each item in the sequence."""
        return np.asarray(self._indices) if isinstance(self._indices, range) else self._indices.values


class Numbers(Packed[Any]):
    """Whole numbers, or others."""

    def __init__(self, values: "np.ndarray | array[int] | array[float]") -> None:
        self._values = SharedArray(np.asarray(values))

    def __len__(self) -> int:
        return len(self._values)

    def at(self, index: int) -> Any:
        """See `Packed`."""
        return self._values.values[index].item()

    @property
    def values(self) -> np.ndarray:
        """All of them."""
        return self._values.values


def narrowed(ends: np.ndarray) -> np.ndarray:
    """Rising whole numbers, in 4 bytes each where that is enough."""
    return ends.astype(np.int32 if ends[-1] < 1 << 31 else np.int64)


def text_of(data: bytes) -> str:
    """The text that `bytes_of` has encoded."""
    return data.decode("utf-8", "surrogatepass")


def bytes_of(text: str) -> bytes:
    """A text or a file's name as UTF-8; halves of surrogate pairs, which stand for bytes of a name, are kept."""
    return text.encode("utf-8", "surrogatepass")


class Rows(Packed[T]):
    """Items that are made of bytes, such as texts."""

    def __init__(self, data: "np.ndarray | bytearray", ends: np.ndarray, decode: Callable[[bytes], T]) -> None:
        """Keep the bytes.

        Args:
            data: The bytes of all items, one after the other.
            ends: 0, and the end of each item in `data`.
            decode: Makes an item of its bytes.
        """
        found = np.frombuffer(data, np.uint8) if isinstance(data, bytearray) else data
        self.data, self.ends = SharedArray(found), SharedArray(narrowed(ends))
        self._decode = decode

    def __len__(self) -> int:
        return len(self.ends) - 1

    def at(self, index: int) -> T:
        """See `Packed`."""
        ends = self.ends.values
        return self._decode(self.data.values[ends[index] : ends[index + 1]].tobytes())

    def ordered(self, order: np.ndarray) -> "Rows[T]":
        """The items in another order."""
        ends = self.ends.values.astype(np.int64)
        lengths = np.diff(ends)[order]
        data = bytearray()
        for index in order:
            data += self.data.values[ends[index] : ends[index + 1]].tobytes()
        return Rows(data, np.cumsum([0, *lengths]), self._decode)


class RowsBuilder(Generic[T]):
    """Collects the bytes of `Rows`."""

    def __init__(self, decode: Callable[[bytes], T]) -> None:
        self._decode, self._data, self._lengths = decode, bytearray(), array("q", [0])

    def add(self, data: bytes) -> None:
        """Add an item."""
        self._data += data
        self._lengths.append(len(data))

    def build(self) -> Rows[T]:
        """All items."""
        return Rows(self._data, np.cumsum(np.asarray(self._lengths)), self._decode)


def packed_texts(texts: Iterable[str]) -> Rows[str]:
    """Pack texts."""
    builder = RowsBuilder(text_of)
    for text in texts:
        builder.add(bytes_of(text))
    return builder.build()


class Names(Packed[str]):
    """Names of which many are the same, such as those of speakers: each different one is kept once."""

    def __init__(self, codes: Numbers, different: Rows[str]) -> None:
        self.codes, self._different = codes, different

    def __len__(self) -> int:
        return len(self.codes)

    def at(self, index: int) -> str:
        """See `Packed`."""
        return self._different.at(self.codes.at(index))


class NamesBuilder:
    """Collects `Names`."""

    def __init__(self) -> None:
        self._codes, self._known = array("i"), dict[str, int]()

    def add(self, name: str) -> None:
        """Add a name."""
        self._codes.append(self._known.setdefault(name, len(self._known)))

    def build(self) -> Names:
        """All names."""
        return Names(Numbers(self._codes), packed_texts(self._known))


class Paths(Packed[Path]):
    """Paths, by their folders, each of which is kept once, and their names."""

    def __init__(self, folders: Names, names: Rows[str]) -> None:
        self.folders, self._names = folders, names

    def __len__(self) -> int:
        return len(self._names)

    def at(self, index: int) -> Path:
        """See `Packed`."""
        return Path(self.folders.at(index), self._names.at(index))


class PathsBuilder:
    """Collects `Paths`."""

    def __init__(self) -> None:
        self._folders, self._names = NamesBuilder(), RowsBuilder(text_of)

    def add(self, path: Path) -> None:
        """Add a path."""
        folder, name = os.path.split(path)
        self._folders.add(folder)
        self._names.add(bytes_of(name))

    def build(self) -> Paths:
        """All paths."""
        return Paths(self._folders.build(), self._names.build())


class Groups(Packed[tuple[T, ...]]):
    """Items of several parts each, such as the captions of a picture."""

    def __init__(self, parts: Sequence[T], first: Numbers) -> None:
        """Divide the parts.

        Args:
            parts: Those of all items.
            first: The first part of each item; then the number of parts.
        """
        self.parts, self.first = parts, first

    def __len__(self) -> int:
        return len(self.first) - 1

    def at(self, index: int) -> tuple[T, ...]:
        """See `Packed`."""
        return tuple(self.parts[part] for part in range(self.first.at(index), self.first.at(index + 1)))


class Pairs(Packed[tuple[S, T]]):
    """Files with what is known of each."""

    def __init__(self, files: Sequence[S], labels: Sequence[T]) -> None:
        self.files, self.labels = files, labels

    def __len__(self) -> int:
        return len(self.files)

    def at(self, index: int) -> tuple[S, T]:
        """See `Packed`."""
        return self.files[index], self.labels[index]


def grouped(rows: Iterable[tuple[Path, bytes]], decode: Callable[[bytes], T]) -> Pairs[Path, tuple[T, ...]]:
    """Join the rows of each file.

    Args:
        rows: Of each, its file and its bytes.
        decode: Makes a part of an item of its bytes.

    Returns:
        The files in the order in which they come first, with the parts of each in the order of the rows.
    """
    files, parts, item_of = PathsBuilder(), RowsBuilder(decode), array("q")
    known: dict[str, int] = {}
    for path, data in rows:
        new = len(known)
        item = known.setdefault(str(path), new)
        if item == new:
            files.add(path)
        item_of.append(item)
        parts.add(data)
    items = np.asarray(item_of)
    packed = parts.build()
    if len(items) and (np.diff(items) < 0).any():
        packed = packed.ordered(np.argsort(items, kind="stable"))
    first = np.cumsum([0, *np.bincount(items, minlength=len(known))])
    return Pairs(files.build(), Groups(packed, Numbers(narrowed(first))))


def packed_groups(groups: Iterable[Iterable[bytes]], decode: Callable[[bytes], T]) -> Groups[T]:
    """Pack items of several parts each; `decode` makes a part of its bytes."""
    parts, counts = RowsBuilder(decode), [0]
    for group in groups:
        counts.append(0)
        for data in group:
            parts.add(data)
            counts[-1] += 1
    return Groups(parts.build(), Numbers(narrowed(np.cumsum(counts))))
