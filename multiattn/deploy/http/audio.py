"""The addresses that speak as OpenAI's do: /v1/audio/transcriptions and /v1/audio/translations.

Source: OpenAI, API reference, "Audio"; its Python client, types/audio. Beyond it: `maps`, `check` and `strict`, as of
the other addresses, and `stream` with `verbose_json`, whose events have the segments.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..work import TRANSLATE, Reply, Work
from . import examples
from .access import deadline_of, engine_of, hashable, run_watched, watched
from .bodies import RECORDINGS, read_form
from .events import events
from .examples import body_of, responses_of
from .openai_errors import OpenAIRoute, error_of
from .replies import json_response, maps_of

router = APIRouter(route_class=OpenAIRoute)

_STEP = 0.2
"""By how much the temperature rises where a text fails, up to 1; openai-whisper, transcribe.py."""


class SpeechForm(BaseModel):
    """Options of both addresses."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = Field(None, description="the name of a served model; any other, such as whisper-1: the default")
    prompt: str | None = Field(None, description="text that came before: names, and how they are spelled")
    response_format: Literal["json", "text", "srt", "vtt", "verbose_json"] = "json"
    temperature: Annotated[float, Field(ge=0, le=1)] = 0.0
    stream: bool = Field(False, description="send each segment as an event as soon as it is there")
    maps: Literal["png", "json", "html"] | None = Field(
        None, description="where the model listened: a picture, the numbers, or a page that plays the recording"
    )
    map_method: list[str] | None = Field(None, description="methods of the maps, or all; without it, the model's own")
    check: bool = Field(False, description="judge each map: `verdict`")
    strict: bool = Field(False, description="refuse damaged recordings")

    @model_validator(mode="after")
    def _fits(self) -> "SpeechForm":
        if self.stream and self.response_format in ("srt", "vtt"):
            raise ValueError("`stream` must be left out for srt and vtt")
        if (self.maps or self.check) and self.response_format not in ("json", "verbose_json"):
            raise ValueError("`maps` and `check` need `response_format` json or verbose_json")
        return self

    def work_options(self) -> dict[str, Any]:
        """Return the options of `Work`."""
        rise = range(round((1 - self.temperature) / _STEP + 1e-6) + 1)
        hot = tuple(round(min(1.0, self.temperature + _STEP * step), 6) for step in rise)
        return hashable(
            {
                "prompt": self.prompt or None,
                "format": self.response_format,
                "temperatures": hot if self.temperature else None,
                "map_method": self.map_method,
                "strict": self.strict or None,
                "stream": self.stream or None,
            }
        )


class TranscriptionForm(SpeechForm):
    """Options of /v1/audio/transcriptions."""

    language: str | None = Field(None, description="the language spoken: its code, such as en, or its English name")
    timestamp_granularities: list[Literal["word", "segment"]] | None = Field(
        None, description="with verbose_json: whether it has words, segments (without this: these), or both"
    )
    keywords: list[str] | None = Field(None, description="words to expect")
    chunking_strategy: str | dict[str, Any] | None = Field(
        None, description="taken for OpenAI's clients: recordings are always cut where nobody speaks"
    )

    @model_validator(mode="before")
    @classmethod
    def _without_strategy(cls, fields: dict[str, Any]) -> dict[str, Any]:
        """Leave out the members of a strategy that is an object: in a form, parts such as chunking_strategy[type]."""
        return {name: value for name, value in fields.items() if not name.startswith("chunking_strategy[")}

    @model_validator(mode="after")
    def _has_times(self) -> "TranscriptionForm":
        if self.timestamp_granularities and self.response_format != "verbose_json":
            raise ValueError("`timestamp_granularities` needs `response_format` verbose_json")
        return self

    def work_options(self) -> dict[str, Any]:
        """Return the options of `Work`."""
        words = "word" in (self.timestamp_granularities or ())
        hotwords = ", ".join(self.keywords or ())
        more = {"language": self.language or None, "words": words or None, "hotwords": hotwords or None}
        return super().work_options() | hashable(more)


