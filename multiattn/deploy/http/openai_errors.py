"""Errors as OpenAI's clients read them: the problem of RFC 9457, with the member `error` beside its own."""

import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

from ...errors import MultiattnError
from .problems import ProblemError, problem_of

_TYPES = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}
_CODES = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}


class OpenAIRoute(APIRoute):
    """A route whose errors have the member `error`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers a request."""
        handler = super().get_route_handler()

        async def answered(request: Request) -> Response:
            try:
                return await handler(request)
            except (ProblemError, MultiattnError) as error:
                return openai_problem_of(error)

        return answered


def speaks_openai(path: str) -> bool:
    """Return whether the answers of an address are as OpenAI's API has them."""
    return path == "/v1/models" or path.startswith(("/v1/models/", "/v1/audio/"))


def openai_problem_of(error: Exception) -> Response:
    """Return the answer for an exception, as `problem_of`, with the member `error`."""
    found = problem_of(error)
    content = json.loads(bytes(found.body)) | {"error": error_of(error)}
    kept = {name: value for name, value in found.headers.items() if name not in ("content-length", "content-type")}
    return JSONResponse(content, found.status_code, headers=kept, media_type=found.media_type)


def error_of(error: Exception) -> dict[str, Any]:
    """Return an exception as the object `error` of OpenAI's API; nothing is told of a defect."""
    found = problem_of(error)
    status = found.status_code
    of_server = "server_error" if status >= 500 else "invalid_request_error"
    return {
        "message": json.loads(bytes(found.body))["detail"],
        "type": _TYPES.get(status, of_server),
        "param": None,
        "code": _CODES.get(status),
    }
