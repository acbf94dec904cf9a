"""The files of attention maps that a run leaves behind."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .console import make_folder, printable

if TYPE_CHECKING:
    from multiattn.pipelines import CaptionResult, ClassifyResult


# what an address cannot hold as it is (# % ?), a page or a shell reads as more than a name, or Windows does not take
_AWKWARD = re.compile(r'[#%?<>&:"|*\\]|^-')


@dataclass(frozen=True)
class Written:
    """Where the maps of one picture lie."""

    page: str
    """The HTML page with all maps."""

    by_method: dict[str, dict[str, str]]
    """Method -> kind of file ("html", "png", "npz", "json") -> path."""


class MapFiles:
    """Writes the maps of a run's pictures into one folder, each picture under a name of its own.

    Args:
        directory: What `--maps` names. Made where it is missing; files of an earlier run with the same names are
            replaced.

    Raises:
        MultiattnError: The directory cannot be made.
    """

    def __init__(self, directory: str | Path) -> None:
        self._directory = make_folder(directory, subject=f"--maps {directory}")
        self._taken: set[str] = set()

    def write(self, result: "ClassifyResult | CaptionResult") -> Written:
        """Writes a page, and a picture and the numbers for each method, of a result with maps."""
        stem = self._free(_plain(Path(str(result.file)).stem))
        page = str(self._directory / f"{stem}.html")
        by_method = {}
        for picture_map in result.maps:
            method = picture_map.map.method
            png, npz, facts = (str(self._directory / f"{stem}.{method}.{kind}") for kind in ("png", "npz", "json"))
            picture_map.save_png(png)
            picture_map.save(npz)  # and the JSON file beside it
            by_method[method] = {"html": page, "png": png, "npz": npz, "json": facts}
        result.save_html(page)
        return Written(page, by_method)

    def _free(self, stem: str) -> str:
        # two pictures of one name, a/cat.jpg and b/cat.jpg, must not overwrite each other; nor Cat and cat where the
        # file system takes them for the same
        name, number = stem, 2
        while name.casefold() in self._taken:
            name, number = f"{stem}-{number}", number + 1
        self._taken.add(name.casefold())
        return name


def _plain(stem: str) -> str:
    """A name that may stand in an address and in a command, on any system."""
    return _AWKWARD.sub("_", "".join(character if printable(character) == character else "_" for character in stem))
