"""The index of a folder of shards: what it holds, so that no shard is read before it is its turn.

OUT/index.json              the task, the labels, and of each split its shards, items and seconds
OUT/train/metadata.jsonl    a row for each sample, as in a folder of files; `file_name` says where it lies in a shard
OUT/train/000000.tar
"""

import math
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import InputError
from ...inputs.files import Kind, is_web_address
from ...text_files import read_json_file
from ..packed import Pairs
from .store import ShardFiles, ShardStore, fetch, temporary_folder

INDEX = "index.json"
FORMAT = "multiattn shards"
VERSION = 1

_TEXTS = Kind("shards' index", frozenset({".json", ".jsonl"}), 64 << 30)
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_MOST = 1_000_000  # shards
_FIRST = 1000  # files
_HEAD = 256  # bytes of an index that say that it is one


@dataclass(frozen=True)
class ShardIndex:
    """What a folder of shards holds."""

    root: Path
    """The folder with the metadata of each split, on this machine."""

    task: str

    splits: dict[str, dict[str, Any]]
    """Of each split: `items`, `shards` (of each `name`, `items` and `bytes`), and `seconds` of recordings."""

    addresses: dict[str, str]
    """The path or address of each shard that is not beside its metadata, by the path that it would have there."""

    @property
    def is_remote(self) -> bool:
        """Whether the shards are at a web address."""
        return any(map(is_web_address, self.addresses.values()))


def find_index(root: str) -> ShardIndex | None:
    """Read the index of shards.

    Args:
        root: A folder or a web address that has an index; or the paths of shards in it,
            `OUT/{split}/{000000..000099}.tar`, to use these only.

    Returns:
        None for a folder that has no shards.

    Raises:
        InputError: There are shards without an index, or it cannot be read.
    """
    base, names = root.rstrip("/"), None
    if "/{split}/" in root:
        base, _, pattern = root.partition("/{split}/")
        names = frozenset(expand(pattern))
    if not is_web_address(base):
        folder = Path(base)
        if not (folder / INDEX).is_file():
            if names is None and not _has_shards(folder):
                return None
            raise InputError(
                f"{folder}: there are shards, but there is no {INDEX} that tells what is in them. Make it: "
                f"`multiattn shard {folder}`."
            )
        task, splits = _read(folder / INDEX, str(folder / INDEX))
        if names is None:
            return ShardIndex(folder, task, splits, {})
    # the metadata of what is elsewhere, or of a part, is copied
    copy = temporary_folder()
    if is_web_address(base):
        fetch(f"{base}/{INDEX}", copy / INDEX, kind=_TEXTS)
        task, splits = _read(copy / INDEX, f"{base}/{INDEX}")
    found: dict[str, dict[str, Any]] = {}
    addresses: dict[str, str] = {}
    for split, content in splits.items():
        shards = [shard for shard in content["shards"] if names is None or shard["name"] in names]
        if not shards:
            continue
        (copy / split).mkdir()
        target = copy / split / "metadata.jsonl"
        if is_web_address(base):
            fetch(f"{base}/{split}/metadata.jsonl", target, kind=_TEXTS)
        else:
            shutil.copyfile(f"{base}/{split}/metadata.jsonl", target)
        if len(shards) < len(content["shards"]):
            _keep_only(target, {shard["name"] for shard in shards})
        found[split] = content | {"shards": shards, "items": sum(shard["items"] for shard in shards)}
        addresses |= {str(copy / split / shard["name"]): f"{base}/{split}/{shard['name']}" for shard in shards}
    if not found:
        raise InputError(f"`{root}` must name shards that {base}/{INDEX} lists, but names none of them instead.")
    return ShardIndex(copy, task, found, addresses)


def expand(pattern: str) -> Iterator[str]:
    """The names that a pattern stands for: `a{08..10}.tar` for a08.tar, a09.tar and a10.tar.

    Raises:
        InputError: A range falls, or there are too many names.
    """
    found = _RANGE.search(pattern)
    if found is None:
        yield pattern
        return
    first, last = int(found[1]), int(found[2])
    if not first <= last < first + _MOST:
        raise InputError(
            f"`{pattern}` must have rising ranges, such as {{000000..000099}}, but has {found[0]} instead."
        )
    for number in range(first, last + 1):
        yield from expand(f"{pattern[: found.start()]}{number:0{len(found[1])}}{pattern[found.end() :]}")


def shards_in(folder: Path) -> list[Path] | None:
    """The shards of a folder that has an index, or of one split in such a folder, in order.

    Returns:
        None for a folder that no index of ours tells of.

    Raises:
        InputError: The index cannot be read.
    """
    for root, only in ((folder, None), (folder.parent, folder.name)):
        with suppress(OSError), (root / INDEX).open("rb") as file:
            if f'"{FORMAT}"'.encode() in file.read(_HEAD):
                _, splits = _read(root / INDEX, str(root / INDEX))
                if only is None or only in splits:
                    chosen = {split: splits[split] for split in splits if only in (None, split)}
                    return [root / split / shard["name"] for split, of in chosen.items() for shard in of["shards"]]
    return None


def in_shards(records: Any, indices: Sequence[ShardIndex], *, reach: int) -> Any:
    """Let the files of records be opened in the shards where they lie.

    Args:
        records: Of any task, read from the folders of the indices.
        indices: The indices.
        reach: How many files lie between two that are read one after the other, at most: so many fetched shards are
            kept at a time that these are among them.
    """
    items = records.items
    addresses = {shard: address for index in indices for shard, address in index.addresses.items()}
    count = len(np.unique(items.files.folders.codes.values))
    keep = 4 + 2 * math.ceil(reach * count / max(1, len(items)))
    return replace(records, items=Pairs(ShardFiles(items.files, ShardStore(addresses, keep=keep)), items.labels))


def _has_shards(root: Path) -> bool:
    """Whether a folder has tar files among the first files of a split."""
    if not root.is_dir():
        return False
    for split in root.iterdir():
        if split.is_dir():
            with os.scandir(split) as entries:
                if any(entry.name.endswith(".tar") for entry in islice(entries, _FIRST)):
                    return True
    return False


def _read(file: Path, name: str) -> tuple[str, dict[str, dict[str, Any]]]:
    """Task and splits of an index."""
    content = read_json_file(file)
    if not isinstance(content, dict) or content.get("format") != FORMAT or content.get("version") != VERSION:
        raise InputError(
            f"{name}: this must be the index of shards, in version {VERSION}, but is something else instead. Make it "
            "anew: `multiattn shard FOLDER`."
        )
    task, splits = content.get("task"), content.get("splits")
    if not isinstance(task, str) or not isinstance(splits, dict) or not all(map(_is_split, splits.values())):
        raise InputError(f"{name}: the index of shards is not whole. Make it anew: `multiattn shard FOLDER`.")
    return task, splits


def _is_split(content: Any) -> bool:
    shards = content.get("shards") if isinstance(content, dict) else None
    return isinstance(shards, list) and all(
        isinstance(shard, dict) and isinstance(shard.get("name"), str) and isinstance(shard.get("items"), int)
        for shard in shards
    )


def _keep_only(metadata: Path, names: set[str]) -> None:
    """Leave the rows of some shards."""
    lines = metadata.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if line.partition('"file_name": "')[2].partition("/")[0] in names]
    metadata.write_text("".join(kept), encoding="utf-8")
