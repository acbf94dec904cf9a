"""What a pipeline gives back: frozen results that know how to save their maps."""

from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from ..errors import InputError
from ..maps import AttentionMap


@dataclass(frozen=True)
class Prediction:
    """One label and how likely the model holds it."""

    label: str
    """The class's name."""

    score: float
    """Its softmax probability, 0 to 1."""


@dataclass(frozen=True, eq=False)
class PictureMap:
    """An attention map together with the picture it lies on, so that it can be saved in one call."""

    map: AttentionMap
    """The map, axes ("y", "x")."""

    picture: Image.Image = field(repr=False)
    """The source picture, upright RGB."""

    name: str
    """What the picture is called in a page's heading."""

    predictions: tuple[Prediction, ...] = field(repr=False)
    """The picture's most likely classes, for the page."""

    stack: AttentionMap = field(repr=False)
    """Attention of every layer and head, axes ("layer", "head", "y", "x"), for the page's choice of layer and head."""

    def save(self, path: str | Path) -> None:
        """Writes the numbers: an npz file and, beside it, a JSON file that says what they are."""
        from ..export import save_map

        save_map(self.map, path)

    def save_png(self, path: str | Path) -> None:
        """Writes the picture with the map over it, a color bar and a caption."""
        from ..export import (
            overlay_png,  # matplotlib takes a second to import, which a plain prediction need not wait for
        )

        first = self.predictions[0]
        caption = f"{first.label} {first.score:.1%} · {self.map.method.replace('_', ' ')}"
        overlay_png(self.map, self.picture, path, caption=caption)

    def save_html(self, path: str | Path) -> None:
        """Writes one page, complete in itself, to look at this map and at every layer and head."""
        _write_page(path, self.name, self.picture, self.predictions, (self.map, self.stack))


@dataclass(frozen=True, eq=False)
class ClassifyResult:
    """What a picture was classified as."""

    file: str | None
    """The path as it was given; None for bytes, a PIL image, an array or a tensor."""

    predictions: tuple[Prediction, ...]
    """The most likely classes, best first; never empty."""

    maps: tuple[PictureMap, ...] = ()
    """One map for each method asked for, in that order."""

    @property
    def label(self) -> str:
        """The most likely class."""
        return self.predictions[0].label

    @property
    def score(self) -> float:
        """Its softmax probability, 0 to 1."""
        return self.predictions[0].score

    @property
    def error(self) -> None:
        """None: the input was fine. A `Failure` has the reason here."""
        return None

    def save_html(self, path: str | Path) -> None:
        """Writes one page, complete in itself, with all maps to choose from.

        Raises:
            InputError: The result has no maps.
        """
        if not self.maps:
            raise InputError('the result has no maps to save; ask for some: classify(picture, maps="rollout")')
        first = self.maps[0]
        maps = (*(picture_map.map for picture_map in self.maps), first.stack)
        _write_page(path, first.name, first.picture, self.predictions, maps)


@dataclass(frozen=True)
class WrittenWord:
    """A word that the model wrote, and how sure it was of it."""

    text: str
    """As it stands in the caption or answer."""

    start: int
    """Where it begins there, in characters."""

    end: int
    """Where it ends there; the character at `end` is no longer part of it."""

    probability: float
    """How likely the model held it, given the picture and the words before it, 0 to 1: of all its tokens together."""

    image_dependence: float | None = None
    """Of a caption's: by how much its log-probability (in nats) falls when the picture is replaced by its mean color;
    None where no maps were asked for."""

    ungrounded: bool | None = None
    """Of a caption's: whether the picture did so little for it that the language model would have written it by
    itself; None where no maps were asked for."""


@dataclass(frozen=True)
class Candidate:
    """One of the captions or answers found."""

    text: str
    """The caption or answer."""

    score: float
    """How likely the model held it, 0 to 1. A caption's: the geometric mean of the probabilities of its tokens, its end
    included; the prompt does not count. An answer's: its probability, of all its tokens together where it has any."""


@dataclass(frozen=True)
class Failure:
    """An input that could not be used; the others were done all the same."""

    file: str | None
    """The path as it was given; None for what is no path."""

    error: InputError
    """What is wrong with it, and the mend."""


def _write_page(
    path: str | Path,
    name: str,
    picture: Image.Image,
    predictions: tuple[Prediction, ...],
    maps: tuple[AttentionMap, ...],
) -> None:
    from ..export import PagePicture, write_page

    lines = tuple((prediction.label, prediction.score) for prediction in predictions)
    write_page(path, pictures=[PagePicture(picture=picture, name=name, predictions=lines, maps=maps)], title=name)
