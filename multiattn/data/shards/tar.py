"""Shards as WebDataset has them: tar files whose members `KEY.jpg`, `KEY.json` are a sample; read as far as possible.

A member is found by its header alone, so that a damaged one hides no other: behind it the search goes on at each block.
"""

import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, BinaryIO, NamedTuple

from ...errors import InputError
from ...inputs.files import PICTURES, RECORDINGS, Kind
from ...inputs.streams import NamedStream

BLOCK = 512
"""Bytes of a header; each member begins at a multiple of it."""

_PADDING = 20 * BLOCK  # zeros at the end of an archive, at most
_LONG_NAME, _EXTENDED = b"L", (b"x", b"X")
_LONGEST_JSON = 1 << 20  # bytes
_LONGEST_NAME = 100  # bytes of a name in a header


class Member(NamedTuple):
    """A file in a tar file."""

    name: str
    offset: int
    """Where its content begins."""

    size: int


class ShardSample(NamedStream):
    """A sample of a shard; a pipeline takes it as an input, as a file.

    Args:
        name: `SHARD/KEY.EXT`, its name in messages and results.
        data: The content of its picture or recording.
        row: What the shard says about it, by the names of the columns of a `metadata.jsonl`.
        member: Where the shard has it.
    """

    def __init__(self, name: str, data: bytes, row: dict[str, Any], member: Member) -> None:
        super().__init__(name)
        self.data, self.row, self.member = data, row, member

    def open(self, kind: Kind) -> BinaryIO:
        """The content; see `NamedStream.open`."""
        return io.BytesIO(self.data)


def header(name: str, size: int) -> bytes:
    """The header of a member; its name has at most 100 characters, and nothing else is told about it."""
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.USTAR_FORMAT)


def padding(size: int) -> bytes:
    """The zeros behind a member of so many bytes."""
    return bytes(-size % BLOCK)


def name_in(block: bytes) -> tuple[str, int] | None:
    """Name and size of the member that a header is of; None where it is no header."""
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return None
    return info.name, info.size


def is_header_of(block: bytes, member: str, size: int) -> bool:
    """Whether a header is of this member; names that a header cannot hold stand before it, and are not compared."""
    found = name_in(block)
    is_elsewhere = not member.isascii() or len(member) >= _LONGEST_NAME
    return found is not None and found[1] == size and (found[0] == member or is_elsewhere)


def members(stream: BinaryIO, name: str) -> Iterator[Member | InputError]:
    """Find the files in a tar file.

    Args:
        stream: The file.
        name: Its name, for messages.

    Yields:
        The files in order; and an error for each place where the tar file is damaged, behind which the search goes on.
    """
    end = stream.seek(0, io.SEEK_END)
    position, lost, long_name = 0, False, ""
    while position < end:
        stream.seek(position)
        block = stream.read(BLOCK)
        if end - position <= _PADDING and not block.strip(b"\0") and not stream.read().strip(b"\0"):
            return
        try:
            info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.HeaderError:
            if not lost:
                yield InputError(f"`{name}` must be a whole shard, but is damaged at byte {position} instead. {_MEND}")
            lost, long_name, position = True, "", position + BLOCK
            continue
        offset = position + BLOCK
        if offset + info.size > end:
            yield InputError(f"`{name}` must be a whole shard, but ends after {end} bytes, within a sample. {_MEND}")
            return
        lost, position = False, offset + info.size + len(padding(info.size))
        if info.type == _LONG_NAME:
            long_name = stream.read(info.size).rstrip(b"\0").decode("utf-8", "surrogateescape")
        elif info.type in _EXTENDED:
            long_name = _path_of(stream.read(info.size)) or long_name
        else:
            if info.isreg():
                yield Member(long_name or info.name, offset, info.size)
            long_name = ""
    yield InputError(f"`{name}` must be a whole shard, but has no end instead. {_MEND}")


_MEND = "Fetch or write it again; its other samples are used."


def samples(stream: BinaryIO, name: str) -> Iterator[ShardSample | InputError]:
    """Read the samples of a shard, one after another.

    Args:
        stream: The shard.
        name: Its name, for messages.

    Yields:
        The samples in order, as `groups` finds them, of which one member is a picture or a recording; and errors, as
        `members`.
    """
    for group in groups(stream, name):
        if isinstance(group, InputError):
            yield group
        else:
            yield from _sample(stream, name, group)


def groups(stream: BinaryIO, name: str) -> Iterator[list[Member] | InputError]:
    """Find the samples of a shard by their headers.

    Args:
        stream: The shard.
        name: Its name, for messages.

    Yields:
        The samples in order: members in a row of the same key (the name up to its first dot); and errors, as `members`.
    """
    key, group = "", list[Member]()
    for member in members(stream, name):
        if isinstance(member, InputError):
            yield member
            continue
        folder, slash, base = member.name.rpartition("/")
        own = folder + slash + base.partition(".")[0]
        if own != key and group:
            yield group
            group = []
        key = own
        group.append(member)
    if group:
        yield group


def content_of(group: Sequence[Member], *kinds: Kind) -> Member | None:
    """The member of a sample that is a file of one of these kinds, the first of them; None where none is."""
    return next((one for one in group if any(kind.matches(one.name.rpartition("/")[2]) for kind in kinds)), None)


def _sample(stream: BinaryIO, name: str, group: list[Member]) -> Iterator[ShardSample]:
    """The sample of some members; nothing where none is a picture or a recording."""
    content = content_of(group, PICTURES, RECORDINGS)
    if content is None:
        return
    row: dict[str, Any] = {}
    for member in group:
        kind = member.name.rpartition(".")[2]
        if kind not in ("json", "txt", "cls") or member.size > _LONGEST_JSON:
            continue
        text = _read(stream, member).decode("utf-8", "replace").strip()
        if kind == "json":
            with suppress(ValueError, RecursionError):
                found = json.loads(text)
                row |= found if isinstance(found, dict) else {}
        else:
            row["text" if kind == "txt" else "label"] = text
    yield ShardSample(f"{name}/{content.name}", _read(stream, content), row, content)


def _read(stream: BinaryIO, member: Member) -> bytes:
    stream.seek(member.offset)
    return stream.read(member.size)


def _path_of(records: bytes) -> str:
    """The name in an extended header of pax: lines `LENGTH KEY=VALUE`."""
    while records:
        length, _, rest = records.partition(b" ")
        if not length.isdigit() or not 0 < int(length) <= len(records):
            return ""
        line, records = rest[: int(length) - len(length) - 1], records[int(length) :]
        if line.startswith(b"path="):
            return line[5:].rstrip(b"\n").decode("utf-8", "surrogateescape")
    return ""
