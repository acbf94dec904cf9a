"""The files of attention maps that a run leaves in the folder of `--maps`."""

import re
import secrets
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from unicodedata import normalize

from ..errors import MultiattnError
from ..writing import FolderLock, remove_parts
from .output import make_folder, printable

if TYPE_CHECKING:
    from ..pipelines import Result, SavedMap


INDEX = "index.html"
"""The page that links the pages of several inputs; no input's page has its name."""

# characters with a meaning in an address (# % ?), on a page or in a shell, or that Windows does not allow
_AWKWARD = re.compile(r'[#%?<>&:"|*\\]|^-')

_LONGEST = 200  # bytes of a name: most file systems allow 255, and .2.relevance.question.npz.part comes behind it


@dataclass(frozen=True)
class Written:
    """The files with the maps of one result."""

    page: str
    """The HTML page with all maps of the input; the first file of them where no page was asked for."""

    by_method: dict[str, dict[str, str]]
    """Method -> kind of file ("html", "png", "svg", "pdf", "npz", "json", as asked for) -> path. For a recording of
    several windows: those of the first window; those of the second are named NAME.2.METHOD.png, and so on. For an
    answer: those of the answer; the numbers of the question are in NAME.METHOD.question.npz. "compare", with the first
    method, is the page of two methods."""

    names: tuple[str, ...] = ()
    """What the names of all files of the input begin with: NAME, NAME.2, and so on."""


class MapFiles:
    """Writes the maps of a run into one folder, under a name of its own for each input.

    No other run writes there as long as the object exists.

    Args:
        directory: The folder that `--maps` names, made where it is missing. Files of an earlier run with the same
            names are replaced.
        formats: Kinds of files: "html", "png", "svg", "pdf", "npz", which comes with a JSON file, and "compare".

    Raises:
        MultiattnError: The folder cannot be made, or another run writes to it.
    """

    def __init__(self, directory: str | Path, formats: Collection[str]) -> None:
        self._directory, self._lock = own_folder(directory, subject=f"--maps {directory}")
        self._formats = formats
        self._names = FreeNames()
        self._names.reserve(Path(INDEX).stem)

    def reserve(self, names: Iterable[str]) -> None:
        """Let no input have these names: files of an earlier run that is gone on with have them."""
        for name in names:
            self._names.reserve(name)

    def write(self, results: "Sequence[Result]", save_page: Callable[[str], None]) -> list[Written]:
        """Write the maps of an input, as `write_maps` does."""
        return write_maps(self._directory, self._names, results, save_page, self._formats)

    def adopt(self, drafts: Sequence[Written]) -> list[Written]:
        """Give the files that `MapDrafts` has written for an input their names and places; return them as `write` does.

        Raises:
            MultiattnError: They are not there: the process that wrote them is on another machine.
        """
        folder, own = Path(drafts[0].page).parent, drafts[0].names
        first = self._names.of(f"{own[0]}._")
        names = [first, *(self._names.of(f"{first}.{number}._") for number in range(2, len(own) + 1))]
        moved = dict(zip(own, names, strict=True))
        places: dict[str, str] = {}
        try:
            for file in sorted(folder.iterdir()):
                name = max((one for one in own if file.name.startswith(f"{one}.")), key=len)
                places[str(file)] = str(file.replace(self._directory / f"{moved[name]}{file.name[len(name) :]}"))
            folder.rmdir()
        except FileNotFoundError:
            raise MultiattnError(
                f"--maps {self._directory} must be a folder that all machines of the cluster share, but {folder.name}, "
                "which one of them made there, is not seen here instead: give a folder on shared storage"
            ) from None
        return [
            Written(
                places[one.page],
                {
                    method: {kind: places[file] for kind, file in files.items()}
                    for method, files in one.by_method.items()
                },
                tuple(names),
            )
            for one in drafts
        ]

    def remove_drafts(self) -> None:
        """Remove what processes that have ended left of unfinished maps."""
        remove_parts(self._directory)


