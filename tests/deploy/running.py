"""A server on a port of this machine, in a thread of the test's process."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

from multiattn.deploy.engine import LocalEngine
from multiattn.deploy.http.server import Server, config_of, listen
from multiattn.deploy.http.settings import Settings
from multiattn.deploy.models import Choice
from multiattn.deploy.work import Engine


@contextmanager
def served(models: Sequence[Choice], settings: Settings | None = None) -> Iterator[tuple[str, LocalEngine]]:
    """Serve models; give the address and the engine, and end the server after the body."""
    settings = settings or Settings(device="cpu")
    engine = LocalEngine(models, settings)
    with running(engine, settings) as address:
        yield address, engine


@contextmanager
def running(engine: Engine, settings: Settings) -> Iterator[str]:
    """Serve what an engine computes; give the address."""
    listening = listen("127.0.0.1", 0)
    server, is_ready = Server(config_of(engine, settings)), threading.Event()
    server.ready = lambda: None
    server.capture_signals = nullcontext  # type: ignore[method-assign]  # signals are the main thread's

    async def serve() -> None:
        task = asyncio.ensure_future(server.serve([listening]))
        while not server.started and not task.done():
            await asyncio.sleep(0.01)
        is_ready.set()
        await task

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert is_ready.wait(60)
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)
        listening.close()
        assert not thread.is_alive()
