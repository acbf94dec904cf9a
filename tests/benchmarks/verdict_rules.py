"""Whether another rule, or more forward passes, would see more maps that are right at as few wrong ones.

    python -m tests.benchmarks.verdict_rules --task classify --data FOLDER [--model M] --points FILE
    python -m tests.benchmarks.verdict_rules --compare FILE [FILE ...]

The first command takes the options of `tests.benchmarks.verdict` and keeps, for each map, what is left of the
prediction with 8 random orders hidden at every share, and with the last quarter of each. The second prints, for each
rule, the least threshold at which random and centered maps are called weak or strong in at most 5 % of cases in every
file, and what share of a method's maps reaches it, and twice of it.
"""

import json
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

from multiattn.maps import MaskedInput, Verdict
from multiattn.maps.evaluation import centered_blob
from multiattn.maps.verdict import ORDERS, QUARTER, SHARES
from tests.benchmarks import verdict

DRAWN = 8
"""Random orders."""

MOST = 0.05
"""Of the maps that see nothing, the share that may be called more than chance."""

Rule = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], float]
"""From what is left, as shares of the prediction: without the map's cells, those of the center (both at each share),
those of the random orders (at each share) and the last quarter of each order."""

RULES: dict[str, tuple[int, Rule]] = {
    "as it is: 4 orders at a quarter": (12, lambda d, c, o, r: _least(np.sort(o[:4, 2])[1] - d[2], c - d)),
    "2 orders and their last quarters": (12, lambda d, c, o, r: _least(np.sort([*o[:2, 2], *r[:2]])[1] - d[2], c - d)),
    "1 order at each share, mean": (12, lambda d, c, o, r: _least((o[0] - d).mean(), c - d)),
    "4 orders at a quarter, mean": (12, lambda d, c, o, r: _least(o[:4, 2].mean() - d[2], c - d)),
    "8 orders at a quarter": (16, lambda d, c, o, r: _least(np.sort(o[:, 2])[2] - d[2], c - d)),
    "2 orders at each share, mean": (16, lambda d, c, o, r: _least((o[:2] - d).mean(), c - d)),
    "8 orders at each share": (40, lambda d, c, o, r: _least(np.sort((o - d).mean(axis=1))[2], c - d)),
}
"""The rules that are compared, with their forward passes."""


def _least(over_random: float, over_center: np.ndarray) -> float:
    return float(min(over_random, over_center.mean()))


class RichRecorder(verdict.Recorder):
    """Keeps what is left of a prediction with more random orders hidden; what does not depend on the map, once."""

    def __init__(self) -> None:
        super().__init__()
        self._shared: tuple[MaskedInput, list[list[float]], list[float]] | None = None

    def __call__(self, values: np.ndarray, masked: MaskedInput, *, seed: int = 0, place: str = "the center") -> Verdict:
        count = int(np.prod(masked.cells))
        if self._shared is None or self._shared[0] is not masked:
            generator = torch.Generator().manual_seed(seed)
            orders = [torch.randperm(count, generator=generator).reshape(masked.cells) for _ in range(DRAWN)]
            blob = masked.ranks(centered_blob(masked.cells, masked.center))
            left = self._left(masked, [blob, *orders])
            last = masked.probability(torch.stack([_first(count - 1 - one, SHARES[QUARTER]) for one in orders]))
            self._shared = masked, left, last.tolist()
        _, (center, *random), last_quarters = self._shared
        middle = masked.center or (0.5,) * len(masked.cells)
        kinds = {"map": values, "random": self._generator.random(masked.cells, dtype=np.float32)}
        moved = tuple(None if at is None else at + verdict.OFF * self._generator.standard_normal() for at in middle)
        kinds["centered"] = centered_blob(masked.cells, moved)
        quarter = [of_order[QUARTER] for of_order in random[:ORDERS]]
        for kind, deleted in zip(kinds, self._left(masked, [masked.ranks(one) for one in kinds.values()]), strict=True):
            found = Verdict("weak", masked.whole, tuple(deleted), tuple(center), tuple(quarter), place)
            self._add(kind, masked, found)
            self.records[-1] |= {"orders": random, "last": last_quarters}
        return found

    @staticmethod
    def _left(masked: MaskedInput, ranks: Sequence[Tensor]) -> list[list[float]]:
        hidden = torch.stack([_first(one, share) for one in ranks for share in SHARES])
        found: list[list[float]] = masked.probability(hidden).reshape(len(ranks), len(SHARES)).tolist()
        return found


def _first(ranks: Tensor, share: float) -> Tensor:
    return ranks < max(1, round(share * ranks.numel()))


def compare(names: Sequence[str]) -> None:
    """Print how often each rule sees the maps of a method, at the same share of wrong ones."""
    rows: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for name in names:
        for line in Path(name).read_text(encoding="utf-8").splitlines():
            one = json.loads(line)
            rows[Path(name).stem, one["of"]].append(one)
    for title, (passes, rule) in RULES.items():
        leads = {
            (row, kind): np.array([_lead(rule, one) for one in records if one["kind"] == kind])
            for row, records in rows.items()
            for kind in ("map", "random", "centered")
        }
        blind = [found for (_, kind), found in leads.items() if kind != "map"]
        least = next(t for t in np.arange(0.02, 1, 0.01) if all((found >= t).mean() <= MOST for found in blind))
        shown = "".join(
            f"   {row[0]}, {row[1]}: {(leads[row, 'map'] >= least).mean():.1%}"
            f" ({(leads[row, 'map'] >= 2 * least).mean():.1%})"
            for row in rows
        )
        print(f"{title:34}{passes:3} passes, from {least:.2f}{shown}")


def _lead(rule: Rule, one: dict[str, Any]) -> float:
    whole = max(one["whole"], 1e-12)
    return rule(*(np.minimum(np.array(one[name]) / whole, 1) for name in ("deleted", "center", "orders", "last")))


if __name__ == "__main__":
    if "--compare" in sys.argv[1:2]:
        compare(sys.argv[2:])
    else:
        with patch.object(verdict, "Recorder", RichRecorder):
            verdict.main()
