"""What the pipelines return: one `Result` for each input, with the maps that explain it.

Every result has `file`, `error`, `maps`, `to_dict()` (what `--format json` prints) and `save_html()`. Every map is a
`SavedMap`: `save()`, `save_png()`, `save_html()`, an array to NumPy and a picture to a notebook. An input that cannot
be used gives a `Failure`. The results for images are in `image_results`, `caption_results` and `answer_results`, a
`Transcript` in `transcribe.results`.
"""

import html
import io
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import exp
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import DTypeLike
from PIL import Image

from ..errors import InputError
from ..export import save_map
from ..export.canvas import Drawing, PNGFile
from ..export.html import jpeg
from ..inputs.damage import Damage
from ..inputs.text import Word
from ..maps import AttentionMap, Checked, Verdict
from .notebook import notebook_html
from .out_of_domain import OutOfDomain

if TYPE_CHECKING:
    import matplotlib.figure

_NOTEBOOK = 480
"""Pixels of the longer side of the picture that a notebook shows of a map."""


@dataclass(frozen=True, eq=False)
class SavedMap(ABC):
    """An attention map with the input it belongs to, so that it can be saved in one call."""

    map: AttentionMap
    """The map."""

    checked: Checked | None = field(default=None, repr=False, kw_only=True)
    """Its verdicts; None where it was not checked."""

    @property
    def verdict(self) -> Verdict | None:
        """How far the prediction depends on what the map points at; None where it was not checked."""
        return None if self.checked is None else self.checked.verdict

    def save(self, path: str | Path) -> None:
        """Write the numbers: an npz file and, beside it, a JSON file that describes them."""
        save_map(self.map, path)

    @property
    def remarks(self) -> list[str]:
        """Lines at the foot of a picture of the map: its verdicts."""
        return [] if self.checked is None else [f"Check: {line}" for line in self.checked.lines]

    @abstractmethod
    def save_png(self, path: PNGFile) -> None:
        """Write a picture of the map, to a path or a stream."""

    def save_svg(self, path: str | Path) -> None:
        """Write the picture of `save_png` as SVG: text stays text, the image with the map over it stays pixels."""
        self._drawing().save(path, "svg")

    def save_pdf(self, path: str | Path) -> None:
        """Write the picture of `save_png` as PDF: text stays text, the image with the map over it stays pixels."""
        self._drawing().save(path, "pdf")

    def to_figure(self) -> "matplotlib.figure.Figure":
        """Return the picture of `save_png` as a matplotlib figure, which no global state of pyplot knows."""
        return self._drawing().figure

    def _drawing(self) -> Drawing:
        drawing = Drawing()
        self.save_png(drawing)
        return drawing

    @abstractmethod
    def save_html(self, path: str | Path) -> None:
        """Write one self-contained page to explore the map and every layer and head."""

    def _repr_html_(self) -> str:
        """The picture of `save_png`, scaled down, for a notebook."""
        file = io.BytesIO()
        self.save_png(file)
        picture = Image.open(file).convert("RGB")
        picture.thumbnail((_NOTEBOOK, _NOTEBOOK), Image.Resampling.LANCZOS)
        return f'<img src="{jpeg(picture)}" alt="{html.escape(self.map.method)} map">'

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        """The values of `map`, read-only unless they are copied or converted."""
        return np.array(self.map.values, dtype=dtype, copy=copy)


