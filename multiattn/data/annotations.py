"""The files of annotations in which published data sets come: where those of a split are, and the lists in them."""

import json
from pathlib import Path
from typing import Any

from ..errors import InputError


def at_split(root: Path, pattern: str, split: str) -> Path:
    """The path of a split: `{split}` in the pattern is its name, or `val` for `validation`, as COCO calls it."""
    path = root / pattern.replace("{split}", split)
    if split == "validation" and "{split}" in pattern and not path.exists():
        return root / pattern.replace("{split}", "val")
    return path


def require_file(file: Path, option: str) -> Path:
    """The file that an option names.

    Raises:
        InputError: There is none.
    """
    if not file.is_file():
        raise InputError(f"{file}: there is no such file. Check `{option}`.")
    return file


def lists_of(file: Path, *names: str, source: str) -> list[list[dict[str, Any]]]:
    """The lists of objects of these names in a JSON file.

    Args:
        file: To read.
        names: Of the lists.
        source: Whose files are so, for the message.

    Raises:
        InputError: It is no JSON, or the lists are not all there.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:  # of UTF-8, of JSON, of brackets without end
        raise InputError(f"{file}: this is not JSON in UTF-8: {error}.") from error
    found = [content.get(name) if isinstance(content, dict) else None for name in names]
    lists = [part for part in found if isinstance(part, list) and all(isinstance(entry, dict) for entry in part)]
    if len(lists) < len(names):
        wanted = " and ".join(f"`{name}`" for name in names)
        what = "lists of objects" if len(names) > 1 else "a list of objects"
        raise InputError(
            f"{file}: there must be {what} {wanted}, as {source} has {'them' if what[0] == 'l' else 'it'}."
        )
    return lists
