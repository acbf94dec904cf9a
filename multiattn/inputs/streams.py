"""Files that have no path: what is on standard input, and (in `fetch`) what a web server sends."""

import os
import select
import sys
import tempfile
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from io import BufferedIOBase, BufferedReader, BytesIO, RawIOBase
from typing import Any, BinaryIO

from ..errors import InputError, TooLargeError
from .files import Kind

CHUNK = 1 << 16  # bytes read at a time
PATIENCE = 0.5  # seconds after which a wait looks whether it is cancelled


class NamedStream(ABC):
    """A file without a path, which is read when it is its turn. Readers of pictures and recordings take it as a source.

    Args:
        name: Its name in messages and results.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._cancelled = threading.Event()

    def __str__(self) -> str:
        return self.name

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_cancelled": None}  # another process has its own

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state | {"_cancelled": threading.Event()})

    def cancel(self) -> None:
        """Let `open` end soon in the thread where it runs, with an InputError."""
        self._cancelled.set()

    @abstractmethod
    def open(self, kind: Kind) -> BinaryIO:
        """Read the file to its end.

        Args:
            kind: What it must be, which limits its size.

        Returns:
            The bytes, in a temporary file that has no name and is gone once it is closed, at its start.

        Raises:
            InputError: It cannot be read, or is larger than `kind.most_bytes`.
        """

    def _check_cancelled(self) -> None:
        if self._cancelled.is_set():
            raise InputError(f"`{self.name}` must be read to its end, but is given up instead.")

    def _kept(self, chunks: Iterable[bytes], kind: Kind) -> BinaryIO:
        """Write chunks to a temporary file, up to the limit; errors as for `open`."""
        with ExitStack() as on_error:
            size = 0
            try:
                file = on_error.enter_context(tempfile.TemporaryFile(prefix="multiattn-"))
                for chunk in chunks:
                    size += len(chunk)
                    check_size(size, self.name, kind)
                    file.write(chunk)
                file.seek(0)
            except OSError as error:
                raise InputError(
                    f"`{self.name}` must fit into the folder for temporary files ({tempfile.gettempdir()}), but "
                    f"writing it there fails instead: {error.strerror}. TMPDIR names another folder."
                ) from error
            on_error.pop_all()
        return file


def again(file: BinaryIO | BytesIO) -> Callable[[], BufferedIOBase]:
    """Return a function that opens a file anew each time: all read the same bytes, each from its own position."""
    lock = threading.Lock()
    return lambda: BufferedReader(_SameBytes(file, lock))


class ReadOnce(NamedStream):
    """Another stream, of which the file is read once, however often it is opened."""

    def __init__(self, stream: NamedStream) -> None:
        super().__init__(stream.name)
        self._stream = stream
        self._data: bytes | None = None

    def open(self, kind: Kind) -> BinaryIO:
        """Return the file at its start; see `NamedStream.open`."""
        if self._data is None:
            with self._stream.open(kind) as file:
                self._data = file.read()
        return self._kept([self._data], kind)


class _SameBytes(RawIOBase):
    """An open file from its start, without moving other readers of it. Closing it leaves the file open."""

    def __init__(self, file: BinaryIO | BytesIO, lock: threading.Lock) -> None:
        self._file, self._lock, self._at = file, lock, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_END:
            with self._lock:
                start = self._file.seek(0, os.SEEK_END)
        else:
            start = self._at if whence == os.SEEK_CUR else 0
        self._at = max(0, start + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        with self._lock:
            self._file.seek(self._at)
            data = self._file.read(memoryview(buffer).nbytes)
        memoryview(buffer)[: len(data)] = data
        self._at += len(data)
        return len(data)


class StandardInput(NamedStream):
    """The bytes of one file on standard input."""

    def __init__(self) -> None:
        super().__init__("-")

    def open(self, kind: Kind) -> BinaryIO:
        """Read standard input to its end; see `NamedStream.open`."""
        return self._kept(self._chunks(), kind)

    def _chunks(self) -> Iterator[bytes]:
        while chunk := self._chunk():
            yield chunk

    def _chunk(self) -> bytes:
        try:
            descriptor = sys.stdin.fileno()
        except (OSError, ValueError, AttributeError):  # replaced by an object in memory, or closed (None)
            return sys.stdin.buffer.read(CHUNK) if sys.stdin and not sys.stdin.closed else b""
        try:
            while not select.select([descriptor], [], [], PATIENCE)[0]:
                self._check_cancelled()
            return os.read(descriptor, CHUNK)
        except OSError as error:
            raise InputError(
                f"`-` must be readable, but reading standard input fails instead: {error.strerror}."
            ) from error


def check_size(size: int, name: str, kind: Kind) -> None:
    """Raise InputError where a file has more bytes than its kind may have."""
    if size > kind.most_bytes:
        raise TooLargeError(
            f"`{name}` must have at most {kind.most_bytes >> 20} MiB, as a {kind.one} from elsewhere, but has more "
            "instead. Save it to a file first."
        )
