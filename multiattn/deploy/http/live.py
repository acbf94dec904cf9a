"""Live transcription over a WebSocket, /v1/live: samples in, settled and unsettled words out.

The caller sends samples as binary messages: mono, 16 bits, little-endian. How they are to be read is stated in the
query, or as a JSON object in a text message before the first samples. `{"type": "end"}` ends the sound. The server
sends JSON objects, whose `type` is ready, update, transcript or error; the close frame says why it closes.
"""

import asyncio
import json
import time
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Literal, TypeVar

from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from pydantic import BaseModel, ConfigDict, Field

from ...errors import MultiattnError, TooLargeError
from ..live import STEP_SECONDS, Live, LiveEngine
from ..work import TRANSLATE, Engine
from .bodies import checked
from .keys import PROTOCOL
from .problems import ProblemError, problem_of
from .settings import Settings

router = APIRouter()

_MOST_BYTES = 1 << 20
"""Bytes of one message."""

_WAITING_SECONDS = 30.0
"""Sound that waits to be decoded, at most: then nothing more is received until some is."""

_BYTES = 2  # of a sample
_CODES = {408: 1008, 413: 1009, 415: 1003, 400: 1007, 429: 1013, 500: 1011, 501: 1003, 503: 1013}
"""Of the close frame, by status; RFC 6455, 7.4.1."""

_REASON_BYTES = 123  # the most of a close frame

_Found = TypeVar("_Found")


