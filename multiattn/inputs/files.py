"""Which files count as pictures and recordings, by their names. Nothing here opens one, or waits for torch."""

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError


@dataclass(frozen=True)
class Kind:
    """A kind of file, as a folder is searched for it."""

    one: str
    """What to call one of them."""
    suffixes: frozenset[str]
    """In lower case, with the dot."""

    def matches(self, file: Path) -> bool:
        """Whether this is a visible file with such a suffix (macOS leaves `._photo.jpg` beside `photo.jpg`)."""
        return file.suffix.lower() in self.suffixes and not file.name.startswith(".") and file.is_file()

    def under(self, folder: Path) -> list[Path]:
        """Those in a folder and its visible sub-folders, sorted."""
        found = []
        for parent, folders, names in os.walk(folder):
            folders[:] = [name for name in folders if not name.startswith(".")]  # `os.walk` goes into what is left
            found += [file for file in (Path(parent, name) for name in names) if self.matches(file)]
        return sorted(found)

    def find(self, paths: Sequence[str | Path]) -> list[Path]:
        """List what files, folders and patterns stand for.

        Args:
            paths: Each a file (taken whatever its name ends in), a folder (searched through with its sub-folders) or a
                pattern such as `data/**/*.xyz`. Folders and patterns give the files with a fitting suffix, sorted,
                without hidden ones and, in a folder, without what lies in hidden folders.

        Returns:
            The files, in the order of `paths`; one that is named twice comes twice.

        Raises:
            InputError: A path does not exist, or a folder or pattern has no such file.
        """
        if isinstance(paths, str):  # a str is a sequence of str too: its letters would be taken for paths
            raise InputError(f"`paths` must be a list of paths, but is the text {paths!r} instead. Write [{paths!r}].")
        return [file for path in paths for file in self._expand(path)]

    def _expand(self, path: str | Path) -> list[Path]:
        """The files that one argument of `find` stands for."""
        mend = f"{self.one.capitalize()}s end in {', '.join(sorted(self.suffixes))}."
        pattern = str(path)
        if pattern.startswith(("http://", "https://")):
            raise InputError(
                f"`{pattern}` must be a {self.one} on this machine, but is a web address instead. Download it first."
            )
        path = Path(path)
        if not os.path.lexists(path) and glob.has_magic(pattern):  # a file may well be called `cat[1].jpg`
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


PICTURES = Kind("picture", frozenset({".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}))

CONTAINERS = frozenset({".3gp", ".aac", ".m4a", ".m4b", ".mka", ".mkv", ".mov", ".mp4", ".webm", ".wma"})
"""Of the suffixes of recordings, those that soundfile does not read, but PyAV."""

RECORDINGS = Kind(
    "recording",
    frozenset({".aif", ".aifc", ".aiff", ".au", ".caf", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".w64", ".wav"})
    | CONTAINERS,
)


def require_present(path: Path) -> None:
    """Raise InputError unless something lies at `path`."""
    try:
        present = os.path.exists(path)
    except ValueError:  # a NUL character in the name
        present = False
    if not present:
        reason = "a link to nothing" if os.path.islink(path) else "missing"
        raise InputError(f"`{path}` must be a file or folder, but is {reason} instead. Check the path.")
