"""A connection to a Ray cluster: one at an address, or one on this machine alone, which is started and ended here.

All that this package runs on Ray starts it here: without a dashboard, without statistics about its use, and in silence.
"""

import logging
import math
import os
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from ..errors import MultiattnError, reason_of

SMALL = 100 << 20
"""Bytes of an object store for paths and results, which are small."""

_PARTING = 3.0
"""Seconds in which the processes of our own cluster end."""

_ANSWER = 10.0
"""Seconds in which the cluster must answer."""


class Cluster:
    """A connection to a cluster.

    Args:
        address: The cluster, as for `ray.init`; None for what `RAY_ADDRESS` names, or else one on this machine, which
            is started now and ended by `close`.
        cores: The cores of a cluster that is started.
        extra: The extra that an error names where Ray is not installed.
        store: Bytes of the object store of a cluster that is started, through which processes send what is large.

    Raises:
        MultiattnError: Ray is not installed, or there is no cluster at the address.
    """

    def __init__(
        self,
        address: str | None,
        cores: int,
        *,
        extra: str = "multiattn[ray]",
        store: int = SMALL,
    ) -> None:
        self.ray = ray_module(extra=extra)
        self._folder: str | None = None
        address = address or os.environ.get("RAY_ADDRESS")
        where: dict[str, Any] = {"address": address}
        if address is None:
            self._folder = tempfile.mkdtemp(prefix="ray-")
            where = {"num_cpus": cores, "object_store_memory": store, "_temp_dir": self._folder}
        try:
            if address is not None:
                reach(address)
            with _own_signals(), quiet():
                self.ray.init(include_dashboard=False, log_to_driver=False, logging_level="CRITICAL", **where)
        except Exception as error:  # of many kinds
            self.close()
            named = "--engine ray" if address is None else f"--address {address}"
            raise MultiattnError(
                f"{named} must lead to a Ray cluster, but does not instead ({reason_of(error)}): `ray start --head` "
                "starts one, and without --address this machine alone is used"
            ) from error

    @property
    def is_own(self) -> bool:
        """Whether it was started here."""
        return self._folder is not None

    def resources(self) -> dict[str, float]:
        """Return how many CPU, GPU and so on all its machines have."""
        total: dict[str, float] = self.ray.cluster_resources()
        return total

    def free(self) -> dict[str, float]:
        """Return what of `resources` is not reserved; what is all reserved may lack."""
        free: dict[str, float] = self.ray.available_resources()
        return free

    def close(self) -> None:
        """Disconnect; end the cluster where it was started here."""
        with quiet(), _own_signals():
            self.ray.shutdown()
        deadline = time.monotonic() + _PARTING
        while self._folder is not None and os.path.exists(self._folder) and time.monotonic() < deadline:
            shutil.rmtree(self._folder, ignore_errors=True)
            time.sleep(0.05)  # its processes end, and write until then


def num_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def share(total: float, count: int) -> float:
    """Return what of a resource each of `count` workers reserves: 1, or less where there is less.

    Ray takes a fraction of a GPU from one GPU, and that of a core from one machine: as many must fit into each.
    """
    if total >= count:
        return 1
    return int(100 / math.ceil(count / total) if total >= 1 else 100 * total / count) / 100


def reach(address: str) -> None:
    """Raise OSError where no server is at an address HOST:PORT: Ray itself would wait for ten minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=_ANSWER).close()


def ray_module(subject: str = "--engine ray", extra: str = "multiattn[ray]") -> Any:
    """Import Ray, which says nothing about its use to anyone.

    Raises:
        MultiattnError: It is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else a warning about a default to come
    try:
        import ray
        from ray._private import worker
    except ImportError as error:
        raise MultiattnError(f"{subject} needs Ray, which is not installed: `pip install {extra}`") from error
    # what a machine tells of a worker that has ended goes to standard output, among results; we say it ourselves
    worker.print_to_stdstream = lambda *_, **__: None
    return ray


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Ray from logging in the body; errors are raised."""
    logger = logging.getLogger("ray")
    before = logger.disabled
    logger.disabled = True
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.disabled = before


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
        with suppress(TypeError):  # a handler that was not set from Python cannot be put back
            signal.signal(signal.SIGTERM, before)
