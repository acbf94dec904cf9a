"""One model in a process of a Ray cluster: what a deployment of Ray Serve runs, as often as it has replicas.

Requests come as `Order`s, which unlike `Work` can be sent to another machine, and are gathered to batches by
`serve.batch`; the way of each is that of `computing`, as in the engine of one process.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import MultiattnError, portable
from .work import CancelledWork, Reply, TooLateError, Work

READERS = 2
"""Threads that decode pictures and draw maps beside the one that computes."""

_SHARING = 4
"""Long recordings that are transcribed in turns; others wait, or all of them would be late."""


@dataclass(frozen=True)
class Order:
    """A `Work` on its way to another process: the deadline is how long is left, for clocks differ."""

    model: str
    task: str
    input: Any
    options: Mapping[str, Any]
    questions: tuple[str, ...]
    maps: str | None
    check: bool
    seconds: float | None

    @classmethod
    def of(cls, work: Work) -> "Order":
        """Return the order of a work, as of now."""
        seconds = None if work.deadline is None else work.deadline - time.monotonic()
        options = dict(work.options)
        return cls(work.model, work.task, work.input, options, work.questions, work.maps, work.check, seconds)

    def work(self) -> Work:
        """Return the work, which is not cancelled, by the clock of this process."""
        deadline = None if self.seconds is None else time.monotonic() + self.seconds
        return Work(self.model, self.task, self.input, self.options, self.questions, self.maps, self.check, deadline)


@dataclass(frozen=True)
class Answer:
    """What came of an order, or of a part of it: a reply or an error, which is no exception of the replica."""

    reply: Reply | None = None
    error: BaseException | None = None
    batch: int = 1
    """Requests that were computed with it."""

    seconds: float = 0.0
    """Seconds of computing, of the whole batch."""


@dataclass(frozen=True)
class _Found:
    """What computing came to, before maps are drawn."""

    found: Any
    batch: int
    seconds: float


@dataclass
class ModelReplica:
    """A model, loaded when the replica starts.

    Args:
        name: The name under which it is served.
        model: As `multiattn.load` takes it.
        batch_size: The most requests that are computed at once.
        patience: Seconds to wait for more requests of a batch.
        limits: Fields of `computing.Limits`.
        device: As for `multiattn.load`.
        precision: As for `multiattn.load`.
        threads: Threads of one computation; None for as many as torch takes.

    Raises:
        ModelError: The model cannot be loaded.
    """

    name: str
    model: str
    batch_size: int = 16
    patience: float = 0.004
    limits: Mapping[str, Any] = field(default_factory=dict)
    device: str = "auto"
    precision: str | None = None
    threads: int | None = None

    def __post_init__(self) -> None:
        from ray import serve

        from . import computing

        if self.threads is not None:
            import torch

            torch.set_num_threads(self.threads)
        self._computing, self._limits = computing, computing.Limits(**self.limits)
        self._pipeline = computing.open_pipeline(self.model, device=self.device, precision=self.precision)
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="compute")
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="read")
        self._turns = asyncio.Semaphore(_SHARING)
        gather = serve.batch(max_batch_size=self.batch_size, batch_wait_timeout_s=self.patience)
        self._gathered: Callable[[Any], Any] = gather(self._compute)

    async def run(self, order: Order) -> Answer:
        """Do one order, with others in a batch where there are some."""
        work = order.work()
        try:
            ready = await self._in(self._readers, self._computing.read, self._pipeline, work, self._limits)
            if ready.alone:
                steps = [one async for one in self._steps(ready)]
                return replace(steps[-1], seconds=sum(one.seconds for one in steps))
            found = await self._gathered(ready)
            if isinstance(found, BaseException):
                return Answer(error=portable(found))
            reply = await self._in(self._readers, self._computing.reply, work, found.found)
            return Answer(reply, batch=found.batch, seconds=found.seconds)
        except Exception as error:
            return Answer(error=portable(error))
        except asyncio.CancelledError:
            work.cancelled.set()  # what is being computed stops at its next step
            raise

    async def _compute(self, batch: list[Any]) -> list[_Found | BaseException]:
        """Compute the requests of a batch, those with equal keys at once, in the order in which they came."""
        groups: dict[Hashable, list[int]] = defaultdict(list)
        for index, ready in enumerate(batch):
            groups[ready.key].append(index)
        done: dict[int, _Found | BaseException] = {}
        for indices in groups.values():
            done |= {index: error for index in indices if (error := _no_longer(batch[index].work)) is not None}
            wanted = [index for index in indices if index not in done]
            found = await self._in(self._worker, self._compute_group, [batch[index] for index in wanted])
            done |= zip(wanted, found, strict=True)
        return [done[index] for index in range(len(batch))]

    def _compute_group(self, group: Sequence[Any]) -> Sequence[_Found | BaseException]:
        """Compute requests at once; where that fails as a whole, each by itself, for one may be to blame."""
        start = time.monotonic()
        try:
            found = self._computing.compute(self._pipeline, group) if group else []
        except Exception as error:
            return [error] if len(group) == 1 else [one for item in group for one in self._compute_group([item])]
        seconds = time.monotonic() - start
        return [one if isinstance(one, BaseException) else _Found(one, len(group), seconds) for one in found]

    async def stream(self, order: Order) -> AsyncIterator[Answer]:
        """Do one order, and yield what comes of it piece by piece: the segments of a recording, else the whole."""
        if order.task not in self._computing.SPEECH:
            yield await self.run(order)
            return
        work = order.work()
        try:
            ready = await self._in(self._readers, self._computing.read, self._pipeline, work, self._limits)
            async with aclosing(self._steps(ready)) as answers:
                async for answer in answers:
                    yield answer
        except Exception as error:
            yield Answer(error=portable(error))
        finally:  # also where the caller has gone
            work.cancelled.set()

    async def _steps(self, ready: Any) -> AsyncGenerator[Answer, None]:
        """Transcribe a recording; between two of its segments others are computed."""
        from . import speech

        async with self._turns:
            segments: Any = speech.stream(self._pipeline, ready.input, ready.work)
            try:
                while (error := _no_longer(ready.work)) is None:
                    start = time.monotonic()
                    reply = await self._in(self._worker, next, segments, None)
                    if reply is None:
                        return
                    yield Answer(reply, seconds=time.monotonic() - start)
                raise error
            finally:
                with suppress(RuntimeError):  # the replica ends
                    self._worker.submit(segments.close)  # there, for it may be within a step

    @staticmethod
    async def _in(pool: ThreadPoolExecutor, function: Callable[..., Any], *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(pool, function, *args)


def _no_longer(work: Work) -> MultiattnError | None:
    """Return why a work is no longer to be done; None where it is."""
    if work.cancelled.is_set():
        return CancelledWork("the caller has gone")
    if work.deadline is not None and time.monotonic() > work.deadline:
        return TooLateError("the request took longer than is allowed")
    return None
