"""Server-sent events, https://html.spec.whatwg.org/multipage/server-sent-events.html: a reply that comes in parts."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from fastapi.responses import StreamingResponse

from ...text_files import plain_value

_QUIET = 15.0
"""Seconds without an event after which a comment is sent, so that nothing between here and the caller gives up."""


def events(parts: AsyncIterator[dict[str, Any]]) -> StreamingResponse:
    """Return the answer that sends each part as an event, as soon as it is there.

    The caller is watched for while it goes on: when it has gone, `parts` is closed.

    Args:
        parts: JSON values. One with the key `error` is sent under that name, and is the last.
    """
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # which nginx takes
    return StreamingResponse(_written(parts), media_type="text/event-stream", headers=headers)


async def _written(parts: AsyncIterator[dict[str, Any]]) -> AsyncIterator[bytes]:
    following: asyncio.Future[dict[str, Any] | None] | None = None
    try:
        while True:
            if following is None:
                following = asyncio.ensure_future(_next(parts))
            await asyncio.wait([following], timeout=_QUIET)
            if not following.done():
                yield b": still at it\n\n"
                continue
            part, following = following.result(), None
            if part is None:
                return
            name = b"event: error\n" if "error" in part else b""
            yield (
                name + b"data: " + json.dumps(plain_value(part), ensure_ascii=False, allow_nan=False).encode() + b"\n\n"
            )
    finally:
        if following is not None:
            following.cancel()
            await asyncio.wait([following])
        await parts.aclose()  # type: ignore[attr-defined]


async def _next(parts: AsyncIterator[dict[str, Any]]) -> dict[str, Any] | None:
    return await anext(parts, None)