class LiveForm(BaseModel):
    """How sound is to be read and transcribed."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["start"] = "start"
    model: str | None = None
    rate: int | None = Field(None, description="samples a second; without it, those of the model, mostly 16000")
    language: str | None = None
    prompt: str | None = None
    task: Literal["transcribe", "translate"] = "transcribe"

    def options(self) -> dict[str, Any]:
        """Return the options of the pipeline."""
        given = {"language": self.language or None, "prompt": self.prompt or None, "task": self.task}
        return {name: value for name, value in given.items() if value is not None}


@router.websocket("/v1/live")
async def live(socket: WebSocket) -> None:
    """Transcribe sound while it comes in."""
    offered = socket.scope.get("subprotocols") or []
    # a browser wants one of those that it offered
    await socket.accept(next((one for one in offered if not one.startswith(PROTOCOL)), next(iter(offered), None)))
    settings: Settings = socket.app.state.settings
    try:
        await _Talk(socket, settings).run(socket.app.state.engine)
        await socket.close(1000, "the sound has ended")
    except WebSocketDisconnect:
        pass
    except (ProblemError, MultiattnError) as error:
        with suppress(WebSocketDisconnect, RuntimeError, TimeoutError):
            await _refuse(socket, error, settings.idle)


async def _refuse(socket: WebSocket, error: Exception, patience: float) -> None:
    """Say what is wrong, in a message and in the close frame."""
    found = problem_of(error)
    problem: dict[str, Any] = json.loads(bytes(found.body))
    text = json.dumps({**problem, "type": "error"}, ensure_ascii=False)
    await asyncio.wait_for(socket.send_text(text), patience)
    reason = problem["detail"].encode()[:_REASON_BYTES].decode(errors="ignore")
    await asyncio.wait_for(socket.close(_CODES.get(found.status_code, 1008), reason), patience)


class _Talk:
    """One connection that was accepted."""

    def __init__(self, socket: WebSocket, settings: Settings) -> None:
        self._socket, self._settings = socket, settings
        self._waiting = bytearray()
        self._changed = asyncio.Condition()
        self._is_over = False
        self._unsettled: list[Any] = []

    async def run(self, engine: Engine) -> None:
        """Receive sound and send words until the sound ends.

        Raises:
            ProblemError: What the caller sends is not as it must be, or does not come.
            MultiattnError: As `LiveEngine.live`.
            WebSocketDisconnect: The caller has gone.
        """
        form, first = await self._begun()
        served = engine.find(form.model, TRANSLATE if form.task == TRANSLATE else "transcribe")
        if not isinstance(engine, LiveEngine):
            raise ProblemError(501, "this server transcribes no live sound: send a recording")
        async with engine.live(served.name, rate=form.rate, options=form.options()) as session:
            await self._send(
                "ready",
                {
                    "model": session.model,
                    "rate": session.rate,
                    "max_seconds": self._settings.max_seconds,
                    "idle": self._settings.idle,
                },
            )
            self._waiting += first
            await self._both(self._receive(session.rate), self._decode(session))

    async def _begun(self) -> tuple[LiveForm, bytes]:
        """Return how the sound is to be read, and the first samples where they came with it."""
        query = dict(self._socket.query_params)
        form = checked(LiveForm, query)
        if form.rate is not None:
            return form, b""
        message = await self._message()
        if isinstance(message, bytes):
            return form, message
        return checked(LiveForm, query | _parsed(message)), b""

    async def _message(self) -> bytes | str:
        """Return the next message with something in it: empty ones do not keep a session alive."""
        idle = self._settings.idle
        end = time.monotonic() + idle
        data: bytes | str = b""
        while data == b"":
            try:
                message = await asyncio.wait_for(self._socket.receive(), max(0.0, end - time.monotonic()))
            except TimeoutError:
                detail = f"sound must come at least every {idle:g} s, but did not: connect again"
                raise ProblemError(408, detail) from None
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message.get("code", 1005))
            data = message["text"] if message.get("bytes") is None else message["bytes"]
        if len(data) > _MOST_BYTES:
            raise ProblemError(413, f"a message must have at most {_MOST_BYTES} bytes, but has {len(data)} instead")
        return data

    async def _receive(self, rate: int) -> None:
        """Keep the sound that comes, until it ends or is not decoded any more."""
        most = round(_WAITING_SECONDS * rate) * _BYTES
        try:
            while True:
                async with self._changed:
                    await self._changed.wait_for(lambda: len(self._waiting) < most)
                message = await self._message()
                if isinstance(message, str):
                    if _parsed(message) != {"type": "end"}:
                        raise ProblemError(400, 'a text message must be {"type": "end"} once the sound has begun')
                    return
                async with self._changed:
                    self._waiting += message
                    self._changed.notify_all()
        finally:
            self._is_over = True
            async with self._changed:
                self._changed.notify_all()

    async def _decode(self, session: Live) -> None:
        """Decode what waits, and send what changes; at the end, the transcript."""
        size = round(STEP_SECONDS * session.rate) * _BYTES
        too_long: TooLargeError | None = None
        while too_long is None:
            async with self._changed:
                await self._changed.wait_for(lambda: self._waiting or self._is_over)
                data = bytes(self._waiting[:size])
                del self._waiting[:size]
                self._changed.notify_all()
            if not data:
                break
            try:
                await self._update(await session.feed(data))
            except TooLargeError as error:
                too_long = error
        await self._update(await session.finish())
        await self._send("transcript", {"transcript": session.transcript()})
        if too_long is not None:
            raise too_long

    async def _update(self, found: dict[str, Any]) -> None:
        if found["settled"] or found["unsettled"] != self._unsettled:
            self._unsettled = found["unsettled"]
            await self._send("update", found)

    async def _send(self, kind: str, content: dict[str, Any]) -> None:
        text = json.dumps({"type": kind, **content}, ensure_ascii=False, allow_nan=False)
        try:
            await asyncio.wait_for(self._socket.send_text(text), self._settings.idle)
        except TimeoutError:
            raise ProblemError(408, "messages must be read, but were not") from None
        except RuntimeError:  # closed meanwhile
            raise WebSocketDisconnect(1006) from None

    @staticmethod
    async def _both(receiving: Coroutine[Any, Any, None], decoding: Coroutine[Any, Any, None]) -> None:
        """Do both at once: receiving ends first, unless decoding fails; an error of receiving is raised at the end.

        What had come in before the caller fell silent, or sent what cannot be read, is decoded all the same. When the
        caller has gone, nothing is.
        """
        tasks = [asyncio.ensure_future(receiving), asyncio.ensure_future(decoding)]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if tasks[1] in done:
                await tasks[1]
                return
            error = tasks[0].exception()
            if isinstance(error, WebSocketDisconnect):
                raise error
            await tasks[1]
            if error is not None:
                raise error
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


def _parsed(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ProblemError(400, "a text message must be a JSON object, but is not")
    return found
