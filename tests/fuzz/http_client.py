"""A server in a process of its own, and what it answers to bytes."""

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from .http_bodies import Sent

STATUSES = frozenset((200, 400, 401, 404, 405, 408, 413, 415, 422, 429, 501, 503, 504))
"""Those that the documentation names, but for 500: a defect."""

_OF_GET = frozenset((*STATUSES, 101, 426))
_LONGEST = 90.0  # seconds until a request hangs
_TRACE = re.compile(rb'Traceback|File \\?"|\.py\b')


class Server(NamedTuple):
    """A server that runs."""

    process: "subprocess.Popen[str]"
    port: int
    log: Path

    def megabytes(self) -> float:
        """What it has in memory (MB)."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


class Answer(NamedTuple):
    """What came of a request."""

    status: int | None
    """None where the connection was closed without an answer."""

    fault: str | None
    """What is wrong with it; None where nothing is."""

    seconds: float = 0.0


@contextmanager
def server(folder: Path, *options: str) -> Iterator[Server]:
    """Run `multiattn serve` with the shipped models on a free port."""
    log = folder / "server.log"
    command = [sys.executable, "-m", "multiattn", "serve", "--port", "0", "--preload", "--device", "cpu", *options]
    with open(log, "w") as written:
        process = subprocess.Popen(command, stderr=written, stdout=written, text=True)
    try:
        end = time.monotonic() + 400
        while not (found := re.search(r"on http://127.0.0.1:(\d+)", log.read_text())):
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the server does not start: {log.read_text()[-2000:]}")
            time.sleep(0.1)
        yield Server(process, int(found[1]), log)
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def answer(port: int, sent: Sent) -> Answer:
    """Send a request, and judge what comes."""
    start = time.monotonic()
    try:
        data = await asyncio.wait_for(_exchanged(port, sent), _LONGEST)
    except TimeoutError:
        return Answer(None, f"no answer within {_LONGEST:g} s", _LONGEST)
    return judged(data, sent)._replace(seconds=time.monotonic() - start)


async def _exchanged(port: int, sent: Sent) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(sent.data)
        await writer.drain()
        begin = b""
        if sent.is_half:
            with suppress(TimeoutError):
                begin = await asyncio.wait_for(reader.read(1), sent.wait)
            writer.write_eof()
        return begin + await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


def judged(data: bytes, sent: Sent) -> Answer:
    """Judge the bytes of an answer."""
    if not data:
        return Answer(None, None if sent.is_half else "closed without an answer")
    if data.startswith(b"HTTP/1.1 100"):
        data = data.partition(b"\r\n\r\n")[2]
    head, _, body = data.partition(b"\r\n\r\n")
    found = re.match(rb"HTTP/1\.1 (\d{3})", head)
    if found is None:
        return Answer(None, f"no HTTP: {data[:60]!r}")
    status = int(found[1])
    if _TRACE.search(body) and status != 200:
        return Answer(status, f"a trace: {body[:300]!r}")
    if status not in (_OF_GET if not sent.data.startswith(b"POST") else STATUSES):
        return Answer(status, f"status {status}: {body[:200]!r}")
    names = {line.partition(b":")[0].lower(): line.partition(b":")[2].strip() for line in head.split(b"\r\n")[1:]}
    if status in (429, 503) and b"retry-after" not in names:
        return Answer(status, "no Retry-After")
    if names.get(b"content-type") == b"application/problem+json" and b"transfer-encoding" not in names:
        problem = json.loads(body or b"{}") if body else {"status": status, "detail": "HEAD"}
        if problem.get("status") != status or not problem.get("detail"):
            return Answer(status, f"no problem: {body[:200]!r}")
    elif status >= 400 and b"x-request-id" in names:
        return Answer(status, f"of type {names.get(b'content-type')!r}")
    return Answer(status, None)


async def answers(port: int, requests: Sequence[Sent], *, at_once: int) -> list[Answer]:
    """Send requests, several at once; return what came of each."""
    found: list[Answer | None] = [None] * len(requests)
    numbers = iter(range(len(requests)))

    async def work() -> None:
        for number in numbers:
            found[number] = await answer(port, requests[number])

    await asyncio.gather(*(work() for _ in range(at_once)))
    return [one for one in found if one is not None]
