"""Send drawn requests to a server, and print the table of statuses: `python -m tests.fuzz.served --inputs 10000`."""

import argparse
import asyncio
import contextlib
import re
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from .http_bodies import drawn
from .http_client import Answer, Server, answers, server
from .http_faults import FAULTS

LIMITS = {"max_body": 8_000_000, "max_seconds": 300.0, "timeout": 60.0, "body_timeout": 2.0, "idle": 2.0, "queue": 4}
"""Of the server, as its settings."""

_BLOCK = 250
_GROWTH = 60.0
"""Megabytes that the process may grow by after its first quarter: what allocators keep."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; the exit status is 1 where an answer is none that is documented, or the server grows or dies."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.served", description=__doc__)
    parser.add_argument("--inputs", type=int, default=10_000, help="number of requests (default: 10000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first request")
    parser.add_argument("--at-once", type=int, default=8, help="connections at once (default: 8)")
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, server(Path(folder), *options()) as found:
        run = Run(found, seed=args.seed, at_once=args.at_once)
        print(run.commit_faults())
        # ctrl-c, or an end from outside, prints what was found so far
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with contextlib.suppress(KeyboardInterrupt):
            run.send(args.first, args.inputs)
        print(run.report(), flush=True)
        return 1 if run.faults else 0


def options() -> list[str]:
    """`LIMITS` as options of the command."""
    return [word for name, value in LIMITS.items() for word in (f"--{name.replace('_', '-')}", str(value))]


class Run:
    """Requests and what came of them.

    Args:
        server: Where they are sent.
        seed: Of the requests.
        at_once: Connections at once.
    """

    def __init__(self, server: Server, *, seed: int = 0, at_once: int = 8) -> None:
        self._server, self._seed, self._at_once = server, seed, at_once
        self.counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.faults: list[str] = []
        self.memory = [server.megabytes()]
        self._slowest = Answer(None, None)
        self._start = time.monotonic()

    def commit_faults(self) -> str:
        """Commit all of `FAULTS`; return the table of what came of them."""
        lines = ["| fault | what comes of it | memory, MB |", "| --- | --- | ---: |"]
        for name, commit in FAULTS.items():
            before = self._server.megabytes()
            try:
                found = asyncio.run(commit(self._server.port))
            except (AssertionError, TimeoutError) as error:
                found = f"WRONG: {error}"
                self.faults.append(f"{name}: {error}")
            lines.append(f"| {name} | {found} | {self._server.megabytes() - before:+.0f} |")
            print(lines[-1], file=sys.stderr, flush=True)
        return "\n".join([*lines, ""])

    def send(self, first: int, count: int) -> None:
        """Send the requests of these numbers."""
        for start in range(first, first + count, _BLOCK):
            numbers = range(start, min(start + _BLOCK, first + count))
            requests = [drawn(self._seed, number) for number in numbers]
            found = asyncio.run(answers(self._server.port, requests, at_once=self._at_once))
            for number, sent, one in zip(numbers, requests, found, strict=True):
                self.counts[sent.kind][str(one.status or "closed")] += 1
                self._slowest = max(self._slowest, one, key=lambda each: each.seconds)
                if one.fault:
                    self.faults.append(f"request {number} ({sent.kind}): {one.fault}")
            if self._server.process.poll() is not None:
                self.faults.append(f"the server has ended: {self._server.process.returncode}")
                return
            self.memory.append(self._server.megabytes())
        if count >= 2000 and self.memory[-1] > self.memory[len(self.memory) // 4] + _GROWTH:
            self.faults.append(f"memory grows: {self.memory} MB")
        if traces := re.findall(r'"error": "[^"]+', self._server.log.read_text()):
            self.faults.append(f"defects in the log: {traces[:5]}")

    def report(self) -> str:
        """The table, and what is wrong."""
        columns = sorted({name for counts in self.counts.values() for name in counts})
        lines = [f"| requests | {' | '.join(columns)} |", "| --- |" + " ---: |" * len(columns)]
        for kind, counts in sorted(self.counts.items()):
            lines.append(f"| {kind} | {' | '.join(str(counts[name] or '') for name in columns)} |")
        total = sum(sum(counts.values()) for counts in self.counts.values())
        lines.append(
            f"\n{total:,} requests in {time.monotonic() - self._start:.0f} s; the slowest took "
            f"{self._slowest.seconds:.1f} s. Memory after each eighth: "
            + ", ".join(f"{one:.0f}" for one in self.memory[:: max(1, len(self.memory) // 8)])
            + f" and {self.memory[-1]:.0f} MB. Faults: {len(self.faults)}."
        )
        return "\n".join([*lines, *self.faults[:40]])


if __name__ == "__main__":
    raise SystemExit(main())
