"""Reading single samples of shards, on a disk or at an address, by several processes at once.

A shard at an address is fetched whole, once for all processes, to a folder for temporary files, which holds a few.
"""

import atexit
import io
import os
import shutil
import tempfile
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ...errors import InputError, reading
from ...inputs.files import Kind, is_web_address
from ...inputs.streams import NamedStream
from ...writing import FolderLock, whole_file
from ..packed import Chosen, Packed, Paths
from .tar import BLOCK, Member, is_header_of

SHARDS = Kind("shard", frozenset({".tar"}), 64 << 30)

PAUSES = (0.5, 2.0, 8.0)
"""Seconds to wait before each further try to fetch a file."""

_OPEN = 64  # shards that a process keeps open


def fetch(address: str, target: Path, *, kind: Kind = SHARDS, pauses: Iterable[float] = PAUSES) -> None:
    """Fetch a file, whole or not at all, with some tries.

    Args:
        address: Where it is.
        target: The file to write; its folder must exist.
        kind: What it must be.
        pauses: Seconds before each further try.

    Raises:
        InputError: The last try failed.
    """
    from ...inputs.fetch import WebFile  # what it imports takes a while

    waits = list(pauses)
    for attempt in range(len(waits) + 1):
        try:
            with WebFile(address).open(kind) as stream, whole_file(target) as part, part.open("wb") as file:
                shutil.copyfileobj(stream, file, 1 << 20)
            return
        except InputError as error:
            if attempt == len(waits):
                raise InputError(f"{error} (tried {attempt + 1} times)") from error
            time.sleep(waits[attempt])


def temporary_folder() -> Path:
    """Make a folder that is removed when this process ends."""
    folder = Path(tempfile.mkdtemp(prefix="multiattn-shards-"))
    atexit.register(_remove, folder, os.getpid())
    return folder


def located(name: str, member: str, offset: int, size: int) -> str:
    """The `file_name` that an index has for a member: it says where the content lies in the shard."""
    # a member in a folder of its own must stay the last part of a path
    return f"{name}/{offset}+{size}+{member.replace('%', '%25').replace('/', '%2F')}"


class ShardStore:
    """Opens shards, each when it is asked for, and keeps some of them open.

    Args:
        addresses: The path or address of each shard that is not beside its index, by the path that it would have there.
            Others are opened by their own paths or addresses.
        keep: The number of fetched shards that are kept at a time.
    """

    def __init__(self, addresses: Mapping[str, str], *, keep: int = 8) -> None:
        self.addresses, self.keep = dict(addresses), keep
        self._open: OrderedDict[str, int | str] = OrderedDict()  # file descriptors, or what is wrong
        self._folder: Path | None = None
        if any(map(is_web_address, self.addresses.values())):
            self._folder = temporary_folder()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open": OrderedDict()}  # each process opens the files

    def __del__(self) -> None:
        for one in self._open.values():
            if isinstance(one, int):
                os.close(one)

    def address(self, shard: str) -> str:
        """The path or address of a shard."""
        return self.addresses.get(shard, shard)

    def read(self, shard: str, member: str, offset: int, size: int) -> bytes:
        """Read a member of a shard.

        Raises:
            InputError: The shard cannot be read, or the member is not where its index says.
        """
        descriptor, name = self._opened(shard), self.address(shard)
        with reading(f"`{name}`", "a shard"):
            data = os.pread(descriptor, BLOCK + size, offset - BLOCK)
        if not is_header_of(data[:BLOCK], member, size):
            raise InputError(
                f"`{name}` must be the shard that its index tells of, but is damaged or another one instead: some of "
                "its samples are not where they should be. Fetch or write it again; its other samples are used."
            )
        if len(data) < BLOCK + size:
            raise InputError(
                f"`{name}` must be a whole shard, but ends too early instead. Fetch or write it again; its other "
                "samples are used."
            )
        return data[BLOCK:]

    def _opened(self, shard: str) -> int:
        found = self._open.pop(shard, None)
        if found is None:
            try:
                found = os.open(self.local(shard), os.O_RDONLY | os.O_CLOEXEC)
            except InputError as error:
                found = str(error)  # one try for all samples of it
            except OSError as error:
                found = f"`{self.address(shard)}` must be a shard, but opening it fails instead: {error.strerror}."
            while len(self._open) >= _OPEN:
                _, oldest = self._open.popitem(last=False)
                if isinstance(oldest, int):
                    os.close(oldest)
        self._open[shard] = found
        if isinstance(found, str):
            raise InputError(found)
        return found

    def local(self, shard: str) -> str:
        """The path of a shard on this machine, to which one at an address is fetched.

        Raises:
            InputError: It cannot be fetched.
        """
        address = self.address(shard)
        if not is_web_address(address):
            return address
        if self._folder is None:
            self._folder = temporary_folder()
        folder = self._folder / address.replace("/", "_")[-200:]
        folder.mkdir(exist_ok=True, parents=True)  # another machine has no such folder yet
        file = folder / "shard.tar"
        lock = FolderLock(folder, subject=str(folder), wait=True)  # another worker may be fetching it
        try:
            if not file.exists():
                fetch(address, file)
            file.touch()
        finally:
            lock.release()
        there = sorted(self._folder.glob("*/shard.tar"), key=_age)
        for old in there[: -self.keep]:
            old.unlink(missing_ok=True)  # a process that has it open reads on
        return str(file)


def _age(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:  # another process has removed it
        return 0.0


def _remove(folder: Path, process: int) -> None:
    if os.getpid() == process:  # not in a worker that was forked
        shutil.rmtree(folder, ignore_errors=True)


class ShardFile(NamedStream):
    """A file in a shard, as a source of a picture or a recording; `str` of it is `SHARD/KEY.EXT`.

    Args:
        store: Opens its shard.
        shard: The shard.
        member: Where the shard has it.
    """

    def __init__(self, store: ShardStore, shard: str, member: Member) -> None:
        super().__init__(f"{store.address(shard)}/{member.name}")
        self._store, self.shard, self._member, self.size = store, shard, member, member.size

    def open(self, kind: Kind) -> BinaryIO:
        """The content; see `NamedStream.open`."""
        return io.BytesIO(self._store.read(self.shard, *self._member))


class ShardFiles(Packed[ShardFile]):
    """The files of a split that is in shards."""

    def __init__(self, paths: Paths, store: ShardStore) -> None:
        """Set where they are.

        Args:
            paths: Of each, as an index has it.
            store: Opens the shards.
        """
        self.paths, self.store = paths, store

    def __len__(self) -> int:
        return len(self.paths)

    def at(self, index: int) -> ShardFile:
        """See `Packed`."""
        path = self.paths[index]
        offset, size, member = path.name.split("+", maxsplit=2)
        member = member.replace("%2F", "/").replace("%25", "%")
        return ShardFile(self.store, str(path.parent), Member(member, int(offset), int(size)))


def shard_sizes(files: object) -> tuple[int, ...] | None:
    """The numbers of files in a row that are in the same shard; None where files are not in shards.

    Args:
        files: The files of a split, or some of them, in order.
    """
    of_all = files.items if isinstance(files, Chosen) else files
    if not isinstance(of_all, ShardFiles):
        return None
    shards = of_all.paths.folders.codes.values
    if isinstance(files, Chosen):
        shards = shards[files.indices]
    ends = np.flatnonzero(np.diff(shards)) + 1
    return tuple(np.diff([0, *ends, len(shards)]).tolist())
