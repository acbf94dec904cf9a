"""Measure map methods on predictions that can be explained again: with other weights, or for a second label."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from torch import nn

from .evaluation import BASELINES, MapEvaluation, Measured, centered_blob, evaluate, random_map, spearman
from .faithfulness import map_curves
from .masking import MaskedInput
from .pointing import points
from .randomization import blocks_of, randomized_models

RANDOMIZED_ITEMS = 10
"""Predictions that are explained again with shuffled weights: enough to tell a correlation of 0.9 from one of 0.5."""

Explain = Callable[[nn.Module, str], Float[np.ndarray, "*cells"]]
"""Takes a model and the name of a method, and returns the map of what is explained."""


class Explained(NamedTuple):
    """A prediction, with the input that can be masked, and the way to explain it."""

    masked: MaskedInput
    explain: Explain
    explain_second: Explain | None = None
    """The map of another label: of the class with the second highest score, of another word of the same text."""

    inside: Bool[np.ndarray, "y x"] | None = None
    """Which cells are in a box around what the prediction is about; None where no boxes are known."""


@dataclass
class Measurement:
    """Measures predictions one by one.

    Args:
        model: The model that made them.
        methods: The methods to measure, beside the baselines.
        seed: Of the random maps, and of the shuffled weights.
    """

    model: nn.Module
    methods: Sequence[str]
    seed: int = 0

    def __post_init__(self) -> None:
        self._generator = np.random.default_rng(self.seed)
        names = (*self.methods, *BASELINES)
        self._curves: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
        self._points: dict[str, list[float]] = {name: [] for name in names}
        self._second: dict[str, list[float]] = {name: [] for name in self.methods}
        self._kept: list[tuple[Explained, Mapping[str, np.ndarray]]] = []

    def add(self, one: Explained) -> None:
        """Measure a prediction: the curves of all maps, whether they point, and the maps of a second label."""
        cells, center = one.masked.cells, one.masked.center
        maps = {name: one.explain(self.model, name) for name in self.methods}
        blind = (centered_blob(cells, center), random_map(cells, self._generator))
        named = maps | dict(zip(BASELINES, blind, strict=True))
        for name, curves in zip(named, map_curves(one.masked, list(named.values())), strict=True):
            self._curves[name].append((float(curves.insertion.mean()), float(curves.deletion.mean())))
        for name, values in named.items():
            if one.inside is not None and one.inside.any():
                # a random map has its highest cell in each place equally often
                even = np.ones(cells) if name == "random" else values
                self._points[name].append(float(points(even, one.inside)))
        if one.explain_second is not None:
            for name in self.methods:
                self._second[name].append(spearman(maps[name], one.explain_second(self.model, name)))
        if len(self._kept) < RANDOMIZED_ITEMS:
            self._kept.append((one, maps))

    @property
    def num_blocks(self) -> int:
        """The number of blocks whose weights `result` shuffles."""
        return len(blocks_of(self.model))

    def result(self, advance: Callable[[], None] = lambda: None) -> MapEvaluation:
        """Explain some of the predictions again with shuffled weights, and summarize all.

        Args:
            advance: Called after each block.

        Raises:
            ModelError: Too few predictions were measured.
        """
        measured = {name: Measured(*np.array(curves).reshape(-1, 2).T) for name, curves in self._curves.items()}
        found = evaluate(measured, other_label=self._second, pointing=self._points)  # raises before the slow part
        alike: dict[str, list[list[float]]] = {name: [] for name in self.methods}
        for model in randomized_models(self.model, seed=self.seed):
            for name in self.methods:
                again = (spearman(maps[name], one.explain(model, name)) for one, maps in self._kept)
                alike[name].append(list(again))
            advance()
        return found.with_randomized({name: np.array(values).mean(axis=1) for name, values in alike.items()})
