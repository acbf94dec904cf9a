"""The records of an earlier run, as `--resume` needs them: a few bytes each, for there may be a hundred million."""

import json
from array import array
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .arguments import UsageError
from .records import Key, key_of

if TYPE_CHECKING:
    import numpy as np

_FAILURE, _DAMAGED, _GONE = 1, 2, 4


class Earlier:
    """The records of an earlier run: those of results, which are not computed again, and those of failures.

    Keys are told apart by their hashes of 64 bits: two of a million records are the same in one of 40 million runs.
    """

    def __init__(self) -> None:
        self._hashes = array("q")
        self._flags = bytearray()
        self._map_names: dict[int, list[str]] = {}
        self._next = [0, 0]  # behind the result and the failure that were found last: inputs come in the same order
        self._sorted: tuple[np.ndarray, np.ndarray] | None = None  # the hashes, and the numbers of their records

    @property
    def count(self) -> int:
        """The number of records."""
        return len(self._hashes)

    def add(self, record: Mapping[str, object] | None, *, source: str) -> None:
        """Add the next record, of the file or folder that `source` names for messages.

        Raises:
            UsageError: It is no record of ours, or None.
        """
        try:
            if record is None:
                raise ValueError("it is no record")
            maps: Any = record.get("maps")
            by_method = json.loads(maps) if isinstance(maps, str) and maps else maps
            if by_method:
                self._map_names[self.count] = [
                    Path(file).name.removesuffix(end)
                    for method, files in by_method.items()
                    for kind, file in files.items()
                    for end in ({"html": ".html", "compare": ".compare.html"}.get(kind, f".{method}.{kind}"),)
                ]
        except (AttributeError, TypeError, ValueError) as error:
            raise UsageError(
                f"--resume: --out {source} must hold results of this command, but record {self.count + 1} is none "
                "instead; give another file"
            ) from error
        self._hashes.append(hash(key_of(record)))
        self._flags.append((_FAILURE if record.get("error") else 0) | (_DAMAGED if record.get("damaged") else 0))

    def is_damaged(self, number: int) -> bool:
        """Return whether a record is of a damaged input."""
        return bool(self._flags[number] & _DAMAGED)

    def map_names(self, number: int) -> list[str]:
        """Return the names that the files with a record's maps begin with."""
        return self._map_names.get(number, [])

    def take(self, keys: Sequence[Key]) -> list[int] | None:
        """Return the numbers of the results for these keys, each once; None where one of them is missing."""
        taken: list[int] = []
        for key in keys:
            number = self._find(hash(key), 0)
            if number is None:
                for one in taken:
                    self._flags[one] &= ~_GONE
                self._next[0] = min([self._next[0], *taken])
                return None
            taken.append(number)
        return taken

    def replace(self, key: Key) -> None:
        """Forget the record of a failure, for which there is a new one."""
        self._find(hash(key), _FAILURE)

    def rest(self, *, failures: bool) -> list[int]:
        """Return the numbers of the records that were neither taken nor replaced, in order."""
        without = _GONE if failures else _GONE | _FAILURE
        return [number for number, flags in enumerate(self._flags) if not flags & without]

    def _find(self, key: int, kind: int) -> int | None:
        """Take the first record of a key that is there, and return its number; None where there is none."""
        for number in self._candidates(key, kind):
            if self._hashes[number] == key and self._is_there(number, kind):
                self._flags[number] |= _GONE
                self._next[kind] = number + 1
                return number
        return None

    def _candidates(self, key: int, kind: int) -> Iterator[int]:
        number = self._next[kind]
        while number < self.count and not self._is_there(number, kind):
            number += 1
        self._next[kind] = number
        if number < self.count:
            yield number
        yield from self._with_hash(key)

    def _is_there(self, number: int, kind: int) -> bool:
        return self._flags[number] & (_GONE | _FAILURE) == kind

    def _with_hash(self, key: int) -> Iterator[int]:
        """Yield the numbers of the records with a hash, in order."""
        import numpy as np

        if self._sorted is None:
            hashes = np.array(self._hashes, dtype=np.int64)
            numbers = np.argsort(hashes, kind="stable")
            self._sorted = hashes[numbers], numbers
        hashes, numbers = self._sorted
        place = int(np.searchsorted(hashes, key))
        while place < len(hashes) and hashes[place] == key:
            yield int(numbers[place])
            place += 1
