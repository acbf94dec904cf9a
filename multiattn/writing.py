"""Writing files whole or not at all: beside their place first, and renamed once they are complete."""

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_numbers = itertools.count()  # two threads of one process may write the same file


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Give the path of a new file beside `path`, which takes the place of `path` once the body has ended.

    Where the body raises, what it wrote is removed, and a file that was at `path` before is unchanged. The folder must
    exist.

    Args:
        path: The file to write. One that is there is replaced.

    Raises:
        OSError: The file cannot be written; its `filename` is `path`.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.{next(_numbers)}.part")
    try:
        yield part
        part.replace(path)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
    finally:
        part.unlink(missing_ok=True)
