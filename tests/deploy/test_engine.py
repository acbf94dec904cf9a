"""What a caller that waits for the engine is given when time is short."""

import asyncio
import threading
import time
from concurrent.futures import Future
from typing import Any

import pytest

from multiattn.deploy.engine import LocalEngine
from multiattn.deploy.http.settings import Settings
from multiattn.deploy.models import Choice
from multiattn.deploy.work import TooLateError, Work
from multiattn.errors import InputError


def test_what_came_at_the_last_moment_is_given() -> None:
    async def waited(future: "Future[Any]") -> Any:
        never = asyncio.get_running_loop().create_future()  # has not heard yet that the other is done
        return await LocalEngine._in_time(never, Work("a", "classify", b"", deadline=time.monotonic()), future)

    done: Future[Any] = Future()
    done.set_result("a frog")
    assert asyncio.run(waited(done)) == "a frog"
    failed: Future[Any] = Future()
    failed.set_exception(InputError("is damaged"))
    with pytest.raises(InputError, match="is damaged"):
        asyncio.run(waited(failed))
    with pytest.raises(TooLateError):
        asyncio.run(waited(Future()))


@pytest.mark.parametrize("fails", [False, True])
def test_a_load_may_end_after_its_caller_has_gone(monkeypatch: pytest.MonkeyPatch, fails: bool) -> None:
    engine = LocalEngine([Choice("classify", "classify", "classify")], Settings(device="cpu"))
    go_on, found = threading.Event(), []

    def load(name: str, cancelled: threading.Event) -> None:
        found.append(threading.current_thread())
        assert go_on.wait(10)
        if fails:
            raise InputError("is damaged")

    monkeypatch.setattr(engine, "_load", load)
    raised: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", raised.append)
    with pytest.raises(TooLateError):
        asyncio.run(engine._in_loader(Work("classify", "classify", b"", deadline=time.monotonic())))
    go_on.set()
    for thread in found:
        thread.join(10)
    asyncio.run(engine.close(0))
    assert found and not raised
