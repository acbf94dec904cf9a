"""Dividing inputs among workers, and collecting what comes of them, in order.

Inputs are handed out in chunks of whole batches, as many as take about half a second: a batch has the inputs that it
has in a run of one process, and its results are the same. A worker answers with all of a chunk at once. When one ends
in the middle, another computes its chunk again, batch by batch, and then input by input; an input that ends a process
also alone is a failure. So nothing is lost, and nothing comes twice.
"""

import heapq
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from ...errors import InputError, MultiattnError
from ..feed import Job
from ..outcome import Outcome

_SECONDS = 0.5
"""What a chunk should take: long against the way there and back, short against the wait for the last one."""

_MOST_BATCHES = 64
"""Batches of a chunk."""

_AHEAD = 16
"""Chunks for each worker that may be finished before the one that is written next is."""

_MOST_ENDS = 12
"""Ends of workers in a row, without a chunk that was finished, after which the run gives up."""

_MOST_STARTS = 3
"""Starts of a worker that ends before it is ready, after which the run goes on without it."""


class Ready(NamedTuple):
    """A worker has loaded the model."""

    worker: int


class Finished(NamedTuple):
    """A worker has computed its oldest chunk."""

    worker: int
    outcomes: list[list[Outcome]]
    seconds: float
    """What it took."""


class Raised(NamedTuple):
    """Something was raised in a worker, which ends the run as it would end that of one process."""

    worker: int
    error: BaseException


class Ended(NamedTuple):
    """A worker has ended by itself, or was killed."""

    worker: int
    reason: str


Event = Ready | Finished | Raised | Ended


class Workers(ABC):
    """Workers of one kind, by their numbers, each of which computes its chunks one after the other."""

    subject: str
    """What messages call them: the option that asks for them."""

    count: int
    """Their number."""

    @abstractmethod
    def start(self, worker: int) -> None:
        """Start a worker, or start it again; `wait` tells when it is ready."""

    @abstractmethod
    def send(self, worker: int, jobs: Sequence[Job]) -> None:
        """Give a worker that is ready a chunk."""

    @abstractmethod
    def wait(self) -> list[Event]:
        """Wait until there is news, and return it."""

    @abstractmethod
    def stop(self, *, at_once: bool) -> None:
        """End all workers, where not `at_once` in their own way."""


@dataclass(order=True)
class _Chunk:
    start: int
    """The number of its first input among all."""

    jobs: list[Job] = field(compare=False)

    ends: int = field(compare=False, default=0)
    """How many workers have ended with it."""


