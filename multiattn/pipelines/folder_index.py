"""The embeddings of a folder's pictures, kept in a cache, and the search among them: exact, by cosine, in blocks.

The cache of a folder and a model is a pair of files. The index, JSON lines, states the model and has each picture's
size and time of change; the vectors, one row of float32 for each picture that could be used, are read through a memory
map, so that a search takes no more memory for a million pictures than for a thousand.

Notation: p pictures, D width.
"""

import hashlib
import json
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from jaxtyping import Float, Float32

from ..errors import ModelError
from ..writing import whole_file
from .embedding import Embedding
from .results import Failure

BLOCK = 1 << 16
"""Rows that are compared at once: 128 MB at a width of 512."""


class Hit(NamedTuple):
    """A picture that was found."""

    file: str
    score: float
    """The cosine of its embedding and the query's, -1 to 1."""


class Entry(NamedTuple):
    """What the index knows of a picture."""

    size: int
    """Bytes of the file."""

    changed: int
    """When it was changed, in nanoseconds."""

    row: int | None
    """The row of its vector; None where it could not be used."""


@dataclass(frozen=True)
class Update:
    """What a renewal of an index did."""

    kept: int = 0
    """Pictures whose vectors were there already."""

    new: int = 0
    """Pictures that were embedded for the first time."""

    changed: int = 0
    """Pictures that were embedded again, as their files have changed."""

    gone: int = 0
    """Pictures that are no longer there."""

    failures: tuple[Failure, ...] = ()
    """Pictures that cannot be used."""

    other_model: bool = False
    """Whether the index was of another model, so that nothing of it could be kept."""

    @property
    def is_stale(self) -> bool:
        """Whether an index was there that was no longer true."""
        return bool(self.changed or self.gone or self.other_model)


@dataclass
class _Rest:
    """What an update counts as it goes."""

    kept: int = 0
    new: int = 0
    changed: int = 0
    failures: list[Failure] = field(default_factory=list)


