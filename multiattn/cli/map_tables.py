"""What `multiattn evaluate maps` prints: a table, or JSON."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..maps.evaluation import Interval, MapEvaluation, MethodScore


def as_json(found: "MapEvaluation") -> dict[str, object]:
    """Return an evaluation as JSON values."""

    def values(one: "Interval") -> dict[str, float]:
        return one._asdict()

    return {
        "first": found.first,
        "scores": {name: asdict(score) | {"area": values(score.area)} for name, score in found.scores.items()},
        "pairs": [pair._asdict() | {"difference": values(pair.difference)} for pair in found.pairs],
    }


def table(found: "MapEvaluation") -> list[str]:
    """Return a row for each method and baseline, the largest area first, and the best against each other method."""
    wins = _wins_over_blob(found)
    columns: dict[str, Callable[[str, MethodScore], str]] = {
        "area": lambda name, one: f"{one.area.mean:.3f}",
        "95 % interval": lambda name, one: f"{one.area.low:.3f} to {one.area.high:.3f}",
        "shown": lambda name, one: f"{one.insertion:.3f}",
        "hidden": lambda name, one: f"{one.deletion:.3f}",
        "wins": lambda name, one: f"{wins[name]:.0%}" if name in wins else "-",
        "1/3": lambda name, one: _left(one, 1 / 3),
        "all": lambda name, one: _left(one, 1.0),
        "label": lambda name, one: _number(one.other_label),
        "points": lambda name, one: _number(one.pointing),
    }
    if all(one.pointing is None for one in found.scores.values()):
        del columns["points"]
    cells = [["", *columns]]
    cells += [[name, *(column(name, one) for column in columns.values())] for name, one in found.scores.items()]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rows = [
        row[0].ljust(widths[0]) + "".join(f"  {cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True))
        for row in cells
    ]
    pairs = [pair for pair in found.pairs if pair.method == found.first]
    rows += [""] * bool(pairs)
    for pair in pairs:
        mean, low, high = pair.difference
        rows.append(
            f"{found.first} less {pair.other.ljust(widths[0])}  {mean:.3f}  {low:.3f} to {high:.3f}  "
            f"larger on {pair.wins:.0%}"
        )
    return rows


def _wins_over_blob(found: "MapEvaluation") -> Mapping[str, float]:
    """The share of items on which each other map has a larger area than the centered blob."""
    blob = "centered blob"

    def shares() -> Iterator[tuple[str, float]]:
        for pair in found.pairs:
            if pair.other == blob:
                yield pair.method, pair.wins
            elif pair.method == blob:
                yield pair.other, 1 - pair.wins

    return dict(shares())


def _left(score: "MethodScore", share: float) -> str:
    """What is left of the map with the weights of this share of the blocks shuffled."""
    blocks = score.randomized
    return f"{blocks[max(1, round(share * len(blocks))) - 1]:.2f}" if blocks else "-"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
