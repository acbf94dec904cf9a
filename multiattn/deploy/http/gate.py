"""What stands before every address: keys, limits on bodies, request ids, one log line and one measurement a request."""

import asyncio
import re
import time
import uuid
from collections.abc import Mapping
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ...errors import MultiattnError
from .access import FACTS, HOLD
from .keys import Keys
from .logs import Logs
from .metrics import Metrics
from .openai_errors import openai_problem_of, speaks_openai
from .problems import ProblemError, problem_of
from .settings import Settings

_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_REFUSED = 2.0
"""Seconds in which the rest of a body that was refused is read and forgotten: a client that is cut off while it sends
does not read the answer."""

_BODIES = 16
"""As much as so many of the largest bodies, all bodies and fetched files that are held at once may have."""

GONE = 499
"""In logs and metrics, the status of a request whose client had gone before the answer."""

REQUEST_ID = "X-Request-Id"
"""The header that names a request: as the caller says, or anew."""


class Gate:
    """Middleware around the application.

    Args:
        app: The application.
        settings: Limits and keys.
        logs: Writes the lines.
        metrics: Counts.
    """

    def __init__(self, app: ASGIApp, *, settings: Settings, logs: Logs, metrics: Metrics) -> None:
        self._app, self._settings, self._logs, self._metrics = app, settings, logs, metrics
        self._keys, self._held = Keys(settings.api_keys), _Held(_BODIES * settings.max_body)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        body = _Body(receive, self._settings, self._held)
        answer = _Answer(send, body, _request_id(headers))
        scope.setdefault("state", {})["request_id"] = answer.request_id
        scope["state"][HOLD] = body.hold
        start = time.monotonic()
        error: Exception | None = None
        with self._metrics.in_flight():
            try:
                self._check(scope, headers)
                await self._app(scope, body, answer)
            except ClientDisconnect:
                pass
            except Exception as raised:
                error = raised
                if not answer.is_started:
                    answered = openai_problem_of if speaks_openai(scope["path"]) else problem_of
                    await answered(raised)(scope, receive, answer)
            finally:
                self._held.bytes -= body.held
        seconds = time.monotonic() - start
        status = GONE if body.is_gone and not answer.is_whole else answer.status
        path = route_of(scope)
        self._metrics.request(path, scope["method"], status, seconds)
        self._logs.request(
            request_id=answer.request_id,
            method=scope["method"],
            path=path,
            status=status,
            ms=round(seconds * 1000, 1),
            bytes_in=body.size,
            bytes_out=answer.size,
            **scope["state"].get(FACTS, {}),
        )
        if error is not None and not isinstance(error, ProblemError | MultiattnError):
            self._logs.defect(answer.request_id, error)

    def _check(self, scope: Scope, headers: Mapping[bytes, bytes]) -> None:
        if self._keys.guards(scope["path"]) and not self._keys.accept(scope["headers"]):
            detail = "a key must be given: Authorization: Bearer KEY, or X-API-Key: KEY"
            raise ProblemError(401, detail, headers={"WWW-Authenticate": "Bearer"})
        stated = headers.get(b"content-length", b"")
        if stated.isdigit() and int(stated[:20]) > self._settings.max_body:
            raise too_large(self._settings)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        scope.setdefault("state", {})["request_id"] = request_id = _request_id(headers)
        is_known = not self._keys.guards(scope["path"]) or self._keys.accept(scope["headers"])
        if not is_known or not self._is_ours(headers):
            await receive()
            await send({"type": "websocket.close", "code": 1008})  # refused before it is accepted: status 403
            self._logs.request(request_id=request_id, method="WEBSOCKET", path=route_of(scope), status=403)
            return
        start = time.monotonic()
        with self._metrics.in_flight():
            try:
                await self._app(scope, receive, send)
            except Exception as error:
                self._logs.defect(request_id, error)
                await send({"type": "websocket.close", "code": 1011})
        self._logs.request(
            request_id=request_id,
            method="WEBSOCKET",
            path=route_of(scope),
            status=101,
            ms=round((time.monotonic() - start) * 1000, 1),
            **scope["state"].get(FACTS, {}),
        )

    def _is_ours(self, headers: Mapping[bytes, bytes]) -> bool:
        """Return whether a page that opens a WebSocket is the server's own, or allowed: browsers do not ask."""
        origin = headers.get(b"origin", b"").decode("latin-1")
        if not origin or "*" in self._settings.cors or origin in self._settings.cors:
            return True
        return origin.partition("://")[2] == headers.get(b"host", b"").decode("latin-1")