class Result(ABC):
    """What a pipeline found for one input."""

    file: str | None
    """The path as it was given; None for bytes, an image, an array or a tensor."""

    maps: tuple[SavedMap, ...]
    """The maps that were asked for, in the order asked for."""

    damaged: Damage | None = None
    """What is missing of a damaged input, of which the rest was used; None for a whole one."""

    remark: str | None = None
    """What must be said about how an input was read, to follow its name; None for most."""

    out_of_domain: OutOfDomain | None = None
    """How the input differs from those that the model was trained on; None where it does not, or where the model does
    not say what it was trained on. For labels and answers."""

    verdicts: tuple[Checked, ...] = ()
    """The verdicts on `maps`, in their order; empty where they were not checked."""

    @property
    def error(self) -> None:
        """None: the input could be used. A `Failure` has the reason here."""
        return None

    @abstractmethod
    def to_dict(self) -> dict[str, object]:
        """Everything but the maps, as JSON values: the line that `--format json` prints."""

    def _repr_html_(self) -> str:
        """What was found, and the picture of each map, for a notebook."""
        return notebook_html(self.to_dict(), self.maps)

    @property
    def marks(self) -> dict[str, object]:
        """What `to_dict` says of an unusual input: `damaged`, `out_of_domain`, `remark`, as JSON values. Else empty."""
        marks = {"damaged": self.damaged, "out_of_domain": self.out_of_domain}
        found: dict[str, object] = {name: mark.to_dict() for name, mark in marks.items() if mark is not None}
        return found | ({} if self.remark is None else {"remark": self.remark})

    @property
    def judged(self) -> dict[str, object]:
        """What `to_dict` says of checked maps: `verdict`, a list in the order of `maps`. Else empty."""
        return {"verdict": [one.to_dict() for one in self.verdicts]} if self.verdicts else {}

    @abstractmethod
    def save_html(self, path: str | Path) -> None:
        """Write one self-contained page with all maps to choose from.

        Raises:
            InputError: The result has no maps.
        """


@dataclass(frozen=True)
class Failure:
    """An input that could not be used; the other inputs have their results all the same."""

    file: str | None
    """The path as it was given; None for bytes, an image, an array or a tensor."""

    error: InputError
    """What is wrong with the input, and how to mend it."""

    def to_dict(self) -> dict[str, object]:
        """The file and the error's message, as JSON values."""
        return {"file": self.file, "error": str(self.error)}


_Map = TypeVar("_Map", bound=SavedMap)


def first_map(maps: Sequence[_Map], call: str) -> _Map:
    """The first of a result's maps.

    Args:
        maps: The maps.
        call: A call that gives a result with maps, for the message.

    Raises:
        InputError: There are no maps.
    """
    if not maps:
        raise InputError(f"there are no maps to save; ask for some: {call}")
    return maps[0]


def probability(log_probability: float) -> float:
    """The probability, 0 to 1, for a natural logarithm; rounding may leave a sum of logarithms a little above 0."""
    return min(1.0, exp(log_probability))


@dataclass(frozen=True)
class Candidate:
    """One of the captions or answers found."""

    text: str
    """The caption or answer."""

    score: float
    """Its probability, 0 to 1. For a caption: the geometric mean of the probabilities of its tokens, including the end
    token and without the prompt. For an answer: its share among a list, or the product over its tokens."""


@dataclass(frozen=True)
class WrittenWord:
    """A word that the model wrote, with its probability."""

    text: str
    """The word as it stands in the caption or answer."""

    start: int
    """Index of its first character there."""

    end: int
    """Index after its last character there."""

    probability: float
    """The product of the probabilities of its tokens, given the image and the words before it, 0 to 1."""

    image_dependence: float | None = None
    """How much its log-probability (in nats) falls when the image is replaced by its mean color. Only in captions with
    maps, else None."""

    ungrounded: bool | None = None
    """Whether it falls so little that the language model would have written the word without the image. Only in
    captions with maps, else None."""

    def to_dict(self) -> dict[str, object]:
        """The fields as JSON values; without those of the image's influence where they are not known."""
        fields: dict[str, object] = {
            "word": self.text,
            "start": self.start,
            "end": self.end,
            "probability": self.probability,
        }
        if self.image_dependence is not None:
            fields |= {"image_dependence": self.image_dependence, "ungrounded": self.ungrounded}
        return fields


def written_words(words: Sequence[Word], log_probs: Sequence[float]) -> tuple[WrittenWord, ...]:
    """Give words their probabilities.

    Args:
        words: The words of a text.
        log_probs: The log-probability of each of its tokens, at the index that the words' pieces have.
    """
    return tuple(
        WrittenWord(word.text, word.start, word.end, probability(sum(log_probs[piece] for piece in word.pieces)))
        for word in words
    )


def shifted(words: Sequence[Word], start: int) -> list[Word]:
    """Return the words with their characters counted from `start` on."""
    return [word._replace(start=word.start - start, end=word.end - start) for word in words]
