"""Faults of callers, one by one, and what a server does about each: the table in docs/serve-load.md.

Each function commits one fault and returns what came of it, in a few words; it raises AssertionError where that is not
what is documented.
"""

import asyncio
import gzip
import io
import json
import re
import struct
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path

import numpy as np
import soundfile

from .http_bodies import Sent, form, request
from .http_client import answer

ASSETS = Path(__file__).parents[2] / "assets" / "inputs"
_TRANSCRIBE = "/v1/audio/transcriptions"
_SOON = 20.0  # seconds in which work that nobody waits for must have ended


async def _status(port: int, data: bytes) -> int | None:
    found = await answer(port, Sent("", data))
    assert found.fault is None, found.fault
    return found.status


async def metrics(port: int) -> dict[str, float]:
    """What the server says of itself."""
    async with _connection(port) as (reader, writer):
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        text = (await reader.read()).decode()
    return {name: float(value) for name, value in re.findall(r"^(multiattn_\S+) (\S+)$", text, re.M)}


@asynccontextmanager
async def _connection(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def _work(port: int) -> float:
    """How many requests wait or are computed."""
    found = await metrics(port)
    return sum(
        value for name, value in found.items() if name.startswith(("multiattn_model_queue", "multiattn_model_running"))
    )


async def _is_idle_soon(port: int) -> float:
    """Wait until nothing is computed; return the seconds."""
    start = time.monotonic()
    while await _work(port):
        assert time.monotonic() - start < _SOON, "work goes on although its caller has gone"
        await asyncio.sleep(0.02)
    return time.monotonic() - start


@cache
def long_recording() -> bytes:
    """Two minutes of digits, which take a model seconds."""
    samples, rate = soundfile.read(ASSETS / "digits.flac", dtype="float32")
    file = io.BytesIO()
    soundfile.write(file, np.tile(np.concatenate([samples, np.zeros(rate, np.float32)]), 8), rate, format="FLAC")
    return file.getvalue()


def picture() -> bytes:
    return request("/v1/classify", form([], (ASSETS / "frog.png").read_bytes()))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *chunks: bytes) -> bytes:
    """A black picture of one bit a pixel, compressed line by line, with more chunks before its pixels."""
    packer = zlib.compressobj(1)
    line, data = b"\0" * (width // 8 + 1), b""
    for _ in range(height):
        data += packer.compress(line)
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    end = _chunk(b"IDAT", data + packer.flush()) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + b"".join(chunks) + end


def silence(hours: float, kind: str, *, states_length: bool = True) -> bytes:
    """Hours of silence in few bytes."""
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", 8000, 1, format=kind) as sound:
        for _ in range(round(hours * 60)):
            sound.write(np.zeros(8000 * 60, np.int16))
    data = file.getvalue()
    if kind == "FLAC" and not states_length:  # as a program that writes into a pipe: 36 bits of STREAMINFO are 0
        data = data[:21] + bytes([data[21] & 0xF0]) + b"\0" * 4 + data[26:]
    return data


async def _slow_body(port: int) -> str:
    async with _connection(port) as (reader, writer):
        writer.write(picture()[:300])
        start = time.monotonic()
        found = await asyncio.wait_for(reader.read(), 30)
        assert found.startswith(b"HTTP/1.1 408"), found[:200]
        assert b"connection: close" in found.lower()
    return f"408 after {time.monotonic() - start:.1f} s"


async def _half_headers(port: int) -> str:
    async with _connection(port) as (reader, writer):
        writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\nX-")
        start = time.monotonic()
        found = await asyncio.wait_for(reader.read(), 30)
        assert not found or found.startswith((b"HTTP/1.1 408", b"HTTP/1.1 400")), found[:200]
    return f"closed after {time.monotonic() - start:.1f} s"


async def _half_body(port: int) -> str:
    async with _connection(port) as (_, writer):
        writer.write(picture()[:2000])
        await writer.drain()
    return f"nothing is computed; idle after {await _is_idle_soon(port):.1f} s"


async def _gone_while_computed(port: int) -> str:
    async with _connection(port) as (_, writer):
        writer.write(request(_TRANSCRIBE, form([], long_recording())))
        start = time.monotonic()
        while not await _work(port):
            assert time.monotonic() - start < _SOON
            await asyncio.sleep(0.01)
    return f"work stops; idle after {await _is_idle_soon(port):.1f} s"


async def _gone_in_mid_stream(port: int) -> str:
    async with _connection(port) as (reader, writer):
        writer.write(request(_TRANSCRIBE, form([("stream", "true")], long_recording())))
        await asyncio.wait_for(reader.readuntil(b"transcript.text.delta"), 60)
        assert await _work(port), "the work was over before the caller went"
    return f"work stops; idle after {await _is_idle_soon(port):.1f} s"


async def _never_reads(port: int) -> str:
    async with _connection(port) as (_, writer):
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(request(_TRANSCRIBE, form([("stream", "true")], long_recording())))
        await asyncio.sleep(0.1)
        assert await _status(port, picture()) == 200
    await _is_idle_soon(port)
    return "others are answered"


async def _many_connections(port: int) -> str:
    connections = [await asyncio.open_connection("127.0.0.1", port) for _ in range(300)]
    try:
        for _, writer in connections:
            writer.write(picture()[:100])
        start = time.monotonic()
        assert await _status(port, picture()) == 200
        return f"others are answered, in {time.monotonic() - start:.1f} s"
    finally:
        for _, writer in connections:
            writer.transport.abort()


async def _too_many(port: int) -> str:
    statuses = await asyncio.gather(
        *(_status(port, request(_TRANSCRIBE, form([], long_recording()))) for _ in range(12))
    )
    assert set(statuses) <= {200, 429, 504} and 429 in statuses, statuses
    await _is_idle_soon(port)
    return "429 with Retry-After where the queue is full; the others are answered"


def _refused(make: Callable[[], bytes], *statuses: int) -> Callable[[int], Awaitable[str]]:
    async def send(port: int) -> str:
        data = make()
        start = time.monotonic()
        status = await _status(port, data)
        assert status in statuses, status
        return f"{status} after {time.monotonic() - start:.1f} s"

    return send


def _json(path: str, body: bytes, *, more: str = "") -> bytes:
    return request(path, body, "application/json", more=more)


FAULTS: dict[str, Callable[[int], Awaitable[str]]] = {
    "a body that stops coming": _slow_body,
    "headers that stop coming": _half_headers,
    "a body that is half sent, then the caller goes": _half_body,
    "the caller goes while its recording is transcribed": _gone_while_computed,
    "the caller goes in mid-stream": _gone_in_mid_stream,
    "a caller of a stream that never reads": _never_reads,
    "300 connections that send a hundred bytes each": _many_connections,
    "a PNG of 30,000 x 30,000 pixels": _refused(lambda: request("/v1/classify", form([], png(30_000, 30_000))), 413),
    "a PNG with 300 MB of text in 300 kB": _refused(
        lambda: request(
            "/v1/classify", form([], png(9, 9, _chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(300 << 20)))))
        ),
        200,
        422,
    ),
    "FLAC: 2 hours of silence in 0.2 MB": _refused(lambda: request(_TRANSCRIBE, form([], silence(2, "FLAC"))), 413),
    "FLAC: the same, without its length": _refused(
        lambda: request(_TRANSCRIBE, form([], silence(2, "FLAC", states_length=False))), 413
    ),
    "Ogg: 20 minutes of silence": _refused(lambda: request(_TRANSCRIBE, form([], silence(0.34, "OGG"))), 413),
    "JSON that is nested 100,000 times": _refused(lambda: _json("/v1/classify", b"[" * 100_000), 400),
    "a body in gzip": _refused(
        lambda: _json(
            "/v1/classify", gzip.compress(json.dumps({"a": "b" * 10**7}).encode()), more="Content-Encoding: gzip\r\n"
        ),
        400,
        415,
    ),
    "a recording to /v1/classify": _refused(lambda: request("/v1/classify", form([], silence(0.1, "FLAC"))), 415),
    "a picture to /v1/audio/transcriptions": _refused(
        lambda: request(_TRANSCRIBE, form([], (ASSETS / "frog.png").read_bytes())), 415
    ),
    "a content type that is none of these": _refused(lambda: request("/v1/classify", b"text", "text/plain"), 415),
    "a body above the limit": _refused(lambda: request("/v1/classify", form([], bytes(8_000_001))), 413),
    "12 long recordings at once for a queue of 4": _too_many,
}
"""By the words of the table. The server is to have the limits of `served.LIMITS`."""