class FolderIndex:
    """The vectors of the pictures of one folder by one model.

    Args:
        folder: The folder.
        cache: The folder for indices, which is made where it is missing.
        model: The name of the model, as it was asked for.
        fingerprint: Changes with the model's files; see `fingerprint_of`.
    """

    def __init__(self, folder: str | Path, cache: Path, *, model: str, fingerprint: str) -> None:
        self.folder = Path(folder).resolve()
        key = hashlib.sha256(f"{self.folder}\0{model}".encode("utf-8", "surrogateescape")).hexdigest()[:24]
        self.path = cache / f"{key}.jsonl"
        """The index; the vectors are beside it."""
        self._about = {"format": "multiattn-search", "folder": str(self.folder), "model": model, "files": fingerprint}
        self._head: dict[str, Any] = {}
        self._entries: dict[str, Entry] = {}
        self._has_other_model = False
        self._read()

    def _read(self) -> None:
        """Read the index; one that is damaged or of another model counts as none."""
        try:
            with self.path.open(encoding="utf-8", errors="surrogateescape") as lines:
                head = json.loads(next(lines))
                if any(head[name] != value for name, value in self._about.items()):
                    self._has_other_model = head.get("files") != self._about["files"]
                    return
                found = {name: Entry(size, changed, row) for name, size, changed, row in map(json.loads, lines)}
            width, rows = int(head["width"]), int(head["rows"])
            if (self.path.parent / head["vectors"]).stat().st_size != 4 * width * rows:
                return
        except (OSError, ValueError, LookupError, TypeError, StopIteration):
            return
        self._head, self._entries = head, found

    @property
    def count(self) -> int:
        """The number of pictures that have a vector."""
        return int(self._head.get("rows", 0))

    def renew(self, files: Iterable[Path], embed: Callable[[Iterable[Path]], Iterator[Embedding | Failure]]) -> Update:
        """Embed the pictures that are new or changed, and forget those that are gone.

        Interrupted, it keeps what is finished.

        Args:
            files: All pictures of the folder, in order.
            embed: Gives the embeddings of pictures, in order, each of length 1.

        Raises:
            OSError: The cache cannot be written.
        """
        found: list[tuple[Path, str, Entry]] = []
        for file in files:
            with suppress(OSError):  # it has gone since the search
                stat = file.stat()
                found.append((file, str(file), Entry(stat.st_size, stat.st_mtime_ns, None)))
        names = {name for _, name, _ in found}
        gone = sum(name not in names for name in self._entries)
        todo = [file for file, name, now in found if not self._is_known(name, now)]
        count = _Rest()
        if todo or gone or not self._head:
            self._write(found, embed(iter(todo)), count)
        else:
            count.kept = len(found)
        return Update(count.kept, count.new, count.changed, gone, tuple(count.failures), self._has_other_model)

    def _is_known(self, name: str, now: Entry) -> bool:
        """Whether a picture has a vector that is still true; one that could not be used is tried again."""
        known = self._entries.get(name)
        return known is not None and known.row is not None and known[:2] == now[:2]

    def _write(
        self, found: Sequence[tuple[Path, str, Entry]], results: Iterator[Embedding | Failure], count: _Rest
    ) -> None:
        """Write the index anew: old rows are copied, and others taken from the results."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        before = self._vectors()
        name = f"{self.path.stem}-{secrets.token_hex(4)}.f32"
        entries: dict[str, Entry] = {}
        state = {"rows": 0, "width": self._head.get("width", 0)}
        try:
            with (self.path.parent / name).open("wb") as vectors:
                try:
                    for _, file, now in found:
                        row = self._next(vectors, before, file, now, results, count, state)
                        entries[file] = now._replace(row=row)
                except KeyboardInterrupt:
                    for _, file, now in found[len(entries) :]:  # what the rest had is still true
                        if before is not None and self._is_known(file, now):
                            row = _append(vectors, before[self._entries[file].row], state)
                            entries[file] = now._replace(row=row)
                    vectors.flush()
                    self._replace(name, entries, state)
                    raise
            self._replace(name, entries, state)
        except BaseException:
            if self._head.get("vectors") != name:
                (self.path.parent / name).unlink(missing_ok=True)
            raise

    def _next(
        self,
        vectors: BinaryIO,
        before: "Float32[np.ndarray, 'p D'] | None",
        file: str,
        now: Entry,
        results: Iterator[Embedding | Failure],
        count: _Rest,
        state: dict[str, int],
    ) -> int | None:
        """Write the vector of the next picture; return its row, or None where it cannot be used."""
        if before is not None and self._is_known(file, now):
            count.kept += 1
            return _append(vectors, before[self._entries[file].row], state)
        result = next(results)
        if isinstance(result, Failure):
            count.failures.append(result)
            return None
        count.changed += file in self._entries
        count.new += file not in self._entries
        return _append(vectors, result.values, state)

    def _replace(self, vectors: str, entries: Mapping[str, Entry], state: Mapping[str, int]) -> None:
        """Give the index its new content, and remove the vectors of old ones."""
        head: dict[str, Any] = {**self._about, "vectors": vectors, **state}
        with whole_file(self.path) as part, part.open("w", encoding="utf-8", errors="surrogateescape") as lines:
            lines.write(json.dumps(head, ensure_ascii=False) + "\n")
            for file, entry in entries.items():
                lines.write(json.dumps([file, *entry], ensure_ascii=False) + "\n")
        self._head, self._entries = head, dict(entries)
        for old in self.path.parent.glob(f"{self.path.stem}-*.f32"):
            if old.name != vectors:
                with suppress(OSError):
                    old.unlink()

    def _vectors(self) -> "Float32[np.ndarray, 'p D'] | None":
        if not self.count:
            return None
        shape = (self.count, int(self._head["width"]))
        return np.memmap(self.path.parent / self._head["vectors"], dtype="<f4", mode="r", shape=shape)

    def search(self, query: Float[np.ndarray, " D"], top_k: int, *, block: int = BLOCK) -> list[Hit]:
        """Return the pictures that are most similar to a vector, the best first; of equal ones, those that come first.

        Args:
            query: The vector, of any length but 0.
            top_k: The most pictures to return.
            block: Rows that are compared at once.

        Raises:
            ModelError: The vector is of another width.
        """
        vectors = self._vectors()
        if vectors is None:
            return []
        if query.shape != vectors.shape[1:]:
            raise ModelError(
                f"`query` must be a vector of {vectors.shape[1]} numbers, as the index has them, but is of "
                f"{query.shape} instead"
            )
        unit = query.astype(np.float32) / max(float(np.linalg.norm(query)), 1e-12)
        rows, scores = np.zeros(0, np.int64), np.zeros(0, np.float32)
        for start in range(0, len(vectors), block):
            part = np.asarray(vectors[start : start + block]) @ unit
            rows = np.concatenate([rows, np.arange(start, start + len(part))])
            scores = np.concatenate([scores, part])
            best = np.argsort(-scores, kind="stable")[:top_k]
            rows, scores = rows[best], scores[best]
        by_row = {entry.row: file for file, entry in self._entries.items() if entry.row is not None}
        return [Hit(by_row[row], score) for row, score in zip(rows.tolist(), scores.tolist(), strict=True)]


def _append(vectors: BinaryIO, values: Float32[np.ndarray, " D"], state: dict[str, int]) -> int:
    vectors.write(np.asarray(values, dtype="<f4").tobytes())
    state["width"] = len(values)
    state["rows"] += 1
    return state["rows"] - 1


def fingerprint_of(directory: Path) -> str:
    """Return a digest of a model's files by their names, sizes and times of change, and of its `config.json`."""
    files = sorted(directory.iterdir()) if directory.is_dir() else [directory]
    facts = [(file.name, stat.st_size, stat.st_mtime_ns) for file in files if file.is_file() and (stat := file.stat())]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]
