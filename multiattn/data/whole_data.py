"""The folder of a generated data set, written whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..writing import FolderLock, remove_parts, whole_folder

MANIFEST = "metadata.jsonl"


@contextmanager
def whole_data(folder: Path) -> Iterator[Path]:
    """Give a new folder whose files take their places in `folder` at the end, its manifest last; see `whole_folder`.

    Raises:
        MultiattnError: Another process writes the folder.
        OSError: A file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FolderLock(folder, subject=str(folder))
    try:
        remove_parts(folder)
        with whole_folder(folder, last=MANIFEST) as part:
            yield part
    finally:
        with suppress(OSError):
            folder.rmdir()  # an empty one, after an error
        lock.release()
