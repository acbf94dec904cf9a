"""One model's queue, and the thread that computes what is in it: first come first served, in batches of what fits.

The way of a request: `admit` takes a place in the queue, or refuses; its input is read elsewhere; `put` makes it ready,
`release` gives the place back where it could not be read. The thread takes the oldest request that is ready, and with
it up to `batch_size` others of the same key, those of the most similar size first. It waits a few milliseconds for
more where there are others: requests that are being read now, or as many as shared the batch before. A client that is
alone is never kept waiting.
"""

import math
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from .work import BusyError, CancelledWork, DrainingError, ModelStatistics, TooLateError

_Item = TypeVar("_Item")
AGAIN = object()
"""What a call returns that is not done: it is made again when others have had their turn."""
_SHARING = 4
"""Calls that take turns; those that came later wait until one is done, or all of them would be late."""

_USUAL = 0.1  # seconds that a request is taken to need before one was computed


@dataclass(eq=False)
class _Waiting(Generic[_Item]):
    """A request that is ready, or a call that the thread makes by itself."""

    item: _Item | None
    key: Hashable
    size: float
    deadline: float | None
    cancelled: threading.Event
    future: "Future[Any]" = field(default_factory=Future)
    call: Callable[[], Any] | None = None


class Batcher(Generic[_Item]):
    """The queue and the thread of one model.

    Args:
        name: The model's name, for the thread.
        compute: Computes items of one key; returns a result or an exception for each, in their order.
        limit: The most requests that wait.
        batch_size: The most items that are computed at once.
        patience: Seconds to wait for more items.
    """

    def __init__(
        self,
        name: str,
        compute: Callable[[Sequence[_Item]], Sequence[Any]],
        *,
        limit: int,
        batch_size: int,
        patience: float,
    ) -> None:
        self._compute, self._limit, self._batch_size, self._patience = compute, limit, batch_size, patience
        self._changed = threading.Condition()
        self._waiting: list[_Waiting[_Item]] = []
        self._reading = 0  # admitted, but not ready yet
        self._running = 0
        self._last = 1  # items of the batch before
        self._batches = self._items = self._tokens = 0
        self._seconds = 0.0
        self._was_call = False  # what the thread computed last
        self._is_closed = self._is_abandoned = False
        self._thread = threading.Thread(target=self._work, name=f"multiattn-{name}", daemon=True)
        self._thread.start()

    def admit(self) -> None:
        """Take a place in the queue.

        Raises:
            BusyError: There is none.
            DrainingError: No more is taken.
        """
        with self._changed:
            if self._is_closed:
                raise DrainingError("the server is about to end: try another, or later")
            if (ahead := self._reading + len(self._waiting)) >= self._limit:
                each = self._seconds / self._items if self._items else _USUAL
                raise BusyError(max(1, math.ceil(ahead * each)))
            self._reading += 1

    def release(self) -> None:
        """Give back a place that `admit` took and that nothing is put in."""
        with self._changed:
            self._reading -= 1
            self._changed.notify_all()

    def put(
        self, item: _Item, *, key: Hashable, size: float, deadline: float | None, cancelled: threading.Event
    ) -> "Future[Any]":
        """Put an item in the place that `admit` took; return the future of what `compute` makes of it."""
        return self._put(_Waiting(item, key, size, deadline, cancelled))

    def put_call(self, call: Callable[[], Any], *, deadline: float | None, cancelled: threading.Event) -> "Future[Any]":
        """Have the thread call a function when it is its turn, in the place that `admit` took.

        Where it returns `AGAIN`, it is called again after a batch, where one waits, and after the calls that it shares
        the thread with.
        """
        return self._put(_Waiting(None, object(), 1, deadline, cancelled, call=call))

    def _put(self, one: _Waiting[_Item]) -> "Future[Any]":
        with self._changed:
            self._reading -= 1
            self._waiting.append(one)
            self._changed.notify_all()
        return one.future

    def count_tokens(self, number: int) -> None:
        """Count tokens that were written."""
        with self._changed:
            self._tokens += number

    def statistics(self, *, memory: int) -> ModelStatistics:
        """Return what was done so far; `memory` is that of the weights."""
        with self._changed:
            return ModelStatistics(
                queue=self._reading + len(self._waiting),
                running=self._running,
                batches=self._batches,
                items=self._items,
                tokens=self._tokens,
                seconds=self._seconds,
                memory=memory,
            )

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits or is computed."""
        with self._changed:
            return not (self._reading or self._waiting or self._running)

    def close(self) -> None:
        """Take no more requests; the thread ends when all that were admitted are done."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def abandon(self) -> None:
        """Close, and give up what waits."""
        self.close()
        with self._changed:
            given_up, self._waiting, self._is_abandoned = self._waiting, [], True
        for one in given_up:
            settle(one.future, _given_up())

    # --- the thread ---

    def _work(self) -> None:
        while batch := self._next():
            start = time.monotonic()
            if batch[0].call is not None:
                outcomes: Sequence[Any] = [_outcome(batch[0].call)]
            else:
                outcomes = self._computed([one.item for one in batch if one.item is not None])
            with self._changed:
                self._seconds += time.monotonic() - start
                self._running = 0
                self._was_call = batch[0].call is not None
                if outcomes[0] is AGAIN and not self._is_abandoned:
                    calls = [index for index, one in enumerate(self._waiting) if one.call is not None]
                    self._waiting.insert(
                        calls[_SHARING - 1] if len(calls) >= _SHARING else len(self._waiting), batch[0]
                    )
                    continue
                self._batches += 1
                self._items += len(batch)
            if outcomes[0] is AGAIN:
                outcomes = [_given_up()]
            for one, outcome in zip(batch, outcomes, strict=True):
                settle(one.future, outcome)
            del batch, outcomes  # while the thread waits, nothing of them stays in memory

    def _computed(self, items: Sequence[_Item]) -> Sequence[Any]:
        """Compute a batch; where that fails as a whole, each item by itself, for one may be to blame."""
        outcomes = _outcome(lambda: self._checked(items))
        if not isinstance(outcomes, BaseException):
            found: Sequence[Any] = outcomes
            return found
        if len(items) == 1:
            return [outcomes]
        return [one for item in items for one in self._computed([item])]

    def _checked(self, items: Sequence[_Item]) -> Sequence[Any]:
        found = self._compute(items)
        assert len(found) == len(items), "one outcome for each item"
        return found

    def _next(self) -> list[_Waiting[_Item]]:
        """Wait for a batch and return it; empty at the end."""
        with self._changed:
            while True:
                while not self._waiting:
                    if self._is_closed and not self._reading:
                        return []
                    self._changed.wait()
                self._wait_for_more()
                if batch := self._taken():
                    self._last, self._running = len(batch), len(batch)
                    return batch

    def _wait_for_more(self) -> None:
        end = time.monotonic() + self._patience
        while self._waiting and self._waiting[0].call is None:
            found = sum(one.key == self._waiting[0].key for one in self._waiting)
            is_enough = found >= self._batch_size or (not self._reading and found >= self._last)
            left = end - time.monotonic()
            if is_enough or left <= 0:
                return
            self._changed.wait(left)

    def _taken(self) -> list[_Waiting[_Item]]:
        """Take the next batch out of the queue, without what nobody waits for any more."""
        now = time.monotonic()
        for one in [one for one in self._waiting if _is_over(one, now)]:
            self._waiting.remove(one)
            late = not one.cancelled.is_set()
            settle(
                one.future, TooLateError("the time for this request is over") if late else CancelledWork("cancelled")
            )
        if not self._waiting:
            return []
        first = self._waiting[0]
        if self._was_call:  # now a batch
            first = next((one for one in self._waiting if one.call is None), first)
        fitting = [one for one in self._waiting if one.key == first.key and one is not first]
        fitting.sort(key=lambda one: abs(math.log(max(one.size, 1) / max(first.size, 1))))  # stable: by arrival
        batch = [first, *fitting[: self._batch_size - 1]]
        taken = set(map(id, batch))
        self._waiting = [one for one in self._waiting if id(one) not in taken]
        return batch


def _is_over(one: _Waiting[Any], now: float) -> bool:
    return one.cancelled.is_set() or one.future.cancelled() or (one.deadline is not None and now > one.deadline)


def _outcome(call: Callable[[], Any]) -> Any:
    """Return what a call returns, or the exception that it raises."""
    try:
        return call()
    except Exception as error:
        return error


def _given_up() -> DrainingError:
    return DrainingError("the server ended before this was computed: try again")


def settle(future: "Future[Any]", outcome: Any) -> None:
    """Set what comes of a request, unless its caller cancelled it, perhaps this very moment."""
    with suppress(InvalidStateError):
        if isinstance(outcome, BaseException):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
