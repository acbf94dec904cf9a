"""Servers of `multiattn serve` in processes of their own, and many clients of one at once."""

import asyncio
import contextlib
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import httpx

_TICK = os.sysconf("SC_CLK_TCK")  # of the processor times in /proc, a second
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Server:
    """A server that runs."""

    address: str
    pid: int

    @property
    def busy(self) -> float:
        """Seconds of processor time so far."""
        with open(f"/proc/{self.pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICK

    @property
    def memory(self) -> int:
        """Bytes in memory now."""
        with open(f"/proc/{self.pid}/statm") as file:
            return int(file.read().split()[1]) * _PAGE


@contextlib.contextmanager
def server(*options: str, threads: int = 1) -> Iterator[Server]:
    """Run a server; its log goes nowhere."""
    command = [sys.executable, "-m", "multiattn", "serve", "--port", "0", "--device", "cpu", "--preload"]
    # a client that shares a busy machine with the server may be slow, too
    command += ["--body-timeout", "600", "--timeout", "600", *options]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            assert process.stderr is not None
            line = process.stderr.readline()
            found = re.search(r"http://\S+", line)
            assert found, line + process.stderr.read()
            yield Server(found[0], process.pid)
        finally:
            process.terminate()
            process.wait(60)


class Ask(NamedTuple):
    """A request."""

    path: str
    file: tuple[str, bytes] | None = None
    fields: dict[str, Any] | None = None
    json: dict[str, Any] | None = None

    async def post(self, client: httpx.AsyncClient) -> httpx.Response:
        """Send it."""
        if self.json is not None:
            return await client.post(self.path, json=self.json)
        return await client.post(self.path, files={"file": self.file}, data=self.fields)


class Load(NamedTuple):
    """What a server did under a load."""

    rate: float
    """Requests answered a second."""

    busy: float
    """Seconds of its processor time a request."""

    p50: float
    """Half of the requests took at most so many seconds."""

    p99: float


def load(of: Server, asks: Sequence[Ask], *, clients: int) -> Load:
    """Send requests by so many clients, each of which sends one when it has the answer to the one before."""
    return asyncio.run(_load(of, asks, clients))


async def _load(of: Server, asks: Sequence[Ask], clients: int) -> Load:
    waiting, seconds = iter(asks), list[float]()
    limits = httpx.Limits(max_connections=clients)
    async with httpx.AsyncClient(base_url=of.address, timeout=600, limits=limits) as client:

        async def one() -> None:
            for ask in waiting:
                start = time.perf_counter()
                answer = await ask.post(client)
                seconds.append(time.perf_counter() - start)
                assert answer.status_code == 200, answer.text

        busy, start = of.busy, time.perf_counter()
        await asyncio.gather(*(one() for _ in range(clients)))
        whole = time.perf_counter() - start
        busy = of.busy - busy
    ordered = sorted(seconds)
    return Load(len(asks) / whole, busy / len(asks), statistics.median(ordered), ordered[int(0.99 * len(ordered))])


def machine() -> str:
    """Say on what machine, and how busy it is with other things."""
    with open("/proc/cpuinfo") as file:
        name = next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), "a processor")
    return f"{os.cpu_count()} cores of {name}; load average {os.getloadavg()[0]:.1f}"
