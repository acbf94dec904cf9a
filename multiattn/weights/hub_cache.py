"""The local cache of the Hugging Face Hub, read without the Hub: what lies in it, and where.

    CACHE/models--OWNER--NAME/refs/main                a commit
    CACHE/models--OWNER--NAME/snapshots/COMMIT/...     its files, mostly links to blobs/

faster-whisper's models lie there in the same way, as `models--Systran--faster-whisper-tiny.en`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from .bundle import CONFIG

_START = "models--"


class CachedModel(NamedTuple):
    """A model in the cache."""

    name: str
    """Its hub id."""

    directory: Path
    """The snapshot: of the main branch, or the newest one."""

    size: int
    """Bytes of its files."""


def cache_folder() -> Path:
    """Return the folder of the cache, whether or not it exists."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def snapshot_of(folder: Path) -> Path | None:
    """Return the snapshot of a `models--...` folder; None where it has none, or is another folder."""
    if not folder.name.startswith(_START):
        return None
    reference = folder / "refs" / "main"
    if reference.is_file():
        named = folder / "snapshots" / reference.read_text(encoding="utf-8", errors="replace").strip()
        if (named / CONFIG).is_file():
            return named
    snapshots = [path for path in (folder / "snapshots").glob("*") if (path / CONFIG).is_file()]
    return max(snapshots, key=lambda path: (path.stat().st_mtime, path.name), default=None)


def cached_models() -> Iterator[CachedModel]:
    """Yield the models in the cache by name; those without a `config.json` are left out."""
    for folder in sorted(cache_folder().glob(f"{_START}*--*")):
        owner, name = folder.name.removeprefix(_START).split("--", 1)
        snapshot = snapshot_of(folder)
        if snapshot is not None:
            yield CachedModel(f"{owner}/{name}", snapshot, folder_size(snapshot))


def folder_size(directory: Path) -> int:
    """Return the bytes of all files of a folder; those behind links count, broken links do not."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
