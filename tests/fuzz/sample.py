"""A sample: the files of one input."""

from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True)
class Sample:
    """One input: files, and which of them is given to the reader."""

    name: str
    """What it is, such as `gray.png`."""

    files: dict[str, bytes]
    """The content of each file by its path."""

    target: str = ""
    """The path that the reader is given; the folder of all files where empty."""

    how: str = ""
    """What was changed, one word for each change."""

    def changed(self, path: str, content: bytes, how: str) -> "Sample":
        """With another content of a file; `how` says in a word what was done."""
        return replace(self, files={**self.files, path: content}, how=f"{self.how} {how}".strip())

    def write(self, folder: Path) -> Path:
        """Write the files into an empty folder, and return the path to be read."""
        for name, content in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return folder / self.target if self.target else folder

    @classmethod
    def single(cls, name: str, content: bytes) -> "Sample":
        """A sample of one file."""
        return cls(name, {name: content}, name)

    @classmethod
    def of_folder(cls, name: str, folder: Path, target: str = "") -> "Sample":
        """The files of a folder on disk."""
        files = {
            str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
        }
        return cls(name, files, target)
