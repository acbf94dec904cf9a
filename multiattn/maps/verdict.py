"""A verdict on one map of one input: does the prediction depend on what the map points at, more than by chance?

The map's brightest cells are hidden, ever more of them, and so are those of a blob where one would look without a model
(the center of a picture), and random ones. The prediction must fall further without the map's cells than without
either. `judging` makes it, in 12 forward passes a map.
Source: deletion, Petsiuk et al. 2018 (RISE), section 4.1; the comparison with the center: Judd et al. 2009, section 2.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

VerdictWord = Literal["strong", "weak", "no better than chance"]

SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2)
"""Shares of the cells that are hidden."""

QUARTER = SHARES.index(1 / 4)
"""The share that is compared with random cells."""

ORDERS = 4
"""Random choices of a quarter of the cells."""

PASSES = 2 * len(SHARES) + ORDERS
"""Forward passes that a verdict costs."""

WEAK, STRONG = 0.25, 0.5
"""The least `lead` of each word. WEAK is set so that, for each of the models and data sets that
`tests/benchmarks/verdict.py` was run with, at most 5 % of random maps and of centered ones reach it, on the half of the
inputs that it was chosen by; docs/maps.md has the other half. STRONG is twice that."""


@dataclass(frozen=True)
class Verdict:
    """What happened to a prediction without the cells that its map points at. Probabilities are from 0 to 1."""

    word: VerdictWord
    """By the rule of `lead`."""

    whole: float
    """The probability with nothing hidden."""

    deleted: tuple[float, ...]
    """Without the map's brightest cells, for each of `SHARES`."""

    center: tuple[float, ...]
    """Without the cells where one would look without a model, for each of `SHARES`."""

    random: tuple[float, ...]
    """Without a random quarter of the cells, for each of `ORDERS` orders."""

    place: str = "the center"
    """Where one would look without a model, in words."""

    @property
    def text(self) -> str:
        """One line: `strong: without its brightest quarter 94 -> 31 %; a random quarter 88 %; the center 80 %`."""
        random = sum(self.random) / len(self.random)
        return (
            f"{self.word}: without its brightest quarter {percent(self.whole)} -> {percent(self.deleted[QUARTER])} %; "
            f"a random quarter {percent(random)} %; {self.place} {percent(self.center[QUARTER])} %"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the word, the line and the points as JSON values."""
        return {
            "word": self.word,
            "line": self.text,
            "whole": self.whole,
            "shares": list(SHARES),
            "deleted": list(self.deleted),
            "center": list(self.center),
            "random": list(self.random),
            "place": self.place,
        }


@dataclass(frozen=True)
class Checked:
    """The verdicts on the maps of one input by one method."""

    method: str
    """The method."""

    verdict: Verdict
    """On the map of a label or an answer; of a text, on the sum of the maps of its words."""

    words: tuple[tuple[str, Verdict], ...] = ()
    """Words of a caption, a transcript or a question, each with the verdict on its map, where those were asked for."""

    question: Verdict | None = None
    """Whether the answer depends on the words of its question that the map's values add up to."""

    asked: str = "question"
    """What `question` judges the words of, in messages and as the key in JSON: "question", or "text" of a match."""

    span: tuple[float, float] | None = None
    """Start and end in seconds of the part of a recording that the map is of."""

    @property
    def lines(self) -> list[str]:
        """One line to read for each verdict but those of single words."""
        lines = [f"{self.method.replace('_', ' ')}: {self.verdict.text}"]
        return lines if self.question is None else [*lines, f"words of the {self.asked}: {self.question.text}"]

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as JSON values."""
        facts: dict[str, Any] = {"method": self.method}
        if self.span is not None:
            facts |= {"start": round(self.span[0], 3), "end": round(self.span[1], 3)}
        facts |= self.verdict.to_dict()
        if self.question is not None:
            facts[self.asked] = self.question.to_dict()
        words = [{"of": text} | verdict.to_dict() for text, verdict in self.words]
        return facts | ({"words": words} if words else {})


def lead(whole: float, deleted: tuple[float, ...], center: tuple[float, ...], random: tuple[float, ...]) -> float:
    """Compute how much further the prediction falls without the map's cells than without others, as a share of it.

    The lesser of two leads: without its brightest quarter, over three of the four random quarters (one in four hits a
    small object as a whole); and over the center, the mean over the shares. Where the prediction is surer without some
    cells, all of it is left.
    """
    left, of_center, of_random = (
        np.minimum(np.array(points) / max(whole, 1e-12), 1.0) for points in (deleted, center, random)
    )
    return float(min(np.sort(of_random)[1] - left[QUARTER], (of_center - left).mean()))


def word_of(
    whole: float, deleted: tuple[float, ...], center: tuple[float, ...], random: tuple[float, ...]
) -> VerdictWord:
    """Return the word for these points, by `lead` and its two thresholds."""
    found = lead(whole, deleted, center, random)
    return "strong" if found >= STRONG else "weak" if found >= WEAK else "no better than chance"


def percent(probability: float) -> str:
    """Return a probability to read: `94`, `0.4`, `0`."""
    value = 100 * probability
    return f"{value:.0f}" if value >= 1 or value < 0.05 else f"{value:.1f}"
