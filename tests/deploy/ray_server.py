"""`multiattn serve --engine ray` as a process, with a look at the processes of its replicas."""

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parent.parent.parent
_TICK = os.sysconf("SC_CLK_TCK")


@dataclass
class Server:
    """A server that runs.

    Args:
        process: Of the command.
        address: Where it listens.
        mark: Stands in the environment of all its processes.
        start: Seconds until it was ready.
    """

    process: "subprocess.Popen[str]"
    address: str
    mark: str
    start: float
    lines: list[str] = field(default_factory=list)
    """What it has written to standard error."""

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.address, timeout=180, limits=httpx.Limits(max_connections=None))

    def replicas(self, name: str) -> list[int]:
        """The processes of a deployment's replicas."""
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                is_one = (path / "cmdline").read_text().startswith(f"ray::ServeReplica:multiattn:{name}")
                if is_one and self.mark in (path / "environ").read_text(
                    errors="replace"
                ):  # their parent is none of ours
                    found.append(int(path.name))
        return found

    def wait_for(self, name: str, count: int, seconds: float = 120) -> list[int]:
        """Wait until a deployment has so many replicas; return their processes."""
        end = time.monotonic() + seconds
        while len(found := self.replicas(name)) < count:
            assert time.monotonic() < end, f"{name} has {found}"
            time.sleep(0.1)
        return found

    def busiest(self, name: str, seconds: float = 0.3) -> tuple[int, float]:
        """The replica that computes most, and the share of a core that it takes."""
        before = {pid: cpu_of(pid) for pid in self.replicas(name)}
        time.sleep(seconds)
        shares = {pid: (cpu_of(pid) - cpu) / seconds for pid, cpu in before.items()}
        return max(shares.items(), key=lambda item: item[1])

    def end(self) -> int:
        """Ask it to end, and wait for that; return the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(120)


def cpu_of(pid: int) -> float:
    """Return the processor time of a process in seconds; 0 where it is gone."""
    with suppress(OSError):
        values = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(values[11]) + int(values[12])) / _TICK
    return 0.0


@contextmanager
def serving(*options: str, engine: str = "ray", **environment: str) -> Iterator[Server]:
    """Serve on a cluster of this machine alone, for the time of the body."""
    command = [sys.executable, "-m", "multiattn", "serve", "--engine", engine, "--port", "0", *options]
    start = time.monotonic()
    mark = uuid.uuid4().hex
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MULTIATTN_TEST": mark} | environment
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
    )
    lines, is_ready = list[str](), threading.Event()

    def read() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            lines.append(line.rstrip())
            is_ready.set()
        is_ready.set()

    reader: Any = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        assert is_ready.wait(200) and lines and " on http://" in lines[0], lines
        yield Server(process, lines[0].rpartition(" ")[2], mark, time.monotonic() - start, lines)
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            process.wait(120)
        except subprocess.TimeoutExpired:
            process.kill()
        reader.join(10)
        if process.stderr is not None:
            process.stderr.close()