@router.post(
    "/v1/audio/transcriptions",
    response_class=Response,
    openapi_extra=body_of(TranscriptionForm, {"model": "whisper-1"}, file=examples.RECORDING),
    responses=responses_of(examples.TRANSCRIPT),
)
async def transcriptions(request: Request) -> Response:
    """Transcribe a recording."""
    form, upload = await read_form(request, TranscriptionForm, kind=RECORDINGS)
    assert upload is not None
    return await _answered(request, "transcribe", form, upload.data, form.timestamp_granularities)


@router.post(
    "/v1/audio/translations",
    response_class=Response,
    openapi_extra=body_of(SpeechForm, {"model": "whisper-1"}, file=examples.RECORDING),
    responses=responses_of(examples.TRANSCRIPT),
)
async def translations(request: Request) -> Response:
    """Translate a recording to English."""
    form, upload = await read_form(request, SpeechForm, kind=RECORDINGS)
    assert upload is not None
    return await _answered(request, TRANSLATE, form, upload.data, None)


async def _answered(
    request: Request, task: str, form: SpeechForm, data: bytes, times: list[Literal["word", "segment"]] | None
) -> Response:
    served = engine_of(request).find(form.model, task)
    work = Work(
        served.name,
        task,
        data,
        form.work_options(),
        maps=form.maps,
        check=form.check,
        deadline=deadline_of(request),
    )
    if form.stream:
        return await _streamed(request, work, form.response_format, times)
    reply = await run_watched(request, work)
    if form.response_format in ("text", "srt", "vtt"):
        text = reply.body["text"] + "\n" if form.response_format == "text" else reply.body[form.response_format]
        return Response(text, media_type="text/plain; charset=utf-8")
    body = _object(reply, form.response_format, times)
    if reply.files:
        body["maps"] = await asyncio.get_running_loop().run_in_executor(None, maps_of, reply)
    return json_response(body)


def _object(reply: Reply, kind: str, times: list[Literal["word", "segment"]] | None) -> dict[str, Any]:
    """Return the object that answers."""
    body: dict[str, Any] = {"text": reply.body["text"]}
    if kind == "verbose_json":
        body = dict(reply.body[kind])
        if times and "segment" not in times:
            del body["segments"]
        if times and "word" in times:
            body.setdefault("words", [])
        else:
            body.pop("words", None)  # which maps need
    # what is wrong with it, where something is, and what was asked for beside it
    told = {name: reply.body[name] for name in ("verdict", "damaged", "remark", "uncovered") if name in reply.body}
    return body | {"usage": {"type": "duration", "seconds": reply.body["duration"]}} | told


async def _streamed(
    request: Request, work: Work, kind: str, times: list[Literal["word", "segment"]] | None
) -> Response:
    """Answer with events; what fails before the first of them has a status of its own."""
    replies = engine_of(request).stream(work)
    async with watched(request, work):
        first = await anext(replies)
    return events(_parts(first, replies, kind, times))


async def _parts(
    first: Reply, replies: AsyncIterator[Reply], kind: str, times: list[Literal["word", "segment"]] | None
) -> AsyncIterator[dict[str, Any]]:
    async with aclosing(replies):  # type: ignore[type-var]
        reply = first
        try:
            while "delta" in reply.body:
                shown = {"segment": reply.body["segment"]} if kind == "verbose_json" else {}
                yield {"type": "transcript.text.delta", "delta": reply.body["delta"], **shown}
                reply = await anext(replies)
        except Exception as error:
            yield {"type": "error", "error": error_of(error)}
            return
        body = {"type": "transcript.text.done", **_object(reply, kind, times)}
        del body["usage"]  # which is counted in tokens here
        if reply.files:
            body["maps"] = await asyncio.get_running_loop().run_in_executor(None, maps_of, reply)
        yield body
