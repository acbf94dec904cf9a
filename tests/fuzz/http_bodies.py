"""Requests for the server, drawn by number: files, options, forms and connections as no program would send them."""

import base64
import json
from random import Random
from typing import NamedTuple

from .kinds import make
from .plain_bytes import CHANGES
from .values import changed_json

_PICTURES = ("/v1/classify", "/v1/caption", "/v1/answer", "/v1/embed", "/v1/match")
_SPEECH = ("/v1/audio/transcriptions", "/v1/audio/translations", "/v1/embed")
_OPTIONS = {
    "/v1/classify": {"top_k": "3"},
    "/v1/caption": {"beams": "1"},
    "/v1/answer": {"question": "what is it?"},
    "/v1/match": {"texts": "a dog"},
    "/v1/audio/transcriptions": {"model": "whisper-1", "response_format": "verbose_json"},
    "/v1/audio/translations": {"model": "whisper-1"},
}
_NAMES = (
    *("model", "maps", "map_method", "check", "strict", "top_k", "threshold", "labels", "template", "question"),
    *("texts", "text", "beams", "max_tokens", "sample", "temperature", "seed", "stream", "response_format", "prompt"),
    *("language", "timestamp_granularities[]", "tokens", "url", "file", "file[]", "", "\0", "__class__", "a" * 300),
)
_VALUES = (
    *("", "0", "1", "-1", "1e400", "nan", "inf", "true", "maybe", "json", "png", "9" * 400, "\0", "\ud83d", "é" * 999),
    *("../../etc/passwd", "http://127.0.0.1:1/", "file:///etc/passwd", "[1, 2]", "{}", "x" * 70_000, "whisper-1"),
)
_TYPES = (
    *("", "text/plain", "application/json; charset=utf-16", "multipart/form-data", "multipart/form-data; boundary="),
    *("application/x-www-form-urlencoded", "image/png", "application/json, text/html", 'a/b; c="', "multipart/mixed"),
    *("multipart/form-data; boundary=" + "b" * 5000, "application/octet-stream", "audio/wav"),
)
_LINES = (
    *(b"", b"GET", b"GET / HTTP/9.9", b"POST /v1/classify HTTP/1.1\r\nContent-Length: -5", b"\x16\x03\x01\x02\x00\x01"),
    *(b"GET /%00%ff%2e%2e HTTP/1.1\r\nHost: x", b"PRI * HTTP/2.0\r\n\r\nSM", b"GET /v1/models/" + b"%2f" * 3000),
    *(b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 100_000, b"DELETE /v1/classify HTTP/1.1\r\nHost: x"),
    b"POST /v1/classify HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"POST /v1/classify HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n3\r\nabc\r\n0",
    b"GET /v1/live?rate=16000 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x",
    b"HEAD /metrics HTTP/1.1\r\nHost: x",
    b"POST /v1/models HTTP/1.1\r\nHost: x\r\nContent-Length: 0",
)


class Sent(NamedTuple):
    """What is sent to the server."""

    kind: str
    """The row of the table."""

    data: bytes
    """All bytes, after which the connection stays open for the answer."""

    is_half: bool = False
    """Whether it may be incomplete: then there may be no answer."""

    wait: float = 0.0
    """Seconds to wait for an answer to what may be incomplete, before nothing more is sent."""


def drawn(seed: int, number: int) -> Sent:
    """The request of this number."""
    random = Random(f"{seed} request {number}")
    kind = random.choice(tuple(_KINDS))
    return _KINDS[kind](random, number)._replace(kind=kind)


def form(fields: list[tuple[str, str]], file: bytes | None, *, boundary: str = "edge", name: str = "file") -> bytes:
    """The body of a form."""
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n'.encode(errors="replace")
        + value.encode(errors="surrogatepass")
        + b"\r\n"
        for field, value in fields
    ]
    if file is not None:
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="a"\r\n\r\n'
        parts.append(head.encode(errors="replace") + file + b"\r\n")
    return b"".join(parts) + f"--{boundary}--\r\n".encode()


def request(path: str, body: bytes, kind: str = "multipart/form-data; boundary=edge", *, more: str = "") -> bytes:
    """A whole request."""
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
    return (head + (f"Content-Type: {kind}\r\n" if kind else "") + more + "\r\n").encode() + body


def _file(random: Random, number: int) -> tuple[str, bytes, str]:
    """An address and a changed file for it, with what was changed."""
    kind = random.choice(("picture", "sound"))
    path = random.choice(_PICTURES if kind == "picture" else _SPEECH)
    sample = make(kind, 1, number)
    return path, sample.files[sample.target], sample.how


def _changed_files(random: Random, number: int) -> Sent:
    path, file, _ = _file(random, number)
    return Sent("", request(path, form(list(_OPTIONS.get(path, {}).items()), file)))


def _options(random: Random, number: int) -> Sent:
    path, file, _ = _file(random, number)
    fields = [*_OPTIONS.get(path, {}).items()]
    fields += [(random.choice(_NAMES), random.choice(_VALUES)) for _ in range(random.choice((1, 1, 2, 5)))]
    random.shuffle(fields)
    return Sent("", request(path, form(fields, file)))


def _forms(random: Random, number: int) -> Sent:
    path, file, _ = _file(random, number)
    body = form([*_OPTIONS.get(path, {}).items()], file[:2000])
    for _ in range(random.choice((1, 2, 4))):
        body = random.choice(CHANGES)(body, random) if body else b"--edge"
    return Sent("", request(path, body))


def _json(random: Random, number: int) -> Sent:
    path, file, _ = _file(random, number)
    fields = {**_OPTIONS.get(path, {}), "file": base64.b64encode(file[:20_000]).decode()}
    body, _ = changed_json(json.dumps(fields).encode(), random)
    if random.random() < 0.3:
        body = random.choice(CHANGES)(body, random) if body else b"["
    if random.random() < 0.03:
        body = b"[" * 100_000
    return Sent("", request(path, body, "application/json"))


def _types(random: Random, number: int) -> Sent:
    path, file, _ = _file(random, number)
    body = form([], file) if random.random() < 0.5 else file
    more = random.choice(("", "Content-Encoding: gzip\r\n", "Expect: 100-continue\r\n", "X-Request-Id: \x01\r\n"))
    return Sent("", request(path, body, random.choice(_TYPES), more=more))


def _connections(random: Random, number: int) -> Sent:
    line = random.choice(_LINES)
    if random.random() < 0.3:
        line = random.choice(CHANGES)(line, random) if line else random.randbytes(200)
    return Sent("", line + b"\r\nConnection: close\r\n\r\n", is_half=True, wait=1.0)


def _halves(random: Random, number: int) -> Sent:
    path, file, _ = _file(random, number)
    whole = request(path, form([*_OPTIONS.get(path, {}).items()], file))
    return Sent("", whole[: random.randrange(1, len(whole))], is_half=True)


_KINDS = {
    "changed pictures and recordings": _changed_files,
    "options": _options,
    "forms": _forms,
    "JSON": _json,
    "content types": _types,
    "connections": _connections,
    "half-sent bodies": _halves,
}
