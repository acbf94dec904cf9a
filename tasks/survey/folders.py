"""Files that lie in the folder of a split and are not used, by the reason."""

import os
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from multiattn.inputs.files import PICTURES, RECORDINGS, Kind

MOST = 200_000
"""Files of a split's folders that are looked at."""

_SHOWN = 3  # names of each reason
_USED = ("metadata.jsonl", "metadata.csv", ".trans.txt")  # ends of names


def ignored(folders: Sequence[Path], used: Iterable[Path], *, kind: str, in_classes: bool) -> dict[str, Any]:
    """Count the files that are not used.

    Args:
        folders: The folders of a split.
        used: The files that are.
        kind: What the split has: "pictures" or "recordings".
        in_classes: Whether each class has a folder, so that every file of the kind is used there.

    Returns:
        `looked_at`, whether these are `all`, and `reasons`: for each the number of `files`, and the first `names`.
    """
    wanted = RECORDINGS if kind == "recordings" else PICTURES
    names = {str(path) for path in used}
    reasons: dict[str, dict[str, Any]] = {}
    count, is_all = 0, True
    for folder in folders:
        for path in _files(folder):
            if count == MOST:
                is_all = False
                break
            count += 1
            if path not in names and (reason := _reason(path, folder, wanted, in_classes)):
                found = reasons.setdefault(reason, {"files": 0, "names": []})
                found["files"] += 1
                if len(found["names"]) < _SHOWN:
                    found["names"].append(os.path.relpath(path, folder))
    return {"looked_at": count, "all": is_all, "reasons": reasons}


def _files(folder: Path) -> Iterable[str]:
    for where, inside, names in os.walk(folder):
        inside.sort()
        yield from (os.path.join(where, name) for name in sorted(names))


def _reason(path: str, folder: Path, kind: Kind, in_classes: bool) -> str:
    """Why a file is not used; empty where it describes the split."""
    parts = Path(path).relative_to(folder).parts
    if any(part.startswith(".") for part in parts):
        return "hidden"
    if path.endswith(_USED):
        return ""
    if not kind.matches(parts[-1]):
        return f"no {kind.one}, by the name"
    if in_classes:
        return "outside of the folders of the classes" if len(parts) == 1 else "found since"
    return "not in the metadata"


def is_in_classes(folder: Path, names: Collection[str] = ("metadata.jsonl", "metadata.csv")) -> bool:
    """Whether a split has a folder for each class, because it has no metadata."""
    return not any((folder / name).is_file() for name in names)
