"""The files of attention maps that a run leaves behind."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .output import make_folder, printable

if TYPE_CHECKING:
    from ..pipelines import Answer, CaptionResult, ClassifyResult, Transcript


# what an address cannot hold as it is (# % ?), a page or a shell reads as more than a name, or Windows does not take
_AWKWARD = re.compile(r'[#%?<>&:"|*\\]|^-')


@dataclass(frozen=True)
class Written:
    """Where the maps of one input lie."""

    page: str
    """The HTML page with all maps."""

    by_method: dict[str, dict[str, str]]
    """Method -> kind of file ("html", "png", "npz", "json") -> path. Of a recording of several windows, those of the
    first; those of the others lie beside them, named NAME.2.METHOD.png and so on. Of a picture with several questions,
    those of one, the second's named likewise; the numbers are the answer's, and the question's lie in
    NAME.METHOD.question.npz."""


class MapFiles:
    """Writes the maps of a run's inputs into one folder, those of each under a name of its own.

    Args:
        directory: What `--maps` names. Made where it is missing; files of an earlier run with the same names are
            replaced.

    Raises:
        MultiattnError: The directory cannot be made.
    """

    def __init__(self, directory: str | Path) -> None:
        self._directory = make_folder(directory, subject=f"--maps {directory}")
        self._names = FreeNames()

    def write(self, result: "ClassifyResult | CaptionResult | Transcript") -> Written:
        """Writes a page, and a picture and the numbers for each method, of a result with maps."""
        stem = self._names.of(str(result.file))
        page = str(self._directory / f"{stem}.html")
        by_method: dict[str, dict[str, str]] = {}
        names, windows = [stem], Counter[str]()
        for one in result.maps:
            method = one.map.method
            windows[method] += 1
            if windows[method] > len(names):
                names.append(self._numbered(stem, windows[method]))
            files = self._save(one, names[windows[method] - 1])
            by_method.setdefault(method, {"html": page, **files})
        result.save_html(page)
        return Written(page, by_method)

    def write_answers(self, answers: "Sequence[Answer]") -> list[Written]:
        """Writes one page about a picture, and as `write` the rest, of answers about it of which one has maps."""
        from ..pipelines import save_answers

        stem = self._names.of(str(answers[0].file))
        page = str(self._directory / f"{stem}.html")
        names = [stem, *(self._numbered(stem, number) for number in range(2, len(answers) + 1))]
        save_answers(answers, page)
        return [
            Written(page, {one.map.method: {"html": page, **self._save(one, name)} for one in answer.maps})
            for answer, name in zip(answers, names, strict=True)
        ]

    def _numbered(self, stem: str, number: int) -> str:
        return self._names.of(f"{stem}.{number}._")

    def _save(self, one: Any, name: str) -> dict[str, str]:
        png, npz, facts = (str(self._directory / f"{name}.{one.map.method}.{kind}") for kind in ("png", "npz", "json"))
        one.save_png(png)
        one.save(npz)  # and the JSON file beside it
        return {"png": png, "npz": npz, "json": facts}


class FreeNames:
    """Gives each input a name for its files, which no other has and which may stand in an address and a command."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def of(self, file: str) -> str:
        """The name, without a suffix, for what is made of this file."""
        # two files of one name, a/cat.jpg and b/cat.jpg, must not overwrite each other; nor Cat and cat where the file
        # system takes them for the same
        stem = _plain(Path(file).stem)
        name, number = stem, 2
        while name.casefold() in self._taken:
            name, number = f"{stem}-{number}", number + 1
        self._taken.add(name.casefold())
        return name


def _plain(stem: str) -> str:
    """A name that may stand in an address and in a command, on any system."""
    return _AWKWARD.sub("_", "".join(character if printable(character) == character else "_" for character in stem))
