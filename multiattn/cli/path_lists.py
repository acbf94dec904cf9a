"""The lists of `--files`: paths in a text or in a column of a table, read as they are needed."""

import base64
import codecs
import io
import os
from collections.abc import Iterator

from ..errors import InputError, reading
from .parquet_folder import arrow_modules

_LONGEST = 65536  # bytes of a path in a list
_ROWS = 4096  # read at a time


def read_list(file: str) -> Iterator[str]:
    """Read paths from a file, each as soon as it is there.

    Args:
        file: Its path, or `-` for standard input. Paths are separated by NUL characters where its beginning has one,
            as `find -print0` and `git ls-files -z` write them, and by line ends otherwise; neither empty lines nor a
            byte-order mark count. Of a file that ends in .parquet, the column `file` (and `file_bytes`, see `records`)
            has them.

    Raises:
        InputError: While it is read: it cannot be read, or holds no paths.
        MultiattnError: pyarrow, which reads parquet, is not installed.
    """
    if file.lower().endswith(".parquet"):
        yield from _read_column(file)
        return
    name = f"`--files {file}`"
    try:
        with open(0 if file == "-" else file, "rb", buffering=0, closefd=file != "-") as stream:
            rest, separator = b"", b""
            for block in _blocks(stream, name):
                rest += block
                separator = separator or next((one for one in (b"\0", b"\n") if one in rest), b"")
                if separator:
                    *whole, rest = rest.split(separator)
                    yield from filter(None, map(_path, whole))
                if len(rest) > _LONGEST:
                    raise InputError(
                        f"{name} must be a list of paths, but has one of more than {_LONGEST} bytes instead."
                    )
            if last := _path(rest):
                yield last
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        reason = getattr(error, "strerror", None) or "no name of a file"
        raise InputError(f"{name} must be a readable file, but opening it fails instead: {reason}.") from error


def read_texts(file: str) -> Iterator[tuple[int, str]]:
    """Read the lines of a text file that have more than spaces, each with its number from 1, as soon as it is there.

    Args:
        file: Its path, or `-` for standard input; in UTF-8.

    Raises:
        InputError: While it is read: it cannot be read, or is no text.
    """
    name = f"`--texts {file}`"
    try:
        with open(0 if file == "-" else file, encoding="utf-8-sig", closefd=file != "-") as lines:
            for number, line in enumerate(lines, start=1):
                if text := line.strip():
                    yield number, text
    except UnicodeDecodeError as error:
        raise InputError(f"{name} must be a text in UTF-8, but is something else instead.") from error
    except OSError as error:
        raise InputError(f"{name} must be a readable file, but opening it fails instead: {error.strerror}.") from error


def _blocks(stream: io.RawIOBase, name: str) -> Iterator[bytes]:
    """The bytes of a list as they come, without a byte-order mark."""
    first = b""
    while len(first) < len(codecs.BOM_UTF8) and (block := stream.read(_LONGEST)):
        first += block
    if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) and b"\0" in first:
        raise InputError(f"{name} must be in UTF-8, but is in UTF-16 instead. Save it as UTF-8.")
    yield first.removeprefix(codecs.BOM_UTF8)
    while block := stream.read(_LONGEST):
        yield block


def _path(raw: bytes) -> str:
    return os.fsdecode(raw.rstrip(b"\r\n"))


def _read_column(file: str) -> Iterator[str]:
    _, parquet = arrow_modules(f"--files {file}")
    name = f"`--files {file}`"
    with reading(name, "a table of parquet"):
        table = parquet.ParquetFile(file)
        names = [one for one in ("file", "file_bytes") if one in table.schema_arrow.names]
        if "file" not in names:
            raise InputError(
                f"{name} must have a column `file` of paths, but has {', '.join(table.schema_arrow.names)} instead."
            )
        for batch in table.iter_batches(batch_size=_ROWS, columns=names):
            for row in batch.to_pylist():
                exact = row.get("file_bytes")
                path = os.fsdecode(base64.b64decode(exact)) if exact else row["file"]
                if path is not None and not isinstance(path, str):
                    raise InputError(f"{name} must have text in its column `file`, but has {path!r} instead.")
                if path:
                    yield path
