"""Reading a request's body: multipart, as forms and most clients send files, or JSON with the file in base64.

The size of a body and the time for it are limited in `gate`, before anything of it is read here.
"""

import asyncio
import base64
import binascii
import json
import types
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Annotated, Any, NamedTuple, TypeVar, Union, get_args, get_origin

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from ...inputs.fetch import FetchLimits, WebFile
from ...inputs.files import PICTURES, RECORDINGS, Kind
from .access import HOLD
from .problems import ProblemError
from .settings import Settings

_Schema = TypeVar("_Schema", bound=BaseModel)
_FIELDS = 2100
"""The most parts of a form; in JSON, the most members and items of lists: two of 1000 texts, and what else there is."""
_LARGE = 1 << 20
"""Bytes of a body from which on it is parsed in a thread."""
_FETCH = FetchLimits(connect=10.0, pause=15.0, total=60.0)
_FETCHERS = ThreadPoolExecutor(8, thread_name_prefix="multiattn-fetch")
"""Threads that wait for other servers: those of the loop have answers to write."""


class Upload(NamedTuple):
    """A file of a request."""

    data: bytes
    name: str | None
    """The name that the caller gave it; None where it gave none."""


async def read_form(
    request: Request, schema: type[_Schema], *, kind: Kind = PICTURES, required: bool = True
) -> tuple[_Schema, Upload | None]:
    """Read the options and the file of a request.

    The file is the part `file` of a form, or in JSON the text `file` in base64 (or a data URL); or the file at the
    address `url`, where that is allowed.

    Args:
        request: The request.
        schema: The options that there are; others are refused.
        kind: What the file is, for messages.
        required: Whether there must be a file.

    Raises:
        ProblemError: The body is malformed (400), of another content type (415), an option is not as it must be (422),
            or there is no file (422).
        InputError: The file cannot be fetched.
    """
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type == "application/json":
        fields, upload = await _of_json(request)
    elif content_type in ("multipart/form-data", "application/x-www-form-urlencoded"):
        fields, upload = await _of_form(request, schema)
    else:
        raise ProblemError(
            415,
            f"the body must be multipart/form-data or application/json, but is {content_type or 'of no type'} instead",
        )
    url = fields.pop("url", None)
    options = checked(schema, fields)
    if url is not None:
        if upload is not None:
            raise ProblemError(422, "`file` and `url` both say what to read: give one")
        upload = await _fetched(request, url, kind)
    if upload is None and required:
        raise ProblemError(422, f"`file` must be a {kind.one}, but is missing instead")
    return options, upload


def checked(schema: type[_Schema], fields: Mapping[str, Any]) -> _Schema:
    """Return options as the schema has them.

    Raises:
        ProblemError: One is unknown or not as it must be (422).
    """
    try:
        return schema.model_validate(fields)
    except ValidationError as error:
        found = []
        for one in error.errors(include_url=False, include_context=False, include_input=False):
            name = ".".join(map(str, one["loc"])) or "the body"
            found.append(f"`{name[:80]}`: {one['msg']}")
        raise ProblemError(422, "; ".join(found[:5])) from None


async def _of_json(request: Request) -> tuple[dict[str, Any], Upload | None]:
    body = await request.body()
    if len(body) < _LARGE:
        return _parsed(body)
    return await asyncio.get_running_loop().run_in_executor(None, _parsed, body)


def _parsed(body: bytes) -> tuple[dict[str, Any], Upload | None]:
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)[:100]
        raise ProblemError(400, f"the body must be JSON, but is not ({reason})") from None
    if not isinstance(fields, dict):
        raise ProblemError(400, "the body must be a JSON object, but is another value instead")
    size = len(fields) + sum(len(one) for one in fields.values() if isinstance(one, list))
    if size > _FIELDS:  # each that is wrong would be told
        detail = f"the body must have at most {_FIELDS} members and items of lists, but has {size} instead"
        raise ProblemError(422, detail)
    file, name = fields.pop("file", None), fields.pop("filename", None)
    if name is not None and not isinstance(name, str):
        raise ProblemError(422, "`filename` must be text")
    if file is None:
        return fields, None
    if not isinstance(file, str):
        raise ProblemError(422, "`file` must be text: the bytes in base64")
    text = file.partition(",")[2] if file[:5].lower() == "data:" else file
    try:
        return fields, Upload(base64.b64decode("".join(text.split()), validate=True), name)
    except (binascii.Error, ValueError) as error:
        raise ProblemError(422, f"`file` must be base64, but is not ({error})") from None


async def _of_form(request: Request, schema: type[BaseModel]) -> tuple[dict[str, Any], Upload | None]:
    lists = {one.alias or name for name, one in schema.model_fields.items() if _is_list(one.annotation)}
    fields: dict[str, Any] = {}
    upload: Upload | None = None
    try:
        form = await request.form(max_files=1, max_fields=_FIELDS, max_part_size=_LARGE)
    except HTTPException as error:
        raise ProblemError(400, f"the form cannot be read: {error.detail}") from None
    except (ValueError, KeyError, AssertionError, UnicodeError):
        raise ProblemError(400, "the form cannot be read: it is malformed") from None
    async with _closing(form):
        for name, value in form.multi_items():
            name = name.removesuffix("[]")
            if isinstance(value, UploadFile):
                if name != "file":
                    raise ProblemError(422, f"the file must be in the part `file`, but is in `{name[:80]}` instead")
                upload = Upload(await value.read(), value.filename or None)
            elif name == "file":
                raise ProblemError(422, "`file` must be a file, but is text instead: curl needs -F file=@NAME")
            elif name in lists:
                fields.setdefault(name, []).append(value)
            elif name in fields:
                raise ProblemError(422, f"`{name[:80]}` must be there once, but is there several times instead")
            else:
                fields[name] = value
    return fields, upload


class _closing:  # noqa: N801
    """Close a form, with its temporary files, at the end."""

    def __init__(self, form: Any) -> None:
        self._form = form

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, *args: object) -> None:
        await self._form.close()


def _is_list(annotation: Any) -> bool:
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        return any(map(_is_list, get_args(annotation)))
    return _is_list(get_args(annotation)[0]) if origin is Annotated else origin in (list, tuple)


async def _fetched(request: Request, url: object, kind: Kind) -> Upload:
    settings: Settings = request.app.state.settings
    if not settings.allow_urls:
        raise ProblemError(422, "`url` must be left out, for this server fetches no files (--allow-urls): give `file`")
    if not isinstance(url, str):
        raise ProblemError(422, "`url` must be text")
    limits = replace(_FETCH, total=min(_FETCH.total, settings.timeout))
    file = WebFile(url, public_only=True, limits=limits)

    def fetch() -> bytes:
        with file.open(replace(kind, most_bytes=settings.max_body)) as stream:
            return stream.read()

    try:
        data = await asyncio.get_running_loop().run_in_executor(_FETCHERS, fetch)
    finally:
        file.cancel()
    request.scope["state"][HOLD](len(data))
    return Upload(data, url.rpartition("/")[2].partition("?")[0] or None)


__all__ = ["RECORDINGS", "Upload", "checked", "read_form"]
