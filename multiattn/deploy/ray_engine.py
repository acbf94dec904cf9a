"""The engine on Ray Serve: each model is a deployment with as many replicas as the load needs, on any machine.

What was accepted is not lost with a replica: its work, which changes nothing, is done again by another one. Work that
ends three replicas is given up, so that it does not end them all.
"""

import asyncio
import math
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from typing import Any

from .engine import tokens_of
from .models import Choice, Directory
from .ray_replica import Answer, Order
from .work import BusyError, CancelledWork, DrainingError, ModelStatistics, Reply, Served, TooLateError, Work

_ATTEMPTS = 3
"""Replicas that may end while they have the same request."""

_AGAIN = 0.1
"""Seconds after which a request that was accepted asks once more for a place in the queue."""

_LOOK = 0.05
"""Seconds between two looks at which callers have gone."""


class LostError(RuntimeError):
    """Each replica that had a request ended; or a recording that was begun again has other segments. A defect."""


@dataclass
class _Counts:
    running: int = 0
    batches: float = 0.0
    items: int = 0
    tokens: int = 0
    seconds: float = 0.0


class RayEngine:
    """Has deployments of Ray Serve compute; see `Engine`.

    Args:
        choices: The models.
        handle: Returns the `DeploymentHandle` of a model's deployment by the model's name.
    """

    def __init__(self, choices: Sequence[Choice], handle: Callable[[str], Any]) -> None:
        self._directory, self._handle = Directory(choices), handle
        self._handles: dict[str, Any] = {}
        self._counts: dict[str, _Counts] = defaultdict(_Counts)
        self._watched: dict[asyncio.Task[Any], Work] = {}
        self._watcher: asyncio.Task[None] | None = None
        self._running = 0
        self._is_closed = False

    async def start(self) -> None:
        """Find the deployments, which Ray Serve starts; see `Engine`."""
        for one in self.served():
            self._handles[one.name] = self._handle(one.name)
        self._watcher = asyncio.create_task(self._watch())

    async def close(self, patience: float) -> None:
        """Finish what was accepted, for at most `patience` seconds; see `Engine`."""
        self._is_closed = True
        end = time.monotonic() + patience
        while self._running and time.monotonic() < end:
            await asyncio.sleep(0.02)
        for task in list(self._watched):
            task.cancel()
        if self._watcher is not None:
            self._watcher.cancel()

    def served(self) -> Sequence[Served]:
        """Return the models, each of which a replica loads when it starts; see `Engine`."""
        return self._directory.served(lambda name: True)

    def find(self, name: str | None, task: str) -> Served:
        """Return the model that a request is for; see `Engine`."""
        return self._directory.find(name, task, lambda name: True)

    def statistics(self) -> Mapping[str, ModelStatistics]:
        """Return what was done for requests to this process; see `Engine`.

        `running` counts those that wait in Ray Serve's queue, too.
        """
        return {
            one.name: ModelStatistics(
                queue=0,
                running=(counts := self._counts[one.name]).running,
                batches=round(counts.batches),
                items=counts.items,
                tokens=counts.tokens,
                seconds=counts.seconds,
                memory=0,
            )
            for one in self.served()
        }

    async def run(self, work: Work) -> Reply:
        """Do one piece of work; see `Engine`.

        Raises:
            LostError: It ended three replicas.
        """
        with self._accepted(work) as handle:
            trials = _Trials()
            while True:
                response = handle.run.remote(Order.of(work))
                try:
                    return self._reply(work, await self._awaited(response, response, work))
                except Exception as error:
                    await trials.after(error, self._retry_after(work.model))

    async def stream(self, work: Work) -> AsyncIterator[Reply]:
        """Yield the reply segment by segment; see `Engine`.

        Where a replica ends, another one does the recording from its start, and what was yielded already is left out.

        Raises:
            LostError: It ended three replicas, or the other replica's segments are not those that were yielded.
        """
        with self._accepted(work) as handle:
            trials, texts = _Trials(), list[Any]()
            while True:
                response = handle.options(stream=True).stream.remote(Order.of(work))
                try:
                    async with aclosing(self._numbered(response, work, is_again=bool(texts))) as parts:
                        async for number, reply in parts:
                            text = reply.body.get("delta")
                            if number == len(texts):
                                texts.append(text)
                                yield reply
                            elif texts[number] != text:
                                raise LostError("a replica ended, and another one finds other segments: ask again")
                    return
                except Exception as error:
                    await trials.after(error, self._retry_after(work.model))

    async def _numbered(self, response: Any, work: Work, *, is_again: bool) -> AsyncGenerator[tuple[int, Reply], None]:
        """Yield the parts of a reply with their numbers, from 0; together they count as one."""
        number = 0
        try:
            while True:
                try:
                    answer = await self._awaited(response, anext(response), work)
                except StopAsyncIteration:
                    return
                yield number, self._reply(work, answer, is_more=is_again or number > 0)
                number += 1
        finally:
            response.cancel()  # where it is not at its end

    async def _awaited(self, response: Any, awaitable: Awaitable[Any], work: Work) -> Answer:
        """Wait for what comes next of a response, until the deadline or until the caller has gone."""
        task = asyncio.ensure_future(awaitable)
        left = None if work.deadline is None else max(0.0, work.deadline - time.monotonic())
        self._watched[task] = work
        is_done = False
        try:
            answer: Answer = await asyncio.wait_for(task, left)
            is_done = True
            return answer
        except StopAsyncIteration:
            is_done = True
            raise
        except TimeoutError:
            raise TooLateError("the time for this request is over") from None
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current is not None and current.cancelling():  # ours, not that of the task
                raise
            if work.cancelled.is_set():
                raise CancelledWork("the caller has gone") from None
            raise DrainingError("the server ended before this was computed: try again") from None
        finally:
            del self._watched[task]
            if not is_done:
                response.cancel()

    async def _watch(self) -> None:
        """Cancel what callers that have gone asked for."""
        while True:
            for task, work in list(self._watched.items()):
                if work.cancelled.is_set():
                    task.cancel()
            await asyncio.sleep(_LOOK)

    @contextmanager
    def _accepted(self, work: Work) -> Iterator[Any]:
        """Count a work as running in the body, which gets the handle of its deployment."""
        if self._is_closed:
            raise DrainingError("the server is about to end: try another, or later")
        if (handle := self._handles.get(work.model)) is None:
            raise DrainingError("the server is not ready yet: try again in a moment")
        counts = self._counts[work.model]
        counts.running += 1
        self._running += 1
        try:
            yield handle
        finally:
            counts.running -= 1
            self._running -= 1

    def _reply(self, work: Work, answer: Answer, *, is_more: bool = False) -> Reply:
        """Return the reply of an answer, counted, unless it is more of one that was; raise its error."""
        if answer.reply is None:
            assert answer.error is not None
            raise answer.error
        counts = self._counts[work.model]
        if not is_more:
            counts.items += 1
            counts.batches += 1 / answer.batch
        counts.seconds += answer.seconds / answer.batch
        counts.tokens += tokens_of(answer.reply.body)
        return answer.reply

    def _retry_after(self, model: str) -> float:
        """Return after how many seconds there is room: as if one replica did all that is running here."""
        counts = self._counts[model]
        each = counts.seconds / counts.items if counts.items else 0.1
        return max(1, math.ceil(counts.running * each))


class _Trials:
    """Decides what follows when a deployment did not answer a request."""

    def __init__(self) -> None:
        self._lost = 0

    async def after(self, error: Exception, retry_after: float) -> None:
        """Return when the request is to be sent again.

        Raises:
            BusyError: It was not accepted.
            LostError: It ended three replicas.
            Exception: The error, or what it stands for.
        """
        from ray import exceptions
        from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError

        if isinstance(error, exceptions.RayTaskError):
            raise error.cause from None  # what code in the replica raised
        if isinstance(error, exceptions.RayActorError):
            self._lost += 1
            if self._lost == _ATTEMPTS:
                raise LostError(f"{_ATTEMPTS} replicas ended with this request: it is not tried again") from error
        elif isinstance(error, BackPressureError):
            if not self._lost:
                raise BusyError(retry_after) from None
            await asyncio.sleep(_AGAIN)  # it had a place, and must not lose it
        elif isinstance(error, DeploymentUnavailableError):
            raise DrainingError("no replica of this model could be started: try again later") from error
        else:
            raise error
