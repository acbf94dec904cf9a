"""`multiattn serve --engine ray`: deploys the application, waits for a signal, and ends when accepted work is done."""

import importlib
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from ..errors import MultiattnError, reason_of
from .http.server import listen
from .http.settings import Settings
from .models import Choice
from .ray_app import HEAD_CPUS, NAME, QUIET, Scale, application
from .ray_cluster import Cluster, num_cores, quiet, share

_STORE = 1 << 30
"""Bytes of Ray's object store where this process starts it, in which bodies lie on their way. Taken as used."""

_KEEP_ALIVE = 75
"""Seconds that an idle connection is kept, as without Ray."""

_PROXY = 55
"""Seconds in which Ray Serve's proxy must have started; `serve.start` waits for 60."""

_MARGIN = 5.0
"""Seconds that Ray has for what is ours to end in time."""


@dataclass(frozen=True)
class Machines:
    """Where `multiattn serve --engine ray` runs, and how much of it each model has."""

    address: str | None = None
    """As for `Cluster`."""

    min_replicas: int = 1
    """As for `Scale`."""

    max_replicas: int = 1
    """As for `Scale`."""

    cpus_per_replica: float | None = None
    """As for `Scale`; None: 1, or less where the machines do not have as many."""

    gpus_per_replica: float | None = None
    """As for `Scale`; None: where there are GPUs and models may use them, 1, or less where there are not as many."""


def serve_on_ray(choices: Sequence[Choice], settings: Settings, machines: Machines, say: Callable[[str], None]) -> int:
    """Serve models on a cluster until a signal ends it.

    Args:
        choices: The models.
        settings: Where to listen, limits and keys.
        machines: The cluster, and what each model has of it.
        say: Writes one line, when the server is ready.

    Returns:
        0, after an end that was asked for.

    Raises:
        MultiattnError: Ray is not installed, there is no cluster or it has no room, the address cannot be listened at,
            or a model cannot be loaded.
    """
    if settings.memory is not None:
        raise MultiattnError("--memory must be left out with --engine ray, where each replica has one model")
    # a proxy that is not there in five seconds is started anew, and again, on a machine that is busy
    os.environ.setdefault("RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S", str(_PROXY))
    cluster = Cluster(machines.address, num_cores(), extra="multiattn[serve-ray]", store=_STORE)
    try:
        _serve(cluster, choices, settings, machines, say)
    finally:
        cluster.close()
    return 0


def _serve(
    cluster: Cluster, choices: Sequence[Choice], settings: Settings, machines: Machines, say: Callable[[str], None]
) -> None:
    choices = [_absolute(one) for one in choices]
    app = application(choices, settings, scale_of(machines, cluster, settings, len(choices)))
    serve: Any = importlib.import_module("ray.serve")
    with _quiet_serve():
        is_ours = not serve.status().proxies
        if is_ours:
            with listen(settings.host, settings.port) as free:  # of which the proxies say nothing
                host, port = free.getsockname()[:2]
            http = {"host": host, "port": port, "keep_alive_timeout_s": _KEEP_ALIVE}
            try:
                serve.start(http_options=http, logging_config=QUIET)
            except Exception as error:  # of many kinds
                raise MultiattnError(f"--engine ray cannot listen at {host}:{port}: {reason_of(error)}") from error
        try:
            handle = _run(serve, app)
            names = ", ".join(one.name for one in choices)
            if is_ours:
                say(f"serving {names} on http://{f'[{host}]' if ':' in host else host}:{port}")
            else:
                say(f"serving {names} where Ray Serve of this cluster listens already; --host and --port are not used")
            _wait()
            _drain(handle, settings.drain)
        finally:
            with suppress(Exception):  # a cluster that is gone has nothing to end
                if is_ours:  # at once: a proxy whose application is deleted says 404 to who comes late
                    serve.shutdown()
                else:
                    serve.delete(NAME)


def _absolute(choice: Choice) -> Choice:
    """Return a model whose path, if it is one, does not depend on the current folder, which replicas may not have."""
    return choice._replace(model=os.path.abspath(choice.model)) if os.path.exists(choice.model) else choice


def _run(serve: Any, app: Any) -> Any:
    """Start the application, and wait until each model has its replicas; return its handle."""
    try:
        return serve.run(app, name=NAME, route_prefix="/", logging_config=QUIET)
    except RuntimeError as error:
        reasons = [reason_of(error)]
        with suppress(Exception):
            for one in serve.status().applications[NAME].deployments.values():
                reasons += one.message.strip().splitlines()[-1:]  # of a traceback
        raise MultiattnError(f"--engine ray cannot start the models: {'; '.join(reasons)}") from error


def _wait() -> None:
    """Wait for SIGTERM or Ctrl-C."""
    ended = threading.Event()
    before = {number: signal.signal(number, lambda *_: ended.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        ended.wait()
    finally:  # a second one ends what follows
        for number, handler in before.items():
            signal.signal(number, handler)


def _drain(handle: Any, patience: float) -> None:
    """Have each process that answers requests refuse new ones, and wait until those that were accepted are done."""
    with suppress(Exception):  # one that is gone has nothing to finish
        handle.broadcast("drain", patience).results(timeout_s=patience + _MARGIN)


def scale_of(machines: Machines, cluster: Cluster, settings: Settings, count: int) -> Scale:
    """Return how much of a cluster each replica of `count` models reserves, where that is not stated.

    Raises:
        MultiattnError: The cluster has not as much as the fewest replicas need.
    """
    total = cluster.resources()
    replicas = count * max(1, machines.max_replicas)
    cpus, gpus = machines.cpus_per_replica, machines.gpus_per_replica
    if cpus is None:
        cpus = share(max(0.0, total.get("CPU", 0.0) - HEAD_CPUS), replicas)
    if gpus is None:
        gpus = share(total.get("GPU", 0.0), replicas) if settings.device != "cpu" else 0.0
    scale = Scale(machines.min_replicas, machines.max_replicas, cpus, gpus)
    for name, each in (("CPU", cpus), ("GPU", gpus)):
        heads = HEAD_CPUS if name == "CPU" else 0.0
        needed, there = round(each * count * machines.min_replicas + heads, 4), total.get(name, 0.0)
        if needed > there:
            raise MultiattnError(
                f"--engine ray must have {needed:g} {name} for {count * machines.min_replicas} replicas"
                f"{' and what reads requests' if heads else ''}, but the cluster has {there:g} instead: give a "
                f"smaller --{name.lower()}s-per-replica, or add machines"
            )
    return scale


@contextmanager
def _quiet_serve() -> Iterator[None]:
    """Keep Ray Serve from writing to standard error in the body; errors are raised."""
    logger = logging.getLogger("ray.serve")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with quiet():
            yield
    finally:
        logger.setLevel(before)
