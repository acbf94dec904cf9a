"""What every evaluation says beside its figures, and which part of a split it is of."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from .output import printable

_Item = TypeVar("_Item")


@dataclass(frozen=True)
class EvaluationReport:
    """What was measured on what."""

    items: int
    """Things that the figures are of."""

    skipped: int
    """Things that could not be used."""

    model: str
    """As it was asked for."""

    data: str
    """As it was asked for."""

    split: str
    """The sub-folder of the data."""

    @classmethod
    def of(cls, args: argparse.Namespace, *, items: int, skipped: int) -> "EvaluationReport":
        """What was asked for on the command line, and how many things that came to."""
        return cls(items=items, skipped=skipped, model=args.model, data=args.data, split=args.split)

    def line(self, things: str) -> str:
        """A line to read, which calls the items `things`."""
        text = printable(f"on {self.items} {things} of {self.data} ({self.split}) with {self.model}")
        return text + (f"; {self.skipped} skipped" if self.skipped else "")


def evenly_spread(items: Sequence[_Item], limit: int | None) -> Sequence[_Item]:
    """At most `limit` items, from the first on at equal distances; all where None. Splits are often sorted."""
    if limit is None or limit >= len(items):
        return items
    return [items[i * len(items) // limit] for i in range(limit)]
