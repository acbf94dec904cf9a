"""What the match pipeline returns: how well texts fit a picture."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from ..errors import InputError
from ..export import PagePicture, overlay_png, save_map, write_page
from ..export.canvas import PNGFile
from ..export.naming import readable
from ..inputs.damage import Damage
from ..maps import AttentionMap, Checked
from ..models import ScoreKind
from .image_results import ImageMap, PictureMap, score_text
from .results import Result, first_map


@dataclass(frozen=True)
class TextMatch:
    """A text, and how well it fits the picture."""

    text: str
    score: float
    """A probability, 0 to 1: its share among the texts of the call (softmax), or by itself (sigmoid), as
    `MatchResult.score_kind` says."""

    similarity: float
    """The cosine of the embeddings of text and picture, -1 to 1: does not depend on the other texts."""


@dataclass(frozen=True)
class TextWord:
    """A word of a text, and how much it counts."""

    word: str
    start: int
    """Index of its first character in the text."""

    end: int
    """Index after its last character."""

    value: float
    """What the map of the text has for it, in the units of the method."""


@dataclass(frozen=True, eq=False)
class MatchMap(PictureMap):
    """Maps by one method of a text that fits a picture: of the picture (`map`), and of the words of the text."""

    text: AttentionMap = field(kw_only=True)
    """How much each word counts, axes ("word",)."""

    explained: str = field(kw_only=True)
    """The text that is explained."""

    by_text: tuple[AttentionMap, ...] = field(default=(), repr=False, kw_only=True)
    """The same for each of the first of `predictions`, for the page; empty for a method that has one map for all."""

    def save(self, path: str | Path) -> None:
        """Write the numbers: an npz file and, beside it, a JSON file that describes them.

        Those of the words lie beside them: for `cat.npz`, in `cat.text.npz`.
        """
        super().save(path)
        save_map(self.text, Path(path).with_suffix(".text.npz"))

    def save_png(self, path: PNGFile) -> None:
        """Write the image with the map over it, the words in the shade of what each counts, and a color bar."""
        chosen = next(one for one in self.predictions if one.label == self.explained)
        caption = f"{score_text(chosen.score, self.score_kind)} · {readable(self.map.method)}"
        overlay_png(self.map, self.picture, path, caption=caption, remarks=self.remarks, words=self.text)

    def _page(self, shown: Sequence[ImageMap]) -> PagePicture:
        ours = [one for one in shown if isinstance(one, MatchMap)]
        texts = [text for one in ours for text in (one.text, *one.by_text)]
        return replace(super()._page(shown), texts=texts, heading="Texts")


@dataclass(frozen=True, eq=False)
class MatchResult(Result):
    """How well texts fit a picture."""

    file: str | None
    matches: tuple[TextMatch, ...]
    """The texts, in the order of the call."""

    score_kind: ScoreKind = "probability"
    """What the scores are. "probability": 1 in sum over all texts of the call, so always 1 for a single text.
    "independent probability": 0 to 1 for each text by itself."""

    words: tuple[TextWord, ...] = ()
    """With maps: the words of the text that they explain, by the first of the methods."""

    maps: tuple[MatchMap, ...] = ()
    damaged: Damage | None = None
    remark: str | None = None
    verdicts: tuple[Checked, ...] = ()

    @property
    def scores(self) -> tuple[float, ...]:
        """The score of each text, in the order of the call."""
        return tuple(one.score for one in self.matches)

    @property
    def score(self) -> float:
        """The score of the text that fits best."""
        return self.best.score

    @property
    def best(self) -> TextMatch:
        """The text that fits best."""
        return max(self.matches, key=lambda one: (one.score, one.similarity))

    def to_dict(self) -> dict[str, object]:
        """`file`, `texts` with `text`, `score` and `similarity`, and what is not as usual, as JSON values.

        `score_kind` where it is no "probability", and with maps `words`: those of the text that is explained.
        """
        return {
            "file": self.file,
            "texts": [{"text": one.text, "score": one.score, "similarity": one.similarity} for one in self.matches],
            **({} if self.score_kind == "probability" else {"score_kind": self.score_kind}),
            **({"words": [vars(one) for one in self.words]} if self.words else {}),
            **self.judged,
            **self.marks,
        }

    def save_html(self, path: str | Path, *, tokens: AttentionMap | None = None) -> None:
        """Write one self-contained page with all maps to choose from.

        Args:
            path: The HTML file.
            tokens: As for `ClassifyResult.save_html`.

        Raises:
            InputError: The result has no maps.
        """
        first = first_map(self.maps, 'match(picture, texts, maps="relevance")')
        page = replace(first._page(self.maps), tokens=tokens)
        write_page(path, pictures=[page], title=first.name)


@dataclass(frozen=True, eq=False)
class Similarities(Result):
    """How well a picture fits each of many texts, as one array."""

    file: str | None
    index: int
    """The picture's place among the inputs, from 0."""

    values: Float[np.ndarray, " r"]
    """The logit of each text, float32: larger is better."""

    def to_dict(self) -> dict[str, object]:
        """`file` and `logits`."""
        return {"file": self.file, "logits": self.values.tolist()}

    def save_html(self, path: str | Path) -> None:
        """Refuse: there are no maps.

        Raises:
            InputError: Always.
        """
        raise InputError("there are no maps to save")
