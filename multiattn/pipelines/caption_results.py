"""What the caption pipeline returns: a caption for each image, with its maps."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..export import (
    PagePicture,
    strip_png,
    write_page,
)
from ..export.canvas import PNGFile
from ..inputs.damage import Damage
from ..maps import AttentionMap, Checked
from .image_results import ImageMap, page_words, verdicts_of
from .results import Candidate, Result, WrittenWord, first_map


@dataclass(frozen=True, eq=False)
class CaptionMap(ImageMap):
    """A map for every word of a caption, axes ("word", "y", "x")."""

    text: str
    """The caption."""

    words: tuple[WrittenWord, ...] = field(repr=False)
    """Its words."""

    word_to_word: AttentionMap | None = field(default=None, repr=False)
    """Which words before it the decoder attended to while it predicted each word: (layer, head, query, key)."""

    def save_png(self, path: PNGFile) -> None:
        """Write the image and, for each word, the image with the map of the word over it."""
        dependence = [word.image_dependence for word in self.words if word.image_dependence is not None]
        caption = f"{self.text} · {self.map.method}"
        strip_png(self.map, self.picture, path, caption=caption, image_dependence=dependence, remarks=self.remarks)

    def _page(self, shown: Sequence[ImageMap]) -> PagePicture:
        words = page_words(self.map, self.words)
        return PagePicture(
            picture=self.picture,
            name=self.name,
            predictions=(),
            maps=(*(one.map for one in shown), self.stack),
            words=words,
            verdicts=verdicts_of(shown),
            sinks=self.sinks,
            word_to_word=self.word_to_word,
        )


@dataclass(frozen=True, eq=False)
class CaptionResult(Result):
    """The caption of an image."""

    file: str | None
    words: tuple[WrittenWord, ...]
    """The words of `text` that the model wrote, in order, with punctuation and without those of a prompt."""

    candidates: tuple[Candidate, ...]
    """The captions found, as many as were asked for, best first; the first is `text`."""

    maps: tuple[CaptionMap, ...] = ()
    """One map for each method asked for, in that order; empty where there are no words."""

    damaged: Damage | None = None
    remark: str | None = None
    verdicts: tuple[Checked, ...] = ()

    @property
    def text(self) -> str:
        """The caption."""
        return self.candidates[0].text

    @property
    def score(self) -> float:
        """The geometric mean of the probabilities of its tokens, 0 to 1."""
        return self.candidates[0].score

    def to_dict(self) -> dict[str, object]:
        """`file`, `text`, `score`, `words`, and `candidates` where there are several, as JSON values."""
        words = [word.to_dict() for word in self.words]
        facts: dict[str, object] = {"file": self.file, "text": self.text, "score": self.score, "words": words}
        if len(self.candidates) > 1:
            facts["candidates"] = [{"text": one.text, "score": one.score} for one in self.candidates]
        return facts | self.judged | self.marks

    def save_html(self, path: str | Path, *, tokens: AttentionMap | None = None) -> None:
        """Write one self-contained page: the caption with a map for every word, by all methods.

        Args:
            path: The HTML file.
            tokens: As for `ClassifyResult.save_html`.

        Raises:
            InputError: The result has no maps.
        """
        first = first_map(self.maps, 'caption(picture, maps="relevance")')
        page = replace(first._page(self.maps), tokens=tokens)
        write_page(path, pictures=[page], title=first.name)
