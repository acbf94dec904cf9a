"""Replies as answers: JSON, with the maps that were asked for."""

import asyncio
import base64
import json
from collections.abc import Mapping
from typing import Any

from fastapi import Request, Response

from ...text_files import plain_value
from ..work import Reply, Work
from .access import run_watched

_MEDIA = {"png": "image/png", "html": "text/html; charset=utf-8", "json": "application/json"}
_MANY = 100
"""Values of a vector or words of a text from which on JSON is written in a thread."""


async def replied(request: Request, work: Work, *, file: str | None) -> Response:
    """Do the work, and answer with its reply.

    Args:
        request: The request, whose body has been read.
        work: The work.
        file: The caller's name for the file, which the reply has as `file`.
    """
    reply = await run_watched(request, work)
    body = {"model": work.model, **reply.body, "file": file}
    is_small = not reply.files and not any(isinstance(one, list) and len(one) > _MANY for one in body.values())
    if is_small:
        return json_response(body)
    return await asyncio.get_running_loop().run_in_executor(None, _with_maps, body, reply)


def json_response(body: Mapping[str, Any]) -> Response:
    """Return an answer of JSON that every reader takes: without NaN and halves of characters."""
    return Response(json.dumps(plain_value(body), allow_nan=False), media_type="application/json")


def _with_maps(body: dict[str, Any], reply: Reply) -> Response:
    return json_response(body | ({"maps": maps_of(reply)} if reply.files else {}))


def maps_of(reply: Reply) -> list[dict[str, Any]]:
    """Return the files of a reply as JSON values, which may take a while."""
    return [_map(name, data) for name, data in reply.files.items()]


def _map(name: str, data: bytes) -> dict[str, Any]:
    kind = name.rpartition(".")[2]
    held = {"map": json.loads(data)} if kind == "json" else {"data": base64.b64encode(data).decode()}
    return {"name": name, "media_type": _MEDIA[kind], **held}
