"""What the captioning pipeline gives back: frozen results that know how to save their maps."""

from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from ..errors import InputError
from ..maps import AttentionMap
from .results import Candidate, WrittenWord


@dataclass(frozen=True, eq=False)
class CaptionMap:
    """A map for every word of a caption, together with the picture it lies on, so that it can be saved in one call."""

    map: AttentionMap
    """The map, axes ("word", "y", "x"); the words as `words` has them."""

    picture: Image.Image = field(repr=False)
    """The source picture, upright RGB."""

    name: str
    """What the picture is called in a page's heading."""

    text: str
    """The caption."""

    words: tuple[WrittenWord, ...] = field(repr=False)
    """Its words."""

    stack: AttentionMap = field(repr=False)
    """Attention of every layer and head, axes ("layer", "head", "word", "y", "x"), for the page's choice of both."""

    def save(self, path: str | Path) -> None:
        """Writes the numbers: an npz file and, beside it, a JSON file that says what they are."""
        from ..export import save_map

        save_map(self.map, path)

    def save_png(self, path: str | Path) -> None:
        """Writes the picture and, for each word, the picture with the word's map over it."""
        from ..export import strip_png  # matplotlib takes a second to import, which a plain caption need not wait for

        image_dependence = [word.image_dependence for word in self.words if word.image_dependence is not None]
        caption = f"{self.text} · {self.map.method}"
        strip_png(self.map, self.picture, path, caption=caption, image_dependence=image_dependence)

    def save_html(self, path: str | Path) -> None:
        """Writes one page, complete in itself, to look at each word's map and at every layer and head."""
        _write_page(path, self, (self.map, self.stack))


@dataclass(frozen=True, eq=False)
class CaptionResult:
    """What was written about a picture."""

    file: str | None
    """The path as it was given; None for bytes, a PIL image, an array or a tensor."""

    words: tuple[WrittenWord, ...]
    """The words of `text` that the model wrote, in order, punctuation among them: all but those of a prompt. Empty
    where it had nothing to say."""

    candidates: tuple[Candidate, ...]
    """The captions found, as many as were asked for, the search's best first; the first is `text`."""

    maps: tuple[CaptionMap, ...] = ()
    """One map for each method asked for, in that order; none where there are no words."""

    @property
    def text(self) -> str:
        """The caption."""
        return self.candidates[0].text

    @property
    def score(self) -> float:
        """The probability of its tokens: their geometric mean, 0 to 1."""
        return self.candidates[0].score

    @property
    def error(self) -> None:
        """None: the input was fine. A `Failure` has the reason here."""
        return None

    def save_html(self, path: str | Path) -> None:
        """Writes one page, complete in itself: the sentence with a map for every word, by all methods.

        Raises:
            InputError: The result has no maps.
        """
        if not self.maps:
            raise InputError('the result has no maps to save; ask for some: caption(picture, maps="attention")')
        first = self.maps[0]
        _write_page(path, first, (*(one.map for one in self.maps), first.stack))


def _write_page(path: str | Path, shown: CaptionMap, maps: tuple[AttentionMap, ...]) -> None:
    from ..export import PagePicture, PageWord, write_page

    labels = shown.map.axes[0].labels or ()
    words = tuple(
        PageWord(label, word.probability, word.image_dependence)
        for label, word in zip(labels, shown.words, strict=True)
    )
    page = PagePicture(picture=shown.picture, name=shown.name, predictions=(), maps=maps, words=words)
    write_page(path, pictures=[page], title=shown.name)
