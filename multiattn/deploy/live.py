"""Live sessions: sound that comes in over a connection, and what the words of it are so far.

The connection gives bytes whenever they come. Threads that all sessions share decode them, a few seconds at a time: a
session never keeps the others waiting for long, and one whose caller has gone stops at its next step.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol, runtime_checkable

from ..checks import require
from ..errors import InputError, TooLargeError
from .work import BusyError

LEAST_RATE, MOST_RATE = 4_000, 192_000
"""Samples a second (Hz) that are taken."""

STEP_SECONDS = 4.0
"""The most sound that is decoded before another session has its turn."""

_BYTES = 2  # of a sample
_THREADS = 2
_RETRY_SECONDS = 30.0


class Live(Protocol):
    """One session. One call at a time."""

    model: str
    """The name of its model."""

    rate: int
    """Samples a second (Hz) of what it is fed."""

    async def feed(self, data: bytes) -> dict[str, Any]:
        """Take the next samples, mono, 16 bits, little-endian; return what changed, as `LiveUpdate.to_dict`.

        Args:
            data: Any number of bytes: a sample may be cut in two.

        Raises:
            TooLargeError: The session is longer than is allowed.
        """

    async def finish(self) -> dict[str, Any]:
        """Settle what is left; return what changed."""

    def transcript(self) -> dict[str, Any]:
        """Return all that was settled, as `Transcript.to_dict`."""


@runtime_checkable
class LiveEngine(Protocol):
    """An engine that has live sessions."""

    def live(self, model: str, *, rate: int | None, options: Mapping[str, Any]) -> AbstractAsyncContextManager[Live]:
        """Begin a session, which ends with the body.

        Args:
            model: The name of a model that is served.
            rate: Samples a second (Hz); None for the model's own.
            options: Of the pipeline's `live`.

        Raises:
            BusyError: There are as many sessions as are allowed.
            UnavailableError: The model cannot be loaded.
            InputError: `rate` is out of range.
            ModelError: An option is out of range or not possible with the model.
        """


class Sessions:
    """The sessions of an engine, and the threads that decode for them.

    Args:
        limit: The most sessions.
        max_seconds: The most sound of one.
    """

    def __init__(self, *, limit: int, max_seconds: float) -> None:
        self._limit, self._max_seconds, self._count = limit, max_seconds, 0
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="multiattn-live")

    @asynccontextmanager
    async def begin(
        self,
        model: str,
        pipeline: Callable[[], AbstractAsyncContextManager[Any]],
        *,
        rate: int | None,
        options: Mapping[str, Any],
    ) -> AsyncIterator[Live]:
        """Begin a session; see `LiveEngine.live`.

        Args:
            model: The model's name.
            pipeline: Gives its pipeline.
            rate: As for `LiveEngine.live`.
            options: As above.
        """
        if rate is not None:
            must = f"from {LEAST_RATE} to {MOST_RATE} Hz"
            require(LEAST_RATE <= rate <= MOST_RATE, "rate", must=must, value=rate, error=InputError)
        if self._count >= self._limit:
            raise BusyError(_RETRY_SECONDS)
        self._count += 1
        try:
            async with pipeline() as found:
                yield _Session(model, found, self._threads, rate=rate, max_seconds=self._max_seconds, options=options)
        finally:
            self._count -= 1

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class _Session:
    """See `Live`."""

    def __init__(
        self,
        model: str,
        pipeline: Any,
        threads: ThreadPoolExecutor,
        *,
        rate: int | None,
        max_seconds: float,
        options: Mapping[str, Any],
    ) -> None:
        from ..inputs.stream_resampler import StreamResampler
        from .speech import pipeline_options

        self._live = pipeline.live(**pipeline_options(pipeline, options))
        self.model, self.rate = model, rate or self._live.rate
        self._threads, self._max_seconds = threads, max_seconds
        self._resampler = StreamResampler(self.rate, self._live.rate)
        self._half = b""  # of a sample whose other byte has not come
        self._taken = 0

    async def feed(self, data: bytes) -> dict[str, Any]:
        data = self._half + data
        whole = len(data) // _BYTES * _BYTES
        self._half = data[whole:]
        left = math.floor(self._max_seconds * self.rate) - self._taken
        self._taken += min(left, whole // _BYTES)
        found = await self._in_thread(self._decode, data[: min(whole, left * _BYTES)])
        if whole // _BYTES > left:
            raise TooLargeError(
                f"a session must be at most {self._max_seconds:g} seconds long, and this one is: begin another"
            )
        return found

    async def finish(self) -> dict[str, Any]:
        return await self._in_thread(self._settle)

    def transcript(self) -> dict[str, Any]:
        found: dict[str, Any] = self._live.transcript().to_dict()
        return found

    def _decode(self, data: bytes) -> dict[str, Any]:
        import numpy as np
        import torch

        samples = torch.from_numpy(np.frombuffer(data, dtype="<i2").astype(np.float32) / 32768)
        found: dict[str, Any] = self._live.feed(self._resampler.feed(samples)).to_dict()
        return found

    def _settle(self) -> dict[str, Any]:
        import torch

        before = self._live.feed(self._resampler.feed(torch.zeros(0), is_last=True)).to_dict()
        after: dict[str, Any] = self._live.finish().to_dict()
        # one update for both
        return after | {"settled": before["settled"] + after["settled"], "text": before["text"] + after["text"]}

    async def _in_thread(self, call: Callable[..., dict[str, Any]], *args: bytes) -> dict[str, Any]:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call, *args)
