"""Finding files by their names, and telling what a file is from its first bytes. Nothing here waits for torch."""

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError


@dataclass(frozen=True)
class Kind:
    """A kind of file that folders are searched for."""

    one: str
    """The name of such a file in messages."""
    suffixes: frozenset[str]
    """Suffixes of the file names, in lower case with the dot."""

    def matches(self, file: Path) -> bool:
        """Return whether this is a visible file of this kind (macOS writes `._photo.jpg` beside `photo.jpg`)."""
        return file.suffix.lower() in self.suffixes and not file.name.startswith(".") and file.is_file()

    def under(self, folder: Path) -> list[Path]:
        """Return the files of this kind in a folder and its visible sub-folders, sorted."""
        found = []
        for parent, folders, names in os.walk(folder):
            folders[:] = [name for name in folders if not name.startswith(".")]  # `os.walk` visits the remaining ones
            found += [file for file in (Path(parent, name) for name in names) if self.matches(file)]
        return sorted(found)

    def find(self, paths: Sequence[str | Path]) -> list[Path]:
        """List the files that paths, folders and patterns stand for.

        Args:
            paths: Each is a file (with any suffix), a folder (searched with its sub-folders) or a pattern such as
                `data/**/*.xyz`. Folders and patterns stand for the visible files of this kind, sorted; hidden
                sub-folders are not searched.

        Returns:
            The files, in the order of `paths`; a file that is named twice is listed twice.

        Raises:
            InputError: A path does not exist, or a folder or pattern has no such file.
        """
        if isinstance(paths, str):  # a str is a sequence too, of letters
            raise InputError(f"`paths` must be a list of paths, but is the text {paths!r} instead. Write [{paths!r}].")
        return [file for path in paths for file in self._expand(path)]

    def _expand(self, path: str | Path) -> list[Path]:
        """Return the files that one path of `find` stands for."""
        mend = f"{self.one.capitalize()}s end in {', '.join(sorted(self.suffixes))}."
        pattern = str(path)
        require_local(path, f"a {self.one}")
        path = Path(path)
        if not os.path.lexists(path) and glob.has_magic(pattern):  # a file's name may look like a pattern: `cat[1].jpg`
            found = sorted(file for file in map(Path, glob.glob(pattern, recursive=True)) if self.matches(file))
            if not found:
                raise InputError(f"`{pattern}` must match at least one {self.one}, but matches none instead. {mend}")
            return found
        require_present(path)
        if not path.is_dir():
            return [path]
        found = self.under(path)
        if not found:
            raise InputError(f"`{path}` must hold at least one {self.one}, but holds none instead. {mend}")
        return found


PICTURES = Kind(
    "picture",
    frozenset({".avif", ".bmp", ".gif", ".heic", ".heif", ".hif", ".ico", ".j2k", ".jfif", ".jp2", ".jpeg", ".jpg"})
    | {".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp"},
)

MAX_PIXELS = 89_478_485
"""Pixels of a picture that is decoded whole, unless another limit is given; also PIL's own limit."""

CONTAINERS = frozenset({".3gp", ".aac", ".m4a", ".m4b", ".mka", ".mkv", ".mov", ".mp4", ".webm", ".wma"})
"""Suffixes of recordings that PyAV reads, and soundfile does not."""

RECORDINGS = Kind(
    "recording",
    frozenset({".aif", ".aifc", ".aiff", ".au", ".caf", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".w64", ".wav"})
    | CONTAINERS,
)


def require_local(source: str | Path, what: str) -> None:
    """Raise InputError where `source`, which must be `what`, is a web address."""
    if str(source).startswith(("http://", "https://")):
        raise InputError(f"`{source}` must be {what} on this machine, but is a web address instead. Download it first.")


def require_file(source: str | Path, what: str, *, finder: str) -> Path:
    """Return the path of a file, which is to be read as `what`.

    Args:
        source: The path.
        what: What the file must be, for messages.
        finder: The function that lists such files in a folder, for messages.

    Raises:
        InputError: `source` is a web address, a folder, or does not exist.
    """
    require_local(source, "a file")
    path = Path(source)
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


def unreadable(name: str, error: OSError) -> InputError:
    """Return the error for a file that the system does not open."""
    return InputError(f"{name} must be a readable file, but opening it fails instead: {error.strerror}.")


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
