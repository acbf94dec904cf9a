"""Which known layout is nearest to tensors of an unknown one: for messages."""

from collections.abc import Collection, Iterable
from typing import NamedTuple

from .bundle import Layout


class Nearest(NamedTuple):
    """The layout that has a place for most of some tensors."""

    layout: Layout | None
    """None where no layout has a place for any."""

    fitting: int
    """How many it has a place for."""

    first: str | None
    """The first of the others; None where it has a place for all."""

    def describe(self, total: int) -> str:
        """Return a clause for a message about `total` tensors: "the nearest is ..."."""
        if self.layout is None:
            return "it has no tensors" if self.first is None else f"no layout has a tensor {self.first}"
        has = "" if self.first is None else f", which has no place for its {self.first}"
        return f"the nearest is {self.layout.name} ({self.fitting} of {total} tensors{has})"


def nearest_of(keys: Collection[str], layouts: Iterable[Layout]) -> Nearest:
    """Find the layout that has a place for most of these keys, whatever the part before their first dot."""
    found = Nearest(None, 0, next(iter(keys), None))
    for layout in layouts:
        others = [key for key in keys if not _fits(key, layout)]
        if (count := len(keys) - len(others)) > found.fitting:
            found = Nearest(layout, count, next(iter(others), None))
    return found


def _fits(key: str, layout: Layout) -> bool:
    return any(table.has(name) for table in layout.tables for name in (key, key.partition(".")[2]))
