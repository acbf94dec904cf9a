"""A command whose model ends the process where it runs, for tests of the engines; it imports no torch."""

import os
import signal
import time
from argparse import Namespace
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from multiattn.cli.classify import Classify, parser
from multiattn.cli.feed import Job
from multiattn.cli.outcome import Outcome
from multiattn.errors import ModelError


class Found:
    """A result that needs no library: the number of the process that made it."""

    marks: dict[str, object] = {}
    maps = ()

    def __init__(self, file: str) -> None:
        self._record = {"file": file, "process": os.getpid()}

    def narrowed(self, **_: object) -> "Found":
        return self

    def to_dict(self) -> dict[str, object]:
        return dict(self._record)


class Killed(Classify):
    """A model that ends its process, raises or waits when it meets a picture of a certain name."""

    def load(self, place: Any = None) -> None:
        return None

    def computed(self, pipeline: None, jobs: Iterable[Job]) -> Iterator[list[Outcome]]:
        for job in jobs:
            name, folder = Path(str(job.file)).stem, Path(str(job.file)).parent
            if name == "always":
                os.abort()
            if name == "once" and not (folder / "was here").exists():
                (folder / "was here").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            if name == "raises":
                raise ModelError("a worker says so")
            if name == "interrupts":
                time.sleep(1)  # while the results before are collected
                os.kill(self.args.pid, self.args.signal)
            if name in ("waits", "interrupts"):
                time.sleep(60)
            yield [Outcome(shown=Found(str(job.file)))]


def arguments(folder: Path, *names: str) -> Namespace:
    for name in names:
        (folder / name).touch()
    args = parser().parse_args([*(str(folder / name) for name in names), "--processes", "2", "--batch-size", "3"])
    args.format, args.out, args.model = "json", str(folder / "r"), "none"
    return args
