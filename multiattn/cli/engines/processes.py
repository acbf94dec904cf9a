"""Workers that are processes of this machine."""

import multiprocessing
import os
import queue
import signal
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from ...errors import portable
from ..feed import Job
from .pool import Ended, Event, Finished, Raised, Ready, Workers
from .worker import Place, Worker, num_threads

_PATIENCE = 5.0  # seconds that a process has to end in its own way


class Processes(Workers):
    """Processes, among which the threads are divided, and by turns the GPUs.

    Args:
        computation: A pickled `Computation`.
        count: The number of processes.
    """

    def __init__(self, computation: bytes, count: int) -> None:
        self.subject, self.count = f"--processes {count}", count
        self._computation = computation
        self._threads = max(1, num_threads() // count)
        # a process that has imported what workers need, and that becomes them: a worker starts at once, and shares the
        # memory of what is imported
        has_server = "forkserver" in multiprocessing.get_all_start_methods()
        self._context = (
            multiprocessing.get_context("forkserver") if has_server else multiprocessing.get_context("spawn")
        )
        self._context.set_forkserver_preload([f"{__package__}.preloaded"])
        self._processes: dict[int, BaseProcess] = {}
        self._links: dict[int, Connection] = {}

    def start(self, worker: int) -> None:
        """Start a process, or start it again."""
        ours, theirs = self._context.Pipe()
        arguments = (theirs, self._computation, worker, self._threads)
        process = self._context.Process(target=_serve, args=arguments, daemon=True)
        process.start()
        theirs.close()
        self._processes[worker], self._links[worker] = process, ours

    def send(self, worker: int, jobs: Sequence[Job]) -> None:
        """Give a process a chunk."""
        with suppress(OSError):  # it has ended, which `wait` tells
            self._links[worker].send(jobs)

    def wait(self) -> list[Event]:
        """Wait until there is news, and return it."""
        ready = wait(list(self._links.values()))
        return [self._event(worker, link) for worker, link in list(self._links.items()) if link in ready]

    def _event(self, worker: int, link: Connection) -> Event:
        try:
            event: Event = link.recv()
        except (EOFError, OSError):
            process = self._processes.pop(worker)
            process.join(_PATIENCE)
            self._links.pop(worker).close()
            return Ended(worker, _reason(process.exitcode))
        return event

    def stop(self, *, at_once: bool) -> None:
        """End all processes."""
        for link in self._links.values():
            link.close()  # which ends a process that waits for its next chunk
        for process in self._processes.values():
            if at_once:
                process.kill()
        for process in self._processes.values():
            process.join(_PATIENCE)
            if process.is_alive():
                process.kill()
                process.join()
        self._links, self._processes = {}, {}


def _reason(status: int | None) -> str:
    if status is None or status >= 0:
        return f"a process ended with status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    return f"a process ended by {name}"


def _serve(link: Connection, computation: bytes, number: int, threads: int) -> None:
    """Be a worker: load the model, and answer each chunk, until the other end of the link is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; the process that collects decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    chunks: queue.SimpleQueue[Sequence[Job]] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(link, chunks), daemon=True).start()
    answer: Event
    try:
        worker = Worker(computation, Place(number, threads))
        link.send(Ready(number))
        while True:
            jobs = chunks.get()
            start = time.monotonic()
            outcomes = worker.compute(jobs)
            link.send(Finished(number, outcomes, time.monotonic() - start))
    except BrokenPipeError:
        pass  # the other end is gone, and nobody waits for an answer
    except BaseException as error:
        answer = Raised(number, portable(error))
        with suppress(OSError):
            link.send(answer)


def _receive(link: Connection, chunks: "queue.SimpleQueue[Sequence[Job]]") -> None:
    """Take chunks off the link while others are computed, and end the process with the one that sends them."""
    try:
        while True:
            chunks.put(link.recv())
    except (EOFError, OSError):
        os._exit(0)
