"""A server of the models of pictures, and a client of it, for tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from multiattn.deploy.http.settings import Settings
from multiattn.deploy.models import Choice, shipped_choices
from tests.deploy.running import served

INPUTS = Path(__file__).parents[2] / "assets" / "inputs"


@contextmanager
def serving(*tasks: str, models: tuple[Choice, ...] = (), **settings: Any) -> Iterator[httpx.Client]:
    """Serve shipped models, and others, in a thread; yield a client of the server."""
    choices = [*models, *(shipped_choices(tasks) if tasks else ())]
    chosen = Settings(**{"device": "cpu", "drain": 5.0, **settings})
    with served(choices, chosen) as (address, _), httpx.Client(base_url=address, timeout=60) as client:
        yield client


def picture(name: str = "frog.png") -> dict[str, Any]:
    """The part of a form that is a shipped picture."""
    return {"file": (name, (INPUTS / name).read_bytes())}
