"""What the classification pipeline returns, and what all results for images share."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from PIL import Image

from ..errors import InputError
from ..export import (
    AskedPicture,
    PagePicture,
    PageWord,
    overlay_png,
    write_page,
)
from ..export.canvas import PNGFile
from ..inputs.damage import Damage
from ..maps import AttentionMap, Checked
from ..score_kinds import ScoreKind
from .out_of_domain import OutOfDomain
from .results import Result, SavedMap, WrittenWord, first_map

LIKELY = 0.5
"""The probability from which on a label of several counts as found, where no threshold is given."""


@dataclass(frozen=True, eq=False)
class ImageMap(SavedMap):
    """A map over an image; the base of the three kinds."""

    picture: Image.Image = field(repr=False)
    """The source image, upright RGB."""

    name: str
    """What a page calls the image."""

    stack: AttentionMap = field(repr=False)
    """Attention of every layer and head: the axes of `map` after ("layer", "head")."""

    sinks: tuple[tuple[int, int], ...] = field(default=(), kw_only=True, repr=False)
    """Row and column of the patches that are sinks: most others attend to them in many layers, whatever they show.
    `multiattn.maps.without_sinks` takes them out of a map."""

    def save_html(self, path: str | Path) -> None:
        """Write one self-contained page to explore the map and every layer and head."""
        write_page(path, pictures=[self._page((self,))], title=self.name)

    @abstractmethod
    def _page(self, shown: "Sequence[ImageMap]") -> PagePicture | AskedPicture:
        """The image as a page shows it, with these maps of it and the stack."""


@dataclass(frozen=True)
class Prediction:
    """A label with its score."""

    label: str
    """The name of the class."""

    score: float
    """Its probability, 0 to 1, by softmax; or what `ClassifyResult.score_kind` says instead."""


def score_text(score: float, kind: ScoreKind) -> str:
    """Return a score to read: `97.6%`, or `+3.214` for a value."""
    return f"{score:+.4g}" if kind == "value" else f"{score:.1%}"


@dataclass(frozen=True, eq=False)
class PictureMap(ImageMap):
    """A map of a classified image, axes ("y", "x")."""

    predictions: tuple[Prediction, ...] = field(repr=False)
    """The most likely classes, for the heading and the page; empty for a backbone without a head."""

    score_kind: ScoreKind = "probability"
    """What their scores are."""

    by_label: tuple[AttentionMap, ...] = field(default=(), repr=False)
    """The map of each of the first of `predictions`, for the page; empty for a method whose map is the same for all."""

    def save_png(self, path: PNGFile) -> None:
        """Write the image with the map over it, a color bar and a caption."""
        method = self.map.method.replace("_", " ")
        scores = [f"{one.label} {score_text(one.score, self.score_kind)}" for one in self.predictions[:1]]
        caption = " · ".join([*scores, method])  # a backbone without a head has no labels
        overlay_png(self.map, self.picture, path, caption=caption, remarks=self.remarks)

    def _page(self, shown: Sequence[ImageMap]) -> PagePicture:
        scores = tuple((one.label, one.score) for one in self.predictions)
        return PagePicture(
            self.picture,
            self.name,
            predictions=scores,
            maps=(*(one.map for one in shown), self.stack),
            score_kind=self.score_kind,
            verdicts=verdicts_of(shown),
            sinks=self.sinks,
            label_maps=_by_label([one for one in shown if isinstance(one, PictureMap)]),
        )


def _by_label(shown: Sequence[PictureMap]) -> list[list[AttentionMap]]:
    """Return the maps of each label, by all methods that have one for it."""
    most = max((len(one.by_label) for one in shown), default=0)
    return [[one.by_label[rank] for one in shown if rank < len(one.by_label)] for rank in range(most)]


@dataclass(frozen=True, eq=False)
class ClassifyResult(Result):
    """The labels of an image."""

    file: str | None
    predictions: tuple[Prediction, ...]
    """The classes with the highest scores, best first; never empty, unless `narrowed` left none."""

    maps: tuple[PictureMap, ...] = ()
    damaged: Damage | None = None
    remark: str | None = None

    score_kind: ScoreKind = "probability"
    """What the scores are. "probability": 0 to 1, and 1 in sum over all labels of the model (softmax). "independent
    probability": 0 to 1 for each label by itself, of which several may be right, or none (sigmoid). "value": what a
    regression estimates, any number."""
    out_of_domain: OutOfDomain | None = None
    verdicts: tuple[Checked, ...] = ()

    @property
    def label(self) -> str:
        """The class with the highest score."""
        return self._best.label

    @property
    def score(self) -> float:
        """Its score: the probability, 0 to 1, of the most likely class, unless `score_kind` says otherwise."""
        return self._best.score

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that the image has: of a multi-label model those with a probability of at least 0.5, else one."""
        if self.score_kind == "independent probability":
            return tuple(one.label for one in self.predictions if one.score >= LIKELY)
        return tuple(one.label for one in self.predictions[:1])

    @property
    def _best(self) -> Prediction:
        if not self.predictions:
            raise InputError("`predictions` must have a label, but none is left instead: lower the threshold.")
        return self.predictions[0]

    def narrowed(self, *, threshold: float | None = None, top_k: int | None = None) -> "ClassifyResult":
        """Return the result with fewer predictions, perhaps none; the heading of its maps keeps the best.

        Args:
            threshold: The least score of a prediction that is kept.
            top_k: The most predictions to keep.
        """
        kept = [one for one in self.predictions if threshold is None or one.score >= threshold]
        predictions = tuple(kept[:top_k])
        shown = predictions or self.predictions[:1]
        maps = tuple(replace(one, predictions=shown, by_label=one.by_label[: len(shown)]) for one in self.maps)
        return replace(self, predictions=predictions, maps=maps)

    def to_dict(self) -> dict[str, object]:
        """`file`, `predictions`, and `score_kind` where it is no "probability", as JSON values."""
        return {
            "file": self.file,
            "predictions": [{"label": one.label, "score": one.score} for one in self.predictions],
            **({} if self.score_kind == "probability" else {"score_kind": self.score_kind}),
            **self.judged,
            **self.marks,
        }

    def save_html(self, path: str | Path, *, tokens: AttentionMap | None = None) -> None:
        """Write one self-contained page with all maps to choose from.

        Args:
            path: The HTML file.
            tokens: What `token_attention` returned for the image: each patch can be chosen, to see where it looks.

        Raises:
            InputError: The result has no maps.
        """
        first = first_map(self.maps, 'classify(picture, maps="relevance")')
        page = replace(first._page(self.maps), tokens=tokens)
        write_page(path, pictures=[page], title=first.name)


def verdicts_of(shown: Sequence[SavedMap]) -> list[Checked]:
    """Return the verdicts on maps, of those that were checked."""
    return [one.checked for one in shown if one.checked is not None]


def page_words(word_map: AttentionMap, words: Sequence[WrittenWord]) -> tuple[PageWord, ...]:
    """Return the words of a map as a page shows them, with their probabilities."""
    labels = word_map.axes[0].labels or ()
    return tuple(
        PageWord(label, word.probability, word.image_dependence) for label, word in zip(labels, words, strict=True)
    )
