"""The application: `create_app` puts its addresses, its limits and an engine together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from ...errors import MultiattnError
from ..work import Engine
from . import audio, embed, health, live, models_list, page, pictures
from .access import engine_of, run_watched, settings_of
from .bodies import read_form
from .problems import ProblemError, problem, problem_of
from .settings import Settings

__all__ = ["create_app", "engine_of", "problem", "read_form", "run_watched", "settings_of"]


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
            await engine.close(settings.drain)

    app = FastAPI(title="multiattn", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.engine, app.state.settings, app.state.is_ready = engine, settings, False
    for router in (
        pictures.router,
        embed.router,
        audio.router,
        models_list.router,
        live.router,
        page.router,
        health.router,
    ):
        app.include_router(router)

    @app.exception_handler(MultiattnError)
    @app.exception_handler(ProblemError)
    async def handled(request: Request, error: Exception) -> Response:
        return problem_of(error)

    @app.exception_handler(HTTPException)
    async def unrouted(request: Request, error: HTTPException) -> Response:
        return problem(error.status_code, None, str(error.detail), headers=error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        names = ", ".join(".".join(map(str, one["loc"])) for one in error.errors()[:5])
        return problem(422, None, f"not as they must be: {names}")

    return app
