"""Workers that are actors of a Ray cluster, on one machine or many.

Ray starts them where there is room, carries chunks and answers, and tells when one is gone. Which inputs a worker that
is gone had, and which of them ends every worker, `pool` knows: Ray's own retries would go on for ever.
"""

import logging
import os
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from ...errors import MultiattnError, reason_of
from ..feed import Job
from .pool import Ended, Event, Finished, Raised, Ready, Workers
from .worker import Place, Worker, num_threads, portable

_STORE = 100 << 20
"""Bytes of Ray's object store on a machine where this process starts it: paths and results are small."""

_PARTING = 3.0
"""Seconds in which the processes of our own cluster end."""

_ANSWER = 10.0
"""Seconds in which the cluster must answer."""

PATIENCE = 60.0
"""Seconds in which the cluster must have room for the first worker."""


class RayActors(Workers):
    """Actors, each of which has a core of the cluster, or a GPU where it has some.

    Args:
        computation: A pickled `Computation`.
        count: The number of actors; None for one a core or GPU.
        address: The cluster, as for `ray.init`; None for one on this machine, which is started and ended.
        uses_gpus: Whether GPUs may be used.

    Raises:
        MultiattnError: Ray is not installed, or there is no cluster at the address.
    """

    subject = "--engine ray"

    def __init__(self, computation: bytes, count: int | None, *, address: str | None, uses_gpus: bool) -> None:
        self._ray = _module()
        self._folder: str | None = None
        self._connect(address, count or num_cores())
        total: dict[str, float] = self._ray.cluster_resources()
        cpus, gpus = total.get("CPU", 0.0), total.get("GPU", 0.0) if uses_gpus else 0.0
        self.count = count or max(1, int(gpus or cpus))
        # more workers than cores share them; what is asked for must not be more than there is, or they wait for ever
        self._share = {"num_cpus": _share(cpus, self.count), "num_gpus": _share(gpus, self.count)}
        self._computation, self._threads = computation, None if gpus else 1
        self._actors: dict[int, Any] = {}
        self._answers: dict[int, deque[Any]] = {}  # of each worker: what Ray will have, the oldest first
        self._deadline: float | None = time.monotonic() + PATIENCE

    def _connect(self, address: str | None, cores: int) -> None:
        address = address or os.environ.get("RAY_ADDRESS")
        where: dict[str, Any] = {"address": address}
        if address is None:
            self._folder = tempfile.mkdtemp(prefix="ray-")
            where = {"num_cpus": cores, "object_store_memory": _STORE, "_temp_dir": self._folder}
        try:
            if address is not None:
                _reach(address)
            with _own_signals(), _quiet():
                self._ray.init(include_dashboard=False, log_to_driver=False, logging_level="CRITICAL", **where)
        except Exception as error:  # of many kinds
            self.stop(at_once=True)
            named = "--engine ray" if address is None else f"--address {address}"
            raise MultiattnError(
                f"{named} must lead to a Ray cluster, but does not instead ({reason_of(error)}): `ray start --head` "
                "starts one, and without --address this machine alone is used"
            ) from error

    def start(self, worker: int) -> None:
        """Start an actor, or another one in its place."""
        actor = self._ray.remote(Actor).options(max_restarts=0, **self._share).remote(self._computation)
        self._actors[worker] = actor
        self._answers[worker] = deque([actor.load.remote(worker, self._threads)])

    def send(self, worker: int, jobs: Sequence[Job]) -> None:
        """Give an actor a chunk."""
        self._answers[worker].append(self._actors[worker].compute.remote(worker, jobs))

    def wait(self) -> list[Event]:
        """Wait until there is news, and return it.

        Raises:
            MultiattnError: The cluster has had no room for a worker for a minute.
        """
        first = {answers[0]: worker for worker, answers in self._answers.items() if answers}
        ready, _ = self._ray.wait(list(first), num_returns=1, timeout=1.0 if self._deadline else None)
        if ready:
            return [self._event(first[one], one) for one in ready]
        if self._deadline and time.monotonic() > self._deadline:
            raise MultiattnError(self._missing())
        return []

    def _event(self, worker: int, answer: Any) -> Event:
        try:
            event: Event = self._ray.get(answer)
        except self._ray.exceptions.RayTaskError as error:
            return Raised(worker, error)
        except self._ray.exceptions.RayError as error:
            self._answers.pop(worker)
            self._actors.pop(worker)
            return Ended(worker, f"a worker ended ({type(error).__name__.removesuffix('Error')})")
        self._answers[worker].popleft()
        self._deadline = None
        return event

    def _missing(self) -> str:
        kind = "num_gpus" if self._share["num_gpus"] else "num_cpus"
        name = kind.removeprefix("num_").removesuffix("s").upper()
        total, free = (of.get(name, 0.0) for of in (self._ray.cluster_resources(), self._ray.available_resources()))
        return (
            f"--engine ray must have {self._share[kind]:g} {name} of the cluster for each of {self.count} workers, but "
            f"{free:g} of {total:g} have been free for {PATIENCE:g} s instead: wait for others, or add machines"
        )

    def stop(self, *, at_once: bool) -> None:
        """End all actors, and the cluster where it is ours."""
        with _quiet():
            for actor in getattr(self, "_actors", {}).values():
                with suppress(Exception):
                    self._ray.kill(actor)
            self._ray.shutdown()
        deadline = time.monotonic() + _PARTING
        while self._folder is not None and os.path.exists(self._folder) and time.monotonic() < deadline:
            shutil.rmtree(self._folder, ignore_errors=True)
            time.sleep(0.05)  # its processes end, and write until then


class Actor:
    """A worker, as Ray runs it.

    Args:
        computation: A pickled `Computation`.
    """

    def __init__(self, computation: bytes) -> None:
        self._computation = computation
        self._worker: Worker | None = None

    def load(self, number: int, threads: int | None) -> Event:
        """Load the model, to compute with so many threads."""
        try:
            self._worker = Worker(self._computation, Place(threads=threads))
        except BaseException as error:
            return Raised(number, portable(error))
        return Ready(number)

    def compute(self, number: int, jobs: Sequence[Job]) -> Event:
        """Compute a chunk."""
        assert self._worker is not None
        start = time.monotonic()
        try:
            return Finished(number, self._worker.compute(jobs), time.monotonic() - start)
        except BaseException as error:
            return Raised(number, portable(error))


def num_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else num_threads()


def _share(total: float, count: int) -> float:
    """Return what of a resource each of `count` workers reserves: 1, or less where there is less."""
    share = total / count
    return 1 if share >= 1 else int(share * 100) / 100


def _reach(address: str) -> None:
    """Raise OSError where no server is at an address HOST:PORT: Ray itself would wait for ten minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=_ANSWER).close()


def _module() -> Any:
    """Import Ray, which says nothing about its use to anyone."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else a warning about a default to come
    try:
        import ray
        from ray._private import worker
    except ImportError as error:
        raise MultiattnError("--engine ray needs Ray, which is not installed: `pip install multiattn[ray]`") from error
    # what a machine tells of a worker that has ended goes to standard output, among results; `Ended` says it
    worker.print_to_stdstream = lambda *_, **__: None
    return ray


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Ray from logging in the body; errors are raised."""
    logger = logging.getLogger("ray")
    before = logger.disabled, logger.level
    logger.disabled = True
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.disabled = before[0]


@contextmanager
def _own_signals() -> Iterator[None]:
    """Put the handler of SIGTERM back, which Ray replaces by one that leaves nothing finished."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
