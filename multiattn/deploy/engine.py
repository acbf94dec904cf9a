"""The engine of one process: a queue and a thread for each model, and threads that read pictures and draw maps."""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, ExitStack, aclosing, asynccontextmanager, suppress
from functools import partial
from typing import Any

from . import computing, speech
from .batching import AGAIN, Batcher, settle
from .computing import Found, Limits, Ready
from .http.settings import Settings
from .live import Live, Sessions
from .models import Choice, Directory, Memory
from .work import (
    EMBED,
    CancelledWork,
    DrainingError,
    ModelStatistics,
    Reply,
    Served,
    TooLateError,
    Work,
)

_READERS = 4
"""Threads that decode pictures, and draw maps, while models compute."""


class LocalEngine:
    """Computes in this process; see `Engine`.

    Args:
        choices: The models.
        settings: Those of the server.

    Raises:
        ModelError: There are no models, or two have the same name.
    """

    def __init__(self, choices: Sequence[Choice], settings: Settings) -> None:
        self._directory, self._settings = Directory(choices), settings
        load = partial(computing.open_pipeline, device=settings.device, precision=settings.precision)
        budget = None if settings.memory is None else int(settings.memory * 1e9)
        self._memory = Memory(choices, load, budget=budget)
        self._limits = Limits(settings.max_pixels, settings.max_seconds)
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="multiattn-read")
        self._sessions = Sessions(limit=settings.live_sessions, max_seconds=settings.max_seconds)
        self._large_reader = ThreadPoolExecutor(1, thread_name_prefix="multiattn-read-large")
        self._batchers: dict[str, Batcher[Ready]] = {}

    async def start(self) -> None:
        """Start the threads, and load what is to be loaded at the start; see `Engine`."""
        if self._settings.threads is not None:
            import torch

            torch.set_num_threads(self._settings.threads)
        for one in self.served():
            self._batchers[one.name] = Batcher(
                one.name,
                partial(self._compute, one.name),
                limit=self._settings.queue,
                batch_size=self._settings.batch_size,
                patience=self._settings.patience_ms / 1000,
            )
            if self._settings.preload:
                await asyncio.get_running_loop().run_in_executor(self._readers, self._load, one.name)

    async def close(self, patience: float) -> None:
        """Finish what was accepted, for at most `patience` seconds, and end; see `Engine`."""
        for one in self._batchers.values():
            one.close()
        end = time.monotonic() + patience
        while time.monotonic() < end and not all(one.is_idle for one in self._batchers.values()):
            await asyncio.sleep(0.02)
        for one in self._batchers.values():
            one.abandon()
        for pool in (self._readers, self._large_reader):
            pool.shutdown(wait=False, cancel_futures=True)
        self._sessions.close()

    def served(self) -> Sequence[Served]:
        """Return the models; see `Engine`."""
        return self._directory.served(self._memory.is_loaded)

    def find(self, name: str | None, task: str) -> Served:
        """Return the model that a request is for; see `Engine`."""
        return self._directory.find(name, task, self._memory.is_loaded)

    def statistics(self) -> Mapping[str, ModelStatistics]:
        """Return what each model has done; see `Engine`."""
        return {name: one.statistics(memory=self._memory.memory(name)) for name, one in self._batchers.items()}

    async def run(self, work: Work) -> Reply:
        """Do one piece of work; see `Engine`."""
        batcher = self._batcher(work)
        ready = await self._read(batcher, work)
        if ready.alone:
            return [one async for one in self._steps(batcher, ready)][-1]
        future = batcher.put(ready, key=ready.key, size=ready.size, deadline=work.deadline, cancelled=work.cancelled)
        found: Found = await self._awaited(future, work)
        del ready
        if work.maps is None and work.task != EMBED:  # quick: no files, and few numbers
            reply = computing.reply(work, found)
        else:
            reply = await self._in_reader(partial(computing.reply, work, found), work)
        batcher.count_tokens(tokens_of(reply.body))
        return reply

    async def stream(self, work: Work) -> AsyncIterator[Reply]:
        """Yield the reply segment by segment; see `Engine`."""
        if work.task not in computing.SPEECH:
            yield await self.run(work)
            return
        batcher = self._batcher(work)
        ready = await self._read(batcher, work)
        async with aclosing(self._steps(batcher, ready)) as replies:
            async for reply in replies:
                yield reply

    async def _steps(self, batcher: Batcher[Ready], ready: Ready) -> AsyncGenerator[Reply, None]:
        """Transcribe a recording; between two of its segments the thread computes for others."""
        work, loop, replies = ready.work, asyncio.get_running_loop(), asyncio.Queue[Reply | None]()
        steps = self._speech(ready)

        def step() -> object:
            if (reply := next(steps, None)) is None:
                return None
            loop.call_soon_threadsafe(replies.put_nowait, reply)
            return AGAIN

        def close(_: object) -> None:
            with suppress(RuntimeError):  # the engine has ended
                self._readers.submit(steps.close)

        future = batcher.put_call(step, deadline=work.deadline, cancelled=work.cancelled)
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(replies.put_nowait, None))
        try:
            while (reply := await self._in_time(replies.get(), work)) is not None:
                batcher.count_tokens(tokens_of(reply.body))
                yield reply
            await self._awaited(future, work)
        finally:
            work.cancelled.set()
            future.add_done_callback(close)  # not at once: the thread may be within a step

    def _speech(self, ready: Ready) -> Generator[Reply, None, None]:
        """Transcribe, with the model in memory from the first segment to the last."""
        with self._memory.using(ready.work.model, ready.work.cancelled) as pipeline:
            yield from speech.stream(pipeline, ready.input, ready.work)

    def live(self, model: str, *, rate: int | None, options: Mapping[str, Any]) -> AbstractAsyncContextManager[Live]:
        """Begin a live session; see `LiveEngine`."""
        return self._sessions.begin(model, partial(self._pipeline, model), rate=rate, options=options)

    @asynccontextmanager
    async def _pipeline(self, name: str) -> AsyncIterator[Any]:
        """Give the pipeline of a model, which stays in memory in the body."""
        work = Work(name, "transcribe", b"")
        self._batcher(work)
        if not self._memory.is_loaded(name):
            await self._in_loader(work)
        with ExitStack() as stack:
            yield await self._in_reader(partial(stack.enter_context, self._memory.using(name, work.cancelled)), work)

    # --- steps ---

    def _batcher(self, work: Work) -> Batcher[Ready]:
        if (batcher := self._batchers.get(work.model)) is None:
            raise DrainingError("the server is not ready yet: try again in a moment")
        return batcher

    async def _read(self, batcher: Batcher[Ready], work: Work) -> Ready:
        """Take a place in the queue, and read the input."""
        batcher.admit()
        try:
            if not self._memory.is_loaded(work.model):
                await self._in_loader(work)
            ready: Ready | None = await self._in_reader(partial(self._read_small, work), work)
            if ready is None:
                large: Ready = await self._awaited(self._large_reader.submit(self._read_now, work), work)
                return large
            return ready
        except BaseException:
            batcher.release()
            raise

    def _read_small(self, work: Work) -> Ready | None:
        """Read the input, unless it takes much memory: then None."""
        return None if computing.is_large(work) else self._read_now(work)

    def _read_now(self, work: Work) -> Ready:
        with self._memory.using(work.model, work.cancelled) as pipeline:
            return computing.read(pipeline, work, self._limits)

    async def _in_loader(self, work: Work) -> None:
        """Load a model in a thread of its own, for readers must not wait for it."""
        future: Future[None] = Future()

        def load() -> None:
            try:
                self._load(work.model, work.cancelled)
            except BaseException as error:
                settle(future, error)
            else:
                settle(future, None)

        threading.Thread(target=load, name="multiattn-load", daemon=True).start()
        try:
            await self._awaited(future, work)
        except BaseException:
            work.cancelled.set()  # the thread may wait for room
            raise

    def _load(self, name: str, cancelled: threading.Event | None = None) -> None:
        with self._memory.using(name, cancelled):
            pass

    def _compute(self, name: str, batch: Sequence[Ready]) -> Sequence[Any]:
        with self._memory.using(name) as pipeline:
            return computing.compute(pipeline, batch)

    async def _in_reader(self, call: partial[Any], work: Work) -> Any:
        if work.cancelled.is_set():
            raise CancelledWork("the caller has gone")
        return await self._awaited(self._readers.submit(call), work)

    async def _awaited(self, future: "Future[Any]", work: Work) -> Any:
        """Wait for a future as long as the request may take."""
        return await self._in_time(asyncio.wrap_future(future), work, future)

    @staticmethod
    async def _in_time(result: Awaitable[Any], work: Work, future: "Future[Any] | None" = None) -> Any:
        left = None if work.deadline is None else max(0.0, work.deadline - time.monotonic())
        try:
            return await asyncio.wait_for(result, left)
        except TimeoutError:
            if future is not None and future.done() and not future.cancelled():
                return future.result()  # it came at the last moment
            work.cancelled.set()
            raise TooLateError("the time for this request is over") from None


def tokens_of(body: Mapping[str, Any]) -> int:
    """Return how many words a reply has: those that the model wrote."""
    answers = body.get("answers")
    bodies: Sequence[Mapping[str, Any]] = answers if isinstance(answers, list) else [body]
    return sum(len(one.get("words") or str(one.get("text") or "").split()) for one in bodies)
