"""Errors as answers: RFC 9457, `application/problem+json`, with a documented status for each kind of error."""

import json
import math
from collections.abc import Mapping
from http import HTTPStatus

from fastapi import Response

from ...errors import MultiattnError, TooLargeError, WrongKindError
from ...text_files import plain_value
from ..work import (
    BusyError,
    CancelledWork,
    DrainingError,
    TooLateError,
    UnavailableError,
    UnknownModelError,
)

STATUSES: Mapping[int, str] = {
    400: "The request is malformed.",
    401: "A key is needed.",
    404: "There is no such address, or no such model.",
    405: "The address is there for another method.",
    408: "The body did not come in time.",
    413: "The body, the picture or the recording is too large.",
    415: "The file is no picture or recording, or the body is of another content type than those that are read.",
    422: "An option is unknown or out of range, or the input cannot be used.",
    429: "Too many requests wait: try again after the seconds in Retry-After.",
    500: "Something is wrong with the server.",
    501: "The server does not do this.",
    503: "The server starts or ends, or a model cannot be loaded.",
    504: "The request took too long.",
}
"""Every status of an error that the server answers with, and what it says."""

_AGAIN = 5
"""Seconds after which to try again where the server starts or ends."""

_OF_ERRORS: tuple[tuple[type[MultiattnError], int], ...] = (
    (BusyError, 429),
    (UnknownModelError, 404),
    (DrainingError, 503),
    (CancelledWork, 503),  # read by nobody
    (UnavailableError, 503),
    (TooLateError, 504),
    (WrongKindError, 415),
    (TooLargeError, 413),
    (MultiattnError, 422),
)


class ProblemError(Exception):
    """An answer that is an error, to be raised wherever it is found.

    Args:
        status: One of `STATUSES`.
        detail: What is wrong with this request, and the mend.
        headers: More headers of the answer.
    """

    def __init__(self, status: int, detail: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, dict(headers or {})


def problem(status: int, title: str | None, detail: str, *, headers: Mapping[str, str] | None = None) -> Response:
    """Return the answer for an error.

    Args:
        status: One of `STATUSES`.
        title: What kind of error it is; the phrase of the status where None.
        detail: What is wrong with this request, and the mend.
        headers: More headers.
    """
    content = {"type": "about:blank", "title": title or HTTPStatus(status).phrase, "status": status, "detail": detail}
    text = json.dumps(plain_value(content))  # a detail may quote what is no text
    return Response(text, status, headers=dict(headers or {}), media_type="application/problem+json")


def problem_of(error: Exception) -> Response:
    """Return the answer for an exception: a problem, an error of ours, or a defect, of which nothing is told."""
    if isinstance(error, ProblemError):
        return problem(error.status, None, error.detail, headers=error.headers)
    status = next((status for kind, status in _OF_ERRORS if isinstance(error, kind)), 500)
    if status == 500:
        return problem(500, None, "This is a defect of the server; its log has the request's id.")
    headers = {}
    if isinstance(error, BusyError):
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    elif status == 503:
        headers["Retry-After"] = str(_AGAIN)
    return problem(status, None, str(error), headers=headers)
