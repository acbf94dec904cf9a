"""Workers that are actors of a Ray cluster, on one machine or many.

Ray starts them where there is room, carries chunks and answers, and tells when one is gone. Which inputs a worker that
is gone had, and which of them ends every worker, `pool` knows: Ray's own retries would go on for ever.
"""

import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from ...deploy.ray_cluster import Cluster, num_cores, quiet, share
from ...errors import MultiattnError, portable
from ..feed import Job
from .pool import Ended, Event, Finished, Raised, Ready, Workers
from .worker import Place, Worker

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
        self._cluster = Cluster(address, count or num_cores())
        self._ray = self._cluster.ray
        total = self._cluster.resources()
        cpus, gpus = total.get("CPU", 0.0), total.get("GPU", 0.0) if uses_gpus else 0.0
        self.count = count or max(1, int(gpus or cpus))
        # more workers than cores share them; what is asked for must not be more than there is, or they wait for ever
        self._share = {"num_cpus": share(cpus, self.count), "num_gpus": share(gpus, self.count)}
        self._computation, self._threads = computation, None if gpus else 1
        self._actors: dict[int, Any] = {}
        self._answers: dict[int, deque[Any]] = {}  # of each worker: what Ray will have, the oldest first
        self._deadline: float | None = time.monotonic() + PATIENCE

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
        total, free = (of.get(name, 0.0) for of in (self._cluster.resources(), self._cluster.free()))
        return (
            f"--engine ray must have {self._share[kind]:g} {name} of the cluster for each of {self.count} workers, but "
            f"{free:g} of {total:g} have been free for {PATIENCE:g} s instead: wait for others, or add machines"
        )

    def stop(self, *, at_once: bool) -> None:
        """End all actors, and the cluster where it is ours."""
        with quiet():
            for actor in self._actors.values():
                with suppress(Exception):
                    self._ray.kill(actor)
        self._cluster.close()


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