class Pool:
    """Computes inputs with several workers.

    Args:
        workers: The workers.
        jobs: The inputs, taken when a worker is free for them.
        batch: The number of inputs that are computed at once.
        what: What an input is, for messages: a "picture".
        tell: Takes messages.
    """

    def __init__(
        self,
        workers: Workers,
        jobs: Iterator[Job],
        *,
        batch: int,
        what: str,
        tell: Callable[[str], None],
    ) -> None:
        self._workers, self._count, self._jobs, self._batch = workers, workers.count, jobs, batch
        self._what, self._tell = what, tell
        self._starting: dict[int, int] = {}  # the workers that are not ready, and how often each was started
        self._given: dict[int, deque[_Chunk]] = {}  # of each worker that is ready: its chunks, the oldest first
        self._again: list[_Chunk] = []  # a heap
        self._done: dict[int, list[Outcome]] = {}  # by the number of the input
        self._taken = self._yielded = 0
        self._is_over = False
        self._seconds = _SECONDS / batch  # of an input; the first chunks are of one batch each
        self._ends = 0

    def start(self) -> None:
        """Start the workers, and wait until the first is ready.

        Raises:
            UsageError: Options and model do not go together.
            MultiattnError: The model cannot be loaded, or the workers end before they are ready.
        """
        for worker in range(self._count):
            self._start(worker)
        while not self._given:
            self._heed(self._workers.wait())

    def outcomes(self) -> Iterator[list[Outcome]]:
        """Yield for each input in order what came of it."""
        while True:
            self._hand_out()
            if self._yielded in self._done:
                self._yielded += 1
                yield self._done.pop(self._yielded - 1)
            elif self._yielded == self._taken and self._is_over:
                return
            else:
                self._heed(self._workers.wait())

    @property
    def finished(self) -> Mapping[int, list[Outcome]]:
        """What came of inputs that wait for an earlier one, by their numbers."""
        return self._done

    def stop(self, *, at_once: bool) -> None:
        """End all workers."""
        self._workers.stop(at_once=at_once)

    def _start(self, worker: int) -> None:
        self._starting[worker] = self._starting.get(worker, 0) + 1
        self._workers.start(worker)

    def _hand_out(self) -> None:
        """Give chunks to the workers that have too few: one to compute, and a short one to go on with."""
        depth = 2 if self._seconds * self._batch < _SECONDS else 1
        for level in range(depth):
            for worker, chunks in self._given.items():
                if len(chunks) == level and (chunk := self._next()):
                    chunks.append(chunk)
                    self._workers.send(worker, chunk.jobs)

    def _next(self) -> _Chunk | None:
        if self._again:
            return heapq.heappop(self._again)
        batches = min(_MOST_BATCHES, max(1, int(_SECONDS / max(self._seconds * self._batch, 1e-9))))
        size = batches * self._batch
        if self._is_over or self._taken - self._yielded > _AHEAD * self._count * size:
            return None
        chunk = _Chunk(self._taken, list(islice(self._jobs, size)))
        self._is_over = len(chunk.jobs) < size
        self._taken += len(chunk.jobs)
        return chunk if chunk.jobs else None

    def _heed(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, Ready):
                self._given[event.worker] = deque()
                self._starting.pop(event.worker)
            elif isinstance(event, Finished):
                chunk = self._given[event.worker].popleft()
                self._done.update(enumerate(event.outcomes, start=chunk.start))
                self._seconds = event.seconds / len(chunk.jobs)
                self._ends = 0
            elif isinstance(event, Raised):
                raise event.error
            else:
                self._restart(event)

    def _restart(self, end: Ended) -> None:
        self._ends += 1
        chunks = self._given.pop(end.worker, None)
        if self._ends >= _MOST_ENDS or (chunks is None and not self._given):
            raise MultiattnError(
                f"{self._workers.subject} must be workers that go on, but {end.reason} "
                f"{'before it was ready' if chunks is None else f'as the last of {self._ends} in a row'} instead: is "
                "there memory for so many models?"
            )
        is_given_up = chunks is None and self._starting[end.worker] == _MOST_STARTS
        what = "it is not ready" if chunks is None else "it is started again"
        if is_given_up:
            self._starting.pop(end.worker)
            what = f"the run goes on with {len(self._given) + len(self._starting)} of {self._count} workers"
        elif chunks:
            count = len(chunks[0].jobs)
            again = f"the {self._what}" if count == 1 else f"the {count} {self._what}s"
            what = f"{again} that it had {'is' if count == 1 else 'are'} computed again"
            self._try_again(chunks.popleft(), end.reason)
            for chunk in chunks:
                heapq.heappush(self._again, chunk)
        self._tell(f"{self._workers.subject}: {end.reason}; {what}")
        if not is_given_up:
            self._start(end.worker)

    def _try_again(self, chunk: _Chunk, reason: str) -> None:
        jobs, ends = chunk.jobs, chunk.ends + 1
        if len(jobs) == 1 and ends > 1:
            name = str(jobs[0].file)
            error = InputError(
                f"`{name}` must be a {self._what} that can be computed, but each process that did so has ended "
                f"instead (the last one: {reason}). It is left out."
            )
            failure = Outcome([str(error)], error)
            self._done[chunk.start] = [failure, *[Outcome(error=error)] * (jobs[0].num_results - 1)]
            return
        size = self._batch if len(jobs) > self._batch else 1
        for start in range(0, len(jobs), size):
            heapq.heappush(self._again, _Chunk(chunk.start + start, jobs[start : start + size], ends))
