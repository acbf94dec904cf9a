"""The application: `create_app` puts its addresses, its limits and an engine together."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from starlette.exceptions import HTTPException

import multiattn

from ..work import Engine
from . import audio, embed, health, live, models_list, page, pictures, reference
from .access import engine_of, run_watched, settings_of
from .bodies import read_form
from .gate import REQUEST_ID, Gate
from .logs import Logs
from .metrics import Metrics
from .problems import problem
from .settings import Settings

__all__ = ["create_app", "engine_of", "problem", "read_form", "run_watched", "settings_of"]

_ROUTERS = (
    pictures.router,
    embed.router,
    audio.router,
    models_list.router,
    live.router,
    page.router,
    health.router,
    reference.router,
)


def create_app(engine: Engine, settings: Settings) -> FastAPI:
    """Return the application that serves the models of an engine, which it starts and ends.

    Args:
        engine: What computes.
        settings: Limits and keys.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await engine.start()
        app.state.is_ready = True
        try:
            yield
        finally:
            app.state.is_ready = False
            app.state.ends_since = app.state.ends_since or time.monotonic()
            # requests were waited for before: the end as a whole takes no longer than `drain`
            await engine.close(max(0.0, settings.drain - (time.monotonic() - app.state.ends_since)))

    app = FastAPI(
        title="multiattn",
        version=multiattn.__version__,
        description="Labels, captions, answers, vectors and transcripts, and where the models looked.",
        lifespan=lifespan,
        docs_url=None,  # those of FastAPI load scripts from another host
        redoc_url=None,
        redirect_slashes=False,  # an address that is not there is a problem, like every error
    )
    metrics = Metrics(engine.statistics)
    app.state.engine, app.state.settings = engine, settings
    app.state.metrics, app.state.is_ready = metrics, False
    app.state.ends_since = None  # when the server was asked to end, by `time.monotonic()`
    for router in _ROUTERS:
        app.include_router(router)
    app.add_middleware(Gate, settings=settings, logs=Logs(), metrics=metrics)
    if settings.cors:  # around the gate: a browser asks without a key whether it may call
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "X-API-Key", REQUEST_ID],
            expose_headers=[REQUEST_ID, "Retry-After"],
        )

    @app.exception_handler(HTTPException)
    async def unrouted(request: Request, error: HTTPException) -> Response:
        return problem(error.status_code, None, str(error.detail), headers=error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        names = ", ".join(".".join(map(str, one["loc"])) for one in error.errors()[:5])
        return problem(422, None, f"{names} must be as the description says, but is not")

    return app
