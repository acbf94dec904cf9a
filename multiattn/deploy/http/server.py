"""The web server around the application: listens, says where, and drains on SIGTERM and Ctrl-C."""

import asyncio
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn

from ...errors import MultiattnError
from ..work import Engine
from .app import create_app
from .logs import log_to_stdout
from .patience import impatient
from .settings import Settings

_IDLE = 75
"""Seconds until a connection without requests is closed: longer than clients keep theirs, or a request could meet the
end of its connection."""


def serve(engine: Engine, settings: Settings, say: Callable[[str], None]) -> int:
    """Serve the models of an engine until a signal ends it.

    Args:
        engine: What computes.
        settings: Where to listen, limits and keys.
        say: Writes one line, when the server is ready.

    Returns:
        0 after an end that was asked for, 1 where the server could not start.

    Raises:
        MultiattnError: The address cannot be listened at, or a model cannot be loaded.
    """
    log_to_stdout()
    listening = listen(settings.host, settings.port)
    server = Server(config_of(engine, settings))
    host, port = listening.getsockname()[:2]
    names = ", ".join(one.name for one in engine.served())
    server.ready = lambda: say(f"serving {names} on http://{f'[{host}]' if ':' in host else host}:{port}")
    with listening:
        asyncio.run(server.serve([listening]))
    return 0 if server.started else 1


def config_of(engine: Engine, settings: Settings) -> uvicorn.Config:
    """Return how uvicorn is to serve the models of an engine."""
    return uvicorn.Config(
        create_app(engine, settings),
        log_config=None,
        access_log=False,
        server_header=False,
        http=impatient(settings.body_timeout),
        timeout_keep_alive=_IDLE,
        timeout_graceful_shutdown=max(1, round(settings.drain)),
    )


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that is bound to an address.

    Raises:
        MultiattnError: It cannot be.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
    except OSError as error:
        found.close()
        raise MultiattnError(f"--host {host} --port {port} cannot be listened at: {error.strerror or error}") from None
    return found


class Server(uvicorn.Server):
    """uvicorn's server, which says when it is ready, and whose end by a signal is an end like any other."""

    ready: Callable[[], None]

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say that it is ready."""
        await super().startup(sockets)
        if self.started and not self.should_exit:
            self.ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End; from now on the time to drain counts."""
        self.config.app.state.ends_since = time.monotonic()  # type: ignore[union-attr]
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End on a signal in the body."""
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
