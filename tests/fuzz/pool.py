"""Worker processes that are watched: for their time, their memory, and their end."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .kinds import Job
from .outcome import MEGABYTES, SECONDS, Outcome

_START = 900.0  # seconds until a worker has its libraries, on a busy machine
_GROWN = 1500.0  # megabytes: a worker that is larger between two inputs is replaced
ROOT = Path(__file__).parents[2]


class Worker:
    """One process, started when it is needed and again after its end."""

    def __init__(self, folder: Path, *, seconds: float = SECONDS, megabytes: float = MEGABYTES) -> None:
        self._seconds, self._most = seconds, megabytes
        self._scratch, self._log = folder / "input", folder / "log.txt"
        self._process: subprocess.Popen[bytes] | None = None
        self._held = b""
        self._base = 0.0

    def run(self, job: Job) -> Outcome:
        """Run one job, and return what became of it."""
        if self._process is None or self._base > _GROWN:
            self.close()
            self._start()
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(json.dumps(job).encode() + b"\n")
        self._process.stdin.flush()
        start, spent, limit, self._base = time.monotonic(), self._spent(), _START, 0.0
        while True:
            line = self._line(0.05)
            if line is not None:
                answer = json.loads(line)
                if "base" in answer:
                    self._base = answer["base"]
                if "base" in answer or "ready" in answer:
                    start, spent, limit = time.monotonic(), self._spent(), self._seconds
                    continue
                outcome = Outcome(**answer)
                return Outcome("too large", **_without_column(answer)) if outcome.megabytes > self._most else outcome
            # on a busy machine, too: the time of the process counts, and six times as much of the clock
            seconds = max(self._spent() - spent, (time.monotonic() - start) / 6)
            if self._process.poll() is not None:
                ended = self._end("crash", f"exit status {self._process.returncode}", seconds)
                if not self._base:  # before the input was read
                    raise RuntimeError(f"the fuzzer itself failed at {job}: {ended.detail}")
                return ended
            grown = self._megabytes() - self._base if self._base else 0.0
            if grown > self._most:
                return self._end("too large", f"{grown:.0f} MB over base", seconds, grown)
            if seconds > limit:
                return self._end("too slow", f"more than {limit:.0f} s", seconds, grown)

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
        self._process, self._held = None, b""

    def _start(self) -> None:
        self._log.unlink(missing_ok=True)
        self._base = 0.0
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.fuzz.worker", str(self._scratch), str(self._log)],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "MALLOC_TRIM_THRESHOLD_": "0"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def _end(self, column: str, reason: str, seconds: float, grown: float = 0.0) -> Outcome:
        """End a process that went wrong; the detail has where each of its threads was."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGUSR1)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.5)
        self.close()
        log = self._log.read_text(errors="replace") if self._log.exists() else ""
        return Outcome(column, f"{reason}\n{log[-4000:]}", seconds, grown)

    def _line(self, seconds: float) -> bytes | None:
        """The next line of the process; None where none comes in time."""
        assert self._process is not None and self._process.stdout is not None
        stream = self._process.stdout.fileno()
        if b"\n" not in self._held and select.select([stream], [], [], seconds)[0]:
            self._held += os.read(stream, 1 << 20)
        line, newline, rest = self._held.partition(b"\n")
        if not newline:
            return None
        self._held = rest
        return line

    def _spent(self) -> float:
        """The seconds that the process has computed so far."""
        assert self._process is not None
        with contextlib.suppress(OSError, IndexError):
            fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return 0.0

    def _megabytes(self) -> float:
        assert self._process is not None
        with contextlib.suppress(OSError):
            pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
            return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
        return 0.0


def _without_column(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name != "column"}


def run_all(jobs: Iterator[Job], done: Callable[[Job, Outcome], bool], *, workers: int) -> None:
    """Run jobs on several processes.

    Args:
        jobs: Taken one at a time.
        done: Called with each job and its outcome, never twice at once; returns whether to go on.
        workers: Number of processes.
    """
    lock = threading.Lock()
    going = True
    errors: list[Exception] = []  # of the fuzzer itself

    def work(folder: Path) -> None:
        nonlocal going
        worker = Worker(folder)
        try:
            while True:
                with lock:
                    job = next(jobs, None) if going else None
                if job is None:
                    return
                outcome = worker.run(job)
                with lock:
                    going = done(job, outcome) and going
        except Exception as error:
            errors.append(error)
            going = False
        finally:
            worker.close()

    # in memory where there is such a place: an input is written for each job
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=place, prefix="multiattn-fuzz-") as folder:
        folders = [Path(folder) / str(number) for number in range(workers)]
        threads = []
        for one in folders:
            one.mkdir()
            threads.append(threading.Thread(target=work, args=(one,), daemon=True))
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                while thread.is_alive():
                    thread.join(0.2)
        finally:
            with lock:
                going = False
            for thread in threads:
                thread.join(SECONDS + 5)
    if errors:
        raise errors[0]
