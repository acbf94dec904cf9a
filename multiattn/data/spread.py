"""A part of a list whose items lie at equal distances."""

from collections.abc import Sequence
from typing import TypeVar

_Item = TypeVar("_Item")


def evenly_spread(items: Sequence[_Item], limit: int | None) -> Sequence[_Item]:
    """Take at most `limit` items (None: all) at equal distances from the first on, because splits are often sorted."""
    if limit is None or limit >= len(items):
        return items
    return [items[i * len(items) // limit] for i in range(limit)]