class MapDrafts:
    """Writes the maps of an input into a new folder in that of `--maps`, for `MapFiles.adopt`.

    Several processes do so at once; the one that collects their results knows which names are free.

    Args:
        directory: The folder of `--maps`.
        formats: As of `MapFiles`.
    """

    def __init__(self, directory: str | Path, formats: Collection[str]) -> None:
        self._directory, self._formats = Path(directory), formats

    def write(self, results: "Sequence[Result]", save_page: Callable[[str], None]) -> list[Written]:
        """Write the maps of an input, as `write_maps` does."""
        folder = self._directory / f".maps.{secrets.token_hex(6)}.part"  # `remove_parts` removes such a folder
        make_folder(folder, subject=f"--maps {self._directory}")
        return write_maps(folder, FreeNames(), results, save_page, self._formats)


def write_maps(
    directory: Path,
    free: "FreeNames",
    results: "Sequence[Result]",
    save_page: Callable[[str], None],
    formats: Collection[str],
) -> list[Written]:
    """Write one page for an input, and a picture and the numbers for each map.

    Args:
        directory: The folder for the files.
        free: Gives the names.
        results: The results for one input, of which at least one has maps.
        save_page: Writes the page with all of them to a path.
        formats: Kinds of files to write, as of `MapFiles`.

    Returns:
        The files of each result.
    """
    names = [free.of(str(results[0].file))]
    page = {"html": str(directory / f"{names[0]}.html")} if "html" in formats else {}
    written = []
    for index, result in enumerate(results):
        by_method: dict[str, dict[str, str]] = {}
        windows = Counter[str]()  # maps so far, by method
        for one in result.maps:
            number = index + windows[one.map.method]
            windows[one.map.method] += 1
            while len(names) <= number:
                names.append(free.of(f"{names[0]}.{len(names) + 1}._"))
            files = _save(directory, one, names[number], formats)
            by_method.setdefault(one.map.method, {**page, **files})
        written.append(by_method)
    for path in page.values():
        save_page(path)
    if "compare" in formats:
        from ..pipelines import save_comparison

        compared = str(directory / f"{names[0]}.compare.html")
        save_comparison(compared, [result for result in results if result.maps])
        for by_method in filter(None, written):
            next(iter(by_method.values()))["compare"] = compared
    first = next(file for by_method in written for files in by_method.values() for file in files.values())
    return [Written(first, by_method, tuple(names)) for by_method in written]


def _save(directory: Path, one: "SavedMap", name: str, formats: Collection[str]) -> dict[str, str]:
    writers = {"png": one.save_png, "svg": one.save_svg, "pdf": one.save_pdf, "npz": one.save}
    files = {}
    for kind, write in writers.items():
        if kind in formats:
            files[kind] = str(directory / f"{name}.{one.map.method}.{kind}")
            write(files[kind])
    if "npz" in files:
        files["json"] = str(directory / f"{name}.{one.map.method}.json")  # written beside it
    return files


def own_folder(path: str | Path, *, subject: str) -> tuple[Path, FolderLock]:
    """Make a folder, and keep other runs out of it as long as the lock exists; remove what a killed run left there.

    Args:
        path: The folder.
        subject: The option that names it, such as `--maps out`; an error begins with it.

    Raises:
        MultiattnError: The folder cannot be made, or another run writes to it.
    """
    folder = make_folder(path, subject=subject)
    lock = FolderLock(folder, subject=subject)
    remove_parts(folder)
    return folder, lock


class FreeNames:
    """Gives each input a name for its files that is unique and safe in an address and in a command."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def reserve(self, name: str) -> None:
        """Take a name."""
        self._taken.add(_folded(name))

    def of(self, file: str) -> str:
        """Return the name, without a suffix, for the files made from this one."""
        # two files of one name, a/cat.jpg and b/cat.jpg, must not overwrite each other; nor Cat and cat where the file
        # system does not tell them apart
        text = Path(file).stem.encode("utf-8", "replace").decode()  # bytes that are no text become ?, and so _
        plain = "".join(character if printable(character) == character else "_" for character in text)
        stem = _AWKWARD.sub("_", plain).encode()[:_LONGEST].decode(errors="ignore")
        name, number = stem, 2
        while _folded(name) in self._taken:
            name, number = f"{stem}-{number}", number + 1
        self._taken.add(_folded(name))
        return name


def _folded(name: str) -> str:
    """What is equal of two names where the file system of macOS takes them for one."""
    return normalize("NFC", normalize("NFC", name).casefold())
