"""What every address of the application needs: its engine and settings, and work that ends when the caller has gone."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

from fastapi import Request

from ..work import Engine, Reply, Work
from .settings import Settings

FACTS = "multiattn"
"""The key of a request's state under which it is told to the log: the model and the task."""

HOLD = "multiattn-hold"
"""The key of a request's state under which is what counts the bytes that are held for it."""


def engine_of(request: Request) -> Engine:
    """Return the engine of the application that a request is for."""
    return cast(Engine, request.app.state.engine)


def settings_of(request: Request) -> Settings:
    """Return the settings of the application that a request is for."""
    return cast(Settings, request.app.state.settings)


def deadline_of(request: Request) -> float:
    """Return when a request is given up, by `time.monotonic()`."""
    return time.monotonic() + settings_of(request).timeout


async def run_watched(request: Request, work: Work) -> Reply:
    """Do the work of a request whose body has been read; `work.cancelled` is set when the caller has gone.

    Raises:
        MultiattnError: As `Engine.run`; the application makes problems of them.
    """
    async with watched(request, work):
        return await engine_of(request).run(work)


@asynccontextmanager
async def watched(request: Request, work: Work) -> AsyncIterator[None]:
    """Note a request for the log; set `work.cancelled` when its caller, whose body has been read, goes in the body."""
    request.scope.setdefault("state", {})[FACTS] = {"model": work.model, "task": work.task}
    watch = asyncio.ensure_future(_watched(request, work))
    try:
        yield
    finally:
        watch.cancel()


async def _watched(request: Request, work: Work) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    work.cancelled.set()


def hashable(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that were given, with tuples for lists."""
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in options.items() if value is not None
    }
