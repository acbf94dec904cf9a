"""What the match pipeline returns: how well texts fit a picture."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from ..errors import InputError
from ..inputs.damage import Damage
from ..models import ScoreKind
from .results import Result, SavedMap


@dataclass(frozen=True)
class TextMatch:
    """A text, and how well it fits the picture."""

    text: str
    score: float
    """A probability, 0 to 1: its share among the texts of the call (softmax), or by itself (sigmoid), as
    `MatchResult.score_kind` says."""

    similarity: float
    """The cosine of the embeddings of text and picture, -1 to 1: does not depend on the other texts."""


@dataclass(frozen=True, eq=False)
class MatchResult(Result):
    """How well texts fit a picture."""

    file: str | None
    matches: tuple[TextMatch, ...]
    """The texts, in the order of the call."""

    score_kind: ScoreKind = "probability"
    """What the scores are. "probability": 1 in sum over all texts of the call, so always 1 for a single text.
    "independent probability": 0 to 1 for each text by itself."""

    maps: tuple[SavedMap, ...] = ()
    damaged: Damage | None = None
    remark: str | None = None

    @property
    def scores(self) -> tuple[float, ...]:
        """The score of each text, in the order of the call."""
        return tuple(one.score for one in self.matches)

    @property
    def best(self) -> TextMatch:
        """The text that fits best."""
        return max(self.matches, key=lambda one: one.similarity)

    def to_dict(self) -> dict[str, object]:
        """`file`, `texts` with `text`, `score` and `similarity`, and `score_kind` where it is no "probability"."""
        return {
            "file": self.file,
            "texts": [{"text": one.text, "score": one.score, "similarity": one.similarity} for one in self.matches],
            **({} if self.score_kind == "probability" else {"score_kind": self.score_kind}),
            **self.judged,
            **self.marks,
        }

    def save_html(self, path: str | Path) -> None:
        """Write one self-contained page with all maps to choose from.

        Raises:
            InputError: The result has no maps.
        """
        raise InputError("there are no maps to save")


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
