"""A real web server in a thread, for tests."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from multiattn.deploy.engine import LocalEngine
from multiattn.deploy.http.app import create_app
from multiattn.deploy.http.server import listen
from multiattn.deploy.http.settings import Settings
from multiattn.deploy.models import Choice, shipped_choices
from multiattn.deploy.work import Engine

INPUTS = Path(__file__).parents[2] / "assets" / "inputs"


@contextmanager
def running(engine: Engine, settings: Settings) -> Iterator[str]:
    """Serve an engine in a thread; yield the address."""
    config = uvicorn.Config(create_app(engine, settings), log_config=None, access_log=False, lifespan="on")
    server = uvicorn.Server(config)
    with listen("127.0.0.1", 0) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive(), "the server did not start"
                time.sleep(0.005)
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive()


@contextmanager
def serving(*tasks: str, models: tuple[Choice, ...] = (), **settings: Any) -> Iterator[httpx.Client]:
    """Serve shipped models, and others, in a thread; yield a client of the server."""
    choices = [*models, *(shipped_choices(tasks) if tasks else ())]
    chosen = Settings(**{"device": "cpu", "drain": 5.0, **settings})
    with running(LocalEngine(choices, chosen), chosen) as address, httpx.Client(base_url=address, timeout=60) as client:
        yield client


def picture(name: str = "frog.png") -> dict[str, Any]:
    """The part of a form that is a shipped picture."""
    return {"file": (name, (INPUTS / name).read_bytes())}
