"""Finding files by their names, and telling what a file is from its first bytes. Nothing here waits for torch."""

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit

from ..errors import InputError
from .walk import Unusable, walk


@dataclass(frozen=True)
class Kind:
    """A kind of file that folders are searched for."""

    one: str
    """The name of such a file in messages."""
    suffixes: frozenset[str]
    """Suffixes of the file names, in lower case with the dot."""
    most_bytes: int
    """The largest size of such a file from elsewhere: from a web server, or on standard input."""

    def matches(self, name: str) -> bool:
        """Return whether this is the name of a visible file of this kind (macOS writes `._a.jpg` beside `a.jpg`)."""
        return name.lower().endswith(self._ends) and not name.startswith(".")

    @cached_property
    def _ends(self) -> tuple[str, ...]:
        return tuple(self.suffixes)

    def under(self, folder: Path) -> list[Path]:
        """Return the files of this kind in a folder and its visible sub-folders, sorted by the characters' numbers.

        Raises:
            InputError: A folder cannot be read.
        """
        return sorted(_files(walk(folder, self.matches)))

    def find(self, paths: Sequence[str | Path]) -> list[Path]:
        """List the files that paths, folders and patterns stand for, as `search` finds them.

        Args:
            paths: Each as for `search`.

        Returns:
            The files, in the order of `paths`; a file that is named twice is listed twice.

        Raises:
            InputError: A path does not exist, a folder or pattern has no such file, or a folder cannot be read.
        """
        if isinstance(paths, str):  # a str is a sequence too, of letters
            raise InputError(f"`paths` must be a list of paths, but is the text {paths!r} instead. Write [{paths!r}].")
        return [file for path in paths for file in _files(self.search(path))]

    def search(self, path: str | Path, *, patterns: bool = True) -> Iterator[Path | Unusable]:
        """Find the files that one path stands for, each when it is asked for.

        Args:
            path: A file (with any suffix), a folder (searched with its sub-folders) or a pattern such as
                `data/**/*.xyz`; or such a path as a `file://` address. Folders and patterns stand for the visible files
                of this kind, in natural order (`img2` before `img10`); hidden sub-folders are not searched, links to
                folders are followed, and no folder is searched twice.
            patterns: Whether a path that does not exist may be a pattern.

        Yields:
            The files; and an error for a path that does not exist, for a folder or pattern that has no such file, and
            for a folder that cannot be read, behind which the search goes on.
        """
        if is_web_address(path):
            must = f"`{path}` must be a path, but is a web address instead. Give it to the function that reads it."
            yield Unusable(str(path), InputError(must))
            return
        try:
            path = local_path(path)
            is_pattern = patterns and not os.path.lexists(path) and glob.has_magic(str(path))
            if not is_pattern:  # a file's name may look like a pattern: `cat[1].jpg`
                require_present(path)
        except InputError as error:
            yield Unusable(str(path), error)
            return
        if not is_pattern and not path.is_dir():
            yield path
            return
        is_empty = True
        for found in walk(path, self.matches):
            is_empty = False
            yield found
        if is_empty:
            must, has = ("match", "matches") if is_pattern else ("hold", "holds")
            ends = f"{self.one.capitalize()}s end in {', '.join(sorted(self.suffixes))}."
            nothing = f"`{path}` must {must} at least one {self.one}, but {has} none instead. {ends}"
            yield Unusable(str(path), InputError(nothing))


def _files(found: Iterable[Path | Unusable]) -> Iterator[Path]:
    """Yield the files, and raise the first error."""
    for one in found:
        if isinstance(one, Unusable):
            raise one.error
        yield one


PICTURES = Kind(
    "picture",
    frozenset({".avif", ".bmp", ".gif", ".heic", ".heif", ".hif", ".ico", ".j2k", ".jfif", ".jp2", ".jpeg", ".jpg"})
    | {".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp"},
    256 << 20,
)

MAX_PIXELS = 89_478_485
"""Pixels of a picture that is decoded whole, unless another limit is given; also PIL's own limit."""

CONTAINERS = frozenset({".3gp", ".aac", ".m4a", ".m4b", ".mka", ".mkv", ".mov", ".mp4", ".webm", ".wma"})
"""Suffixes of recordings that PyAV reads, and soundfile does not."""

RECORDINGS = Kind(
    "recording",
    frozenset({".aif", ".aifc", ".aiff", ".au", ".caf", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".w64", ".wav"})
    | CONTAINERS,
    2 << 30,
)


def is_web_address(source: object) -> bool:
    """Return whether a source is the address of a file that a web server has."""
    return isinstance(source, str) and source.lower().startswith(("http://", "https://"))


def local_path(source: str | Path) -> Path:
    """Return the path of a file on this machine, which may be given as a `file://` address.

    Raises:
        InputError: The address is of another machine, or no address.
    """
    if not (isinstance(source, str) and source.lower().startswith("file:")):
        return Path(source)
    try:
        address = urlsplit(source)
    except ValueError as error:
        raise InputError(f"`{source}` must be an address, but is none instead: {error}.") from error
    if address.netloc.lower() not in ("", "localhost") or not address.path.startswith("/"):
        raise InputError(
            f"`{source}` must be a file on this machine, but is on another one, or without its whole path, instead. "
            "Write file:///PATH."
        )
    return Path(os.fsdecode(unquote_to_bytes(address.path)))


def require_file(source: str | Path, what: str, *, finder: str) -> Path:
    """Return the path of a file, which is to be read as `what`.

    Args:
        source: The path, or a `file://` address.
        what: What the file must be, for messages.
        finder: The function that lists such files in a folder, for messages.

    Raises:
        InputError: `source` is a folder, or does not exist.
    """
    path = local_path(source)
    require_present(path)
    if path.is_dir():
        raise InputError(
            f"`{source}` must be {what}, but is a folder instead. `multiattn.inputs.{finder}` lists its files."
        )
    return path


def require_present(path: Path) -> None:
    """Raise InputError unless there is a file or folder at `path`."""
    try:
        present = os.path.exists(path)
    except ValueError:  # a NUL character in the name
        present = False
    if not present:
        reason = "a link to nothing" if os.path.islink(path) else "missing"
        raise InputError(f"`{path}` must be a file or folder, but is {reason} instead. Check the path.")


def looks_like(head: bytes, known: Sequence[tuple[int, bytes, str]]) -> str:
    """Return the name of a file's type from its first bytes; empty where it is not among those `known`.

    Args:
        head: The file's first bytes.
        known: Offset, bytes and name of each type.
    """
    return next((what for offset, magic, what in known if head[offset:].startswith(magic)), "")


def head_text(head: bytes) -> str | None:
    """Return a file's first bytes as text; None where they are no text in UTF-8."""
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:  # later errors come from a character that the end of `head` cuts
            return None
        text = head[: error.start].decode("utf-8")
    return text if all(letter.isprintable() or letter.isspace() for letter in text) else None