def too_large(settings: Settings) -> ProblemError:
    """Return the answer to a body that is too large."""
    return ProblemError(413, f"the body must have at most {settings.max_body} bytes, but has more instead")


def route_of(scope: Scope) -> str:
    """Return the address as the application declares it; "other" for one that is not there."""
    return str(getattr(scope.get("route"), "path", None) or "other")


def _request_id(headers: Mapping[bytes, bytes]) -> str:
    given = headers.get(b"x-request-id", b"").decode("latin-1")
    return given if _ID.fullmatch(given) else uuid.uuid4().hex


class _Held:
    """The bytes of all bodies of requests under way; at most `limit`."""

    def __init__(self, limit: int) -> None:
        self.bytes, self.limit = 0, limit


class _Body:
    """The body of a request, as the application receives it, within its limits of bytes and time."""

    def __init__(self, receive: Receive, settings: Settings, held: _Held) -> None:
        self._receive, self._settings, self._held = receive, settings, held
        self._deadline = time.monotonic() + settings.timeout
        self._is_whole = False
        self.size = self.held = 0
        self.is_gone = False

    def hold(self, size: int) -> None:
        """Count bytes that are held until the request is done: of the body, or of a file that was fetched for it.

        Raises:
            ProblemError: All requests under way hold too many (429).
        """
        self.held += size
        self._held.bytes += size
        if self._held.bytes > self._held.limit:
            raise ProblemError(429, "too many large requests are under way: try again", headers={"Retry-After": "1"})

    async def __call__(self) -> Message:
        if self._is_whole:
            message = await self._receive()  # nothing comes but the disconnect
        else:
            left = min(self._settings.body_timeout, self._deadline - time.monotonic())
            try:
                message = await asyncio.wait_for(self._receive(), max(0.0, left))
            except TimeoutError:
                self._is_whole = True
                detail = "the body must come without long pauses, but did not instead: send it again"
                raise ProblemError(408, detail, headers={"Connection": "close"}) from None
        if message["type"] == "http.disconnect":
            self.is_gone = True
            return message
        size = len(message.get("body", b""))
        self.size += size
        self._is_whole = self._is_whole or not message.get("more_body", False)
        if self.size > self._settings.max_body:
            raise too_large(self._settings)
        self.hold(size)
        return message

    async def forget(self) -> None:
        """Read the rest of a body that is refused."""
        left = 2 * self._settings.max_body
        end = time.monotonic() + _REFUSED
        while not self._is_whole and left > 0 and (seconds := end - time.monotonic()) > 0:
            try:
                message = await asyncio.wait_for(self._receive(), seconds)
            except TimeoutError:
                return
            if message["type"] == "http.disconnect":
                self.is_gone = True
                return
            left -= len(message.get("body", b""))
            self._is_whole = not message.get("more_body", False)


class _Answer:
    """What the application sends, with the headers that all answers have."""

    def __init__(self, send: Send, body: _Body, request_id: str) -> None:
        self._send, self._body, self.request_id = send, body, request_id
        self.status = 500
        self.size = 0
        self.is_started = self.is_whole = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.is_started, self.status = True, message["status"]
            if self.status >= 400:
                await self._body.forget()
            extra: list[tuple[bytes, Any]] = [
                (b"x-request-id", self.request_id.encode()),
                (b"x-content-type-options", b"nosniff"),
            ]
            message = {**message, "headers": [*message.get("headers", ()), *extra]}
        elif message["type"] == "http.response.body":
            self.size += len(message.get("body", b""))
            self.is_whole = not message.get("more_body", False) and not self._body.is_gone
        await self._send(message)
