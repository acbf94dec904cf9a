"""What is asked about pictures: /v1/classify, /v1/caption, /v1/answer, /v1/match."""

import asyncio
import base64
import json
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from ..work import Reply, Work
from .access import deadline_of, engine_of, hashable, run_watched
from .bodies import read_form

router = APIRouter()

_MEDIA = {"png": "image/png", "html": "text/html; charset=utf-8", "json": "application/json"}


class PictureOptions(BaseModel):
    """Options of every request about a picture."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = Field(None, description="the name of a served model; without it, the task's default")
    maps: Literal["png", "json", "html"] | None = Field(
        None, description="where the model looked: a picture, the numbers, or a page of each map"
    )
    map_method: list[str] | None = Field(None, description="methods of the maps, or all; without it, the model's own")
    check: bool = Field(False, description="judge each map: `verdict`")
    strict: bool = Field(False, description="refuse damaged pictures")


def options_of(form: PictureOptions) -> dict[str, Any]:
    """Return the options for the pipeline."""
    given = form.model_dump(exclude={"model", "maps", "check", "question"}, exclude_none=True)
    return hashable(given)


async def replied(request: Request, work: Work, *, file: str | None) -> Response:
    """Do the work, and answer with its reply, in which the file has the caller's name for it."""
    reply = await run_watched(request, work)
    body = {"model": work.model} | reply.body | {"file": file}
    if not reply.files:
        return json_response(body)
    return await asyncio.get_running_loop().run_in_executor(None, _with_files, body, reply)


def json_response(body: dict[str, Any]) -> Response:
    """Return an object as an answer."""
    return Response(json.dumps(body, allow_nan=False), media_type="application/json")


def _with_files(body: dict[str, Any], reply: Reply) -> Response:
    return json_response(body | {"maps": maps_of(reply)})


def maps_of(reply: Reply) -> list[dict[str, Any]]:
    """Return the files of a reply as JSON values, which may take a while."""
    return [_map(name, data) for name, data in reply.files.items()]


def _map(name: str, data: bytes) -> dict[str, Any]:
    kind = name.rpartition(".")[2]
    held = {"map": json.loads(data)} if kind == "json" else {"data": base64.b64encode(data).decode()}
    return {"name": name, "media_type": _MEDIA[kind], **held}


class ClassifyOptions(PictureOptions):
    """Options of /v1/classify."""

    top_k: Annotated[int, Field(ge=1, le=100_000)] = 5


@router.post("/v1/classify")
async def classify(request: Request) -> Response:
    """Say what is in a picture."""
    form, upload = await read_form(request, ClassifyOptions)
    assert upload is not None
    served = engine_of(request).find(form.model, "classify")
    work = Work(
        served.name,
        "classify",
        upload.data,
        options_of(form),
        maps=form.maps,
        check=form.check,
        deadline=deadline_of(request),
    )
    return await replied(request, work, file=upload.name)
