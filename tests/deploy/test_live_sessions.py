"""/v1/live with real recordings: the words of the pipeline, and what each end of a session says."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import websockets
from websockets.asyncio.client import ClientConnection, connect

from multiattn.deploy.engine import LocalEngine
from multiattn.deploy.http.logs import JsonLines
from multiattn.deploy.http.settings import Settings
from multiattn.deploy.models import Choice
from multiattn.inputs import load_audio
from multiattn.pipelines import TranscribePipeline, load
from tests.deploy.running import served

DIGITS = Path(__file__).parents[2] / "assets" / "inputs" / "digits.flac"
RATE = 16_000


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, LocalEngine]]:
    settings = Settings(device="cpu", max_seconds=8.0, idle=0.5, live_sessions=2)
    with served([Choice("transcribe", "transcribe", "transcribe")], settings) as (url, engine):
        yield url.replace("http", "ws") + "/v1/live", engine


def pcm(rate: int = RATE, seconds: float | None = None) -> bytes:
    """The digits as samples."""
    samples = load_audio(DIGITS, rate=rate).numpy()
    return (samples[: None if seconds is None else round(seconds * rate)] * 32767).astype("<i2").tobytes()


@asynccontextmanager
async def session(url: str, **query: object) -> AsyncIterator[ClientConnection]:
    """A session that is ready."""
    asked = "&".join(f"{name}={value}" for name, value in ({"rate": RATE} | query).items())
    async with connect(f"{url}?{asked}") as socket:
        ready = json.loads(await socket.recv())
        assert ready["type"] == "ready" and ready["model"] == "transcribe"
        yield socket


async def rest(socket: ClientConnection) -> tuple[list[dict[str, Any]], int | None, str]:
    """All messages up to the end, and code and reason of the close frame."""
    found = []
    try:
        while True:
            found.append(json.loads(await asyncio.wait_for(socket.recv(), 60)))
    except websockets.ConnectionClosed as closed:
        assert closed.rcvd is not None
        return found, closed.rcvd.code, closed.rcvd.reason


async def send(socket: ClientConnection, data: bytes, size: int) -> None:
    for at in range(0, len(data), size):
        await socket.send(data[at : at + size])


@pytest.mark.parametrize("rate", [RATE, pytest.param(44_100, marks=pytest.mark.slow)])
def test_the_words_are_those_of_the_pipeline(server: tuple[str, LocalEngine], rate: int) -> None:
    """In pieces of an odd number of bytes."""
    url, _ = server

    async def talk() -> tuple[list[dict[str, Any]], int | None, str]:
        async with session(url, rate=rate, language="en") as socket:
            await send(socket, pcm(rate), 4_999)
            await socket.send(json.dumps({"type": "end"}))
            return await rest(socket)

    messages, code, reason = asyncio.run(talk())
    assert (code, reason) == (1000, "the sound has ended")
    *updates, last = messages
    assert [one["type"] for one in messages] == ["update"] * len(updates) + ["transcript"] and len(updates) > 1
    settled = [word for one in updates for word in one["settled"]]
    assert settled == [
        {name: value for name, value in word.items() if name in settled[0]} for word in last["transcript"]["words"]
    ]
    assert any(one["unsettled"] for one in updates)
    pipeline = load("transcribe", device="cpu")
    assert isinstance(pipeline, TranscribePipeline)
    whole = pipeline(str(DIGITS)).text
    assert "".join(one["text"] for one in updates).split() == last["transcript"]["text"].split() == whole.split()
    assert last["transcript"]["duration"] == pytest.approx(len(pcm()) / 2 / RATE, abs=0.01)


def test_the_first_message_may_say_how(server: tuple[str, LocalEngine]) -> None:
    url, _ = server

    async def talk(first: str | bytes) -> dict[str, Any]:
        async with connect(url, subprotocols=[websockets.Subprotocol("multiattn")]) as socket:
            assert socket.subprotocol == "multiattn"
            await socket.send(first)
            ready: dict[str, Any] = json.loads(await socket.recv())
            await socket.send('{"type": "end"}')
            (last,), code, _ = await rest(socket)
            assert code == 1000
            return ready | {"duration": last["transcript"]["duration"]}

    stated = asyncio.run(talk('{"type": "start", "rate": 8000, "model": "whisper-1"}'))
    assert stated == {
        "type": "ready",
        "model": "transcribe",
        "rate": 8000,
        "max_seconds": 8.0,
        "idle": 0.5,
        "duration": 0,
    }
    assert asyncio.run(talk(bytes(3200)))["duration"] == 0.2  # at the model's own rate, 8 kHz


@pytest.mark.parametrize(
    ("query", "messages", "code", "reason"),
    [
        ({}, [bytes(9 * RATE * 2)], 1009, "a session must be at most 8 seconds long"),
        ({}, [bytes((1 << 20) + 2)], 1009, "a message must have at most 1048576 bytes"),
        ({}, [bytes(3200)], 1008, "sound must come at least every 0.5 s"),
        ({}, ["not json"], 1007, "a text message must be a JSON object"),
        ({}, ['{"type": "stop"}'], 1007, "a text message must be {"),
        ({"rate": 20}, [], 1008, "`rate` must be from 4000 to 192000 Hz, but is 20 instead"),
        ({"rate": "fast"}, [], 1008, "`rate`: Input should be a valid integer"),
        ({"volume": 3}, [], 1008, "`volume`: Extra inputs are not permitted"),
        ({"language": "fr"}, [], 1008, "transcribe knows one language only"),
    ],
)
def test_every_end_says_why(
    server: tuple[str, LocalEngine], query: dict[str, object], messages: list[str | bytes], code: int, reason: str
) -> None:
    async def talk() -> tuple[list[dict[str, Any]], int | None, str]:
        asked = "&".join(f"{name}={value}" for name, value in ({"rate": RATE} | query).items())
        async with connect(f"{server[0]}?{asked}") as socket:
            for one in messages:
                for part in [one[:900_000], one[900_000:]] if len(one) == 9 * RATE * 2 else [one]:
                    await socket.send(part)
            return await rest(socket)

    found, got, why = asyncio.run(talk())
    assert got == code and why.startswith(reason) and len(why.encode()) <= 123
    assert found[-1]["type"] == "error" and found[-1]["detail"].startswith(why.rstrip("."))
    assert "Traceback" not in str(found)
    if code == 1009 and "session" in reason:  # what was said until then
        assert found[-2]["type"] == "transcript" and found[-2]["transcript"]["duration"] == 8


def test_sessions_are_counted_and_a_gone_caller_frees_its_place() -> None:
    """Of a server that waits long for sound: here, none comes."""

    async def counted(engine: LocalEngine, number: int) -> bool:
        for _ in range(1000):  # the server hears of an end after the caller
            if engine._sessions._count == number:
                return True
            await asyncio.sleep(0.01)
        return False

    async def talk(url: str, engine: LocalEngine) -> None:
        async with session(url), session(url) as second:
            async with connect(f"{url}?rate={RATE}") as third:
                found, code, _ = await rest(third)
                assert code == 1013 and found[0]["status"] == 429
            second.transport.abort()  # without a close frame
            assert await counted(engine, 1)
            async with session(url):
                pass
        assert await counted(engine, 0)

    settings = Settings(device="cpu", idle=60.0, live_sessions=2)
    with served([Choice("transcribe", "transcribe", "transcribe")], settings) as (url, engine):
        asyncio.run(talk(url.replace("http", "ws") + "/v1/live", engine))


def test_empty_messages_do_not_keep_a_session_alive(server: tuple[str, LocalEngine]) -> None:
    async def talk() -> int | None:
        async with session(server[0]) as socket:
            for _ in range(200):
                try:
                    await socket.send(b"")
                except websockets.ConnectionClosed as closed:
                    assert closed.rcvd is not None
                    return closed.rcvd.code
                await asyncio.sleep(0.05)
        return None

    assert asyncio.run(talk()) == 1008


@pytest.mark.parametrize(
    ("origin", "is_ours"),
    [("http://{host}", True), ("https://{host}", True), ("http://other.example", False), ("http://[", False)],
)
def test_a_page_of_another_host_is_refused(
    server: tuple[str, LocalEngine], caplog: pytest.LogCaptureFixture, origin: str, is_ours: bool
) -> None:
    host = server[0].removeprefix("ws://").partition("/")[0]

    async def talk() -> int:
        try:
            async with connect(f"{server[0]}?rate={RATE}", origin=websockets.Origin(origin.format(host=host))):
                return 101
        except websockets.InvalidStatus as refused:
            return refused.response.status_code

    with caplog.at_level(logging.INFO, "multiattn.serve"):
        assert asyncio.run(talk()) == (101 if is_ours else 403)
        for _ in range(500):  # a line is written after the answer
            if caplog.records:
                break
            time.sleep(0.01)
    (line,) = [JsonLines().format(record) for record in caplog.records]
    found = json.loads(line)
    # a refused address may be any text
    assert (found["status"], found["path"]) == ((101, "/v1/live") if is_ours else (403, "other"))
