"""The page at `/`: give it a picture or a recording, and see what a model says of it and where it looked.

The page asks the same addresses as every other client. It shows what `maps=html` returns, the self-contained page of
maps, by the scripts that draw that page; they are served here as modules, for the page allows no script within itself.
"""

from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from importlib import resources
from pathlib import PurePosixPath

from fastapi import APIRouter, Request
from fastapi.responses import Response

from ...resources import shipped
from .problems import problem

router = APIRouter(include_in_schema=False)
"""The page and its files. They say no more than that there is a server, and need no key."""

_POLICY = (
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data: blob:",  # pictures of maps, and what the user has chosen
    "media-src data: blob:",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
)

_HEADERS = {
    "Content-Security-Policy": "; ".join(_POLICY),
    "Permissions-Policy": "camera=(self), microphone=(self)",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}

_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".png": "image/png",
    ".flac": "audio/flac",
}

_OWN = "own"
"""What a module of a page of maps is given in place of the browser's globals; `viewer.js` makes it."""


@router.get("/")
def page(request: Request) -> Response:
    """Return the page."""
    return _answer(request, "page.html")


@router.get("/page/{name:path}")
def page_file(request: Request, name: str) -> Response:
    """Return one of its files: a script, its styles, an example."""
    return _answer(request, name)


def _answer(request: Request, name: str) -> Response:
    content = _files().get(name)
    if content is None:
        return problem(404, None, "Not Found", headers=_HEADERS)
    tag = f'"{sha256(content).hexdigest()[:20]}"'
    headers = {**_HEADERS, "ETag": tag}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=_TYPES[PurePosixPath(name).suffix], headers=headers)


@cache
def _files() -> dict[str, bytes]:
    """Return all files of the page by name; 2 MB with the examples."""
    from ...export import audio_page, page
    from ...export.html import part

    files = {file.name: file.read_bytes() for file in (resources.files(__package__) / "page").iterdir()}
    files["page.css"] = part("page.css").encode() + b"\n" + files["page.css"]
    files["picture.js"] = _module(page.SCRIPTS)
    files["recording.js"] = _module(audio_page.SCRIPTS)
    examples = shipped("inputs")
    return files | {f"examples/{path.name}": path.read_bytes() for path in sorted(examples.iterdir())}


def _module(scripts: Sequence[str]) -> bytes:
    """Return the scripts of a page of maps as a module with one function, which draws the page in the document."""
    from ...export.html import part

    body = "\n".join(part(name) for name in ("base.js", *scripts))
    names = "addEventListener, document, history, location, matchMedia, window"
    return f"export default function show({_OWN}) {{\nconst {{ {names} }} = {_OWN};\n{body}\n}}\n".encode()
