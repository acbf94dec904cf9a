"""What is done about a file of a split that cannot be read: in training another one takes its place."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from multiattn.errors import InputError

from ..seeding import seed_for

_TRIES = 20
"""Replacements tried in a row for one unreadable file; at a share of 5 % unreadable, all fail once in 1e26."""

T = TypeVar("T")


class Records(Protocol):
    """The files of one split, not opened yet."""

    @property
    def items(self) -> Sequence[tuple[Path, Any]]:
        """Each file's path, and what is known of it: a label, captions, what is said in it."""


@dataclass(frozen=True)
class Files:
    """Files of which nothing more needs to be known."""

    items: tuple[tuple[Path, None], ...]
    """The path of each."""


def first_readable(
    records: Records, read: Callable[[int], T], *, seed: int, epoch: int, wanted: int
) -> tuple[T | None, int, tuple[tuple[str, str], ...]]:
    """The item `wanted`, or another one, drawn by the seed and the epoch, where it cannot be read.

    Returns:
        What was read, None where many in a row cannot be; its place; and file and reason of each that could not be.
    """
    index = wanted
    unreadable: list[tuple[str, str]] = []
    for attempt in range(_TRIES):
        try:
            return read(index), index, tuple(unreadable)
        except InputError as error:
            unreadable.append((str(records.items[index][0]), str(error)))
        index = seed_for(seed, epoch, wanted, attempt + 1) % len(records.items)
    # no error, which a worker process would wrap in a traceback: `UnreadableFiles` raises it
    return None, wanted, tuple(unreadable)
