"""Items that are processed in batches, of which some leave items that are processed again: results stay in order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Owner = TypeVar("Owner")
Item = TypeVar("Item")
Part = TypeVar("Part")

Process = Callable[[list[Item]], Iterable[tuple[Sequence[Part], Sequence[Item]]]]
"""Takes a batch; yields for each item its parts of the result, and the items that are left of it."""


@dataclass
class _Entry(Generic[Owner, Part]):
    """An item that was added, with what it has come to so far."""

    owner: Owner
    parts: list[Part] = field(default_factory=list)
    pending: int = 1


class Rounds(Generic[Owner, Item, Part]):
    """A queue of items that are processed in batches.

    What is left of an item is first in the next batch, so that the results that wait for it are few.

    Args:
        size: Items of a batch.
        process: Processes a batch. What is left of an item must end at some time.
        arrange: Puts all parts of one item in order.
    """

    def __init__(self, size: int, process: Process[Item, Part], *, arrange: Callable[[list[Part]], list[Part]]) -> None:
        self._size, self._process, self._arrange = size, process, arrange
        self._queue: deque[tuple[_Entry[Owner, Part], Item]] = deque()
        self._entries: deque[_Entry[Owner, Part]] = deque()

    def add(self, owner: Owner, item: Item) -> Iterator[tuple[Owner, list[Part]]]:
        """Add an item; yield the owner and the parts of each item that is done, in the order in which they came."""
        entry = _Entry[Owner, Part](owner)
        self._entries.append(entry)
        self._queue.append((entry, item))
        while len(self._queue) >= self._size:
            yield from self._run()

    def finish(self) -> Iterator[tuple[Owner, list[Part]]]:
        """Process all that is left; yield as `add` does."""
        while self._queue:
            yield from self._run()

    def _run(self) -> Iterator[tuple[Owner, list[Part]]]:
        batch = [self._queue.popleft() for _ in range(min(self._size, len(self._queue)))]
        left = list[tuple[_Entry[Owner, Part], Item]]()
        for (entry, _), (parts, rest) in zip(batch, self._process([item for _, item in batch]), strict=True):
            entry.parts += parts
            entry.pending += len(rest) - 1
            left += [(entry, item) for item in rest]
            while self._entries and not self._entries[0].pending:
                done = self._entries.popleft()
                yield done.owner, self._arrange(done.parts)
        self._queue.extendleft(reversed(left))
