"""What one request may ask for, and how an address that is not there or may not be asked answers."""

import asyncio
import io
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from multiattn.deploy.http import bodies, gate
from multiattn.deploy.http.audio import TranscriptionForm
from multiattn.deploy.http.bodies import checked
from multiattn.deploy.http.events import events
from multiattn.deploy.http.options import ClassifyOptions
from multiattn.deploy.http.problems import ProblemError
from multiattn.deploy.http.settings import Settings
from multiattn.deploy.work import Served
from tests.deploy.running import running
from tests.deploy.serving import picture
from tests.deploy.test_patience import NoModels


@pytest.fixture(scope="module")
def guarded() -> Iterator[httpx.Client]:
    """A client, without a key, of a server that asks for one and has no models."""
    engine: Any = NoModels()
    with running(engine, Settings(api_keys=("first",), max_body=50_000, drain=5.0)) as url:
        with httpx.Client(base_url=url) as client:
            yield client


def test_labels_times_templates_are_limited() -> None:
    labels, templates = [f"label {i}" for i in range(500)], ["a {}", "the {}"]
    assert len(ClassifyOptions(labels=labels, template=templates).labels or ()) == 500
    assert len(ClassifyOptions(labels=labels * 2).labels or ()) == 1000
    with pytest.raises(ValidationError, match="at most 1000, but are 1500 instead"):
        ClassifyOptions(labels=labels, template=[*templates, "one {}"])


@pytest.mark.parametrize(
    "content", [{f"name {i}": i for i in range(3000)}, {"keywords": list(range(3000))}], ids=["members", "items"]
)
def test_the_size_of_an_object_is_limited_before_it_is_checked(content: dict[str, Any]) -> None:
    with pytest.raises(ProblemError, match="at most 2100 members and items of lists") as raised:
        bodies._parsed(json.dumps(content).encode())
    assert raised.value.status == 422


def test_a_form_may_have_as_many_texts_as_the_options(client: httpx.Client) -> None:
    answer = client.post("/v1/match", files=picture(), data={"texts": [f"{i} frogs" for i in range(1000)]})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/a", "/v1/audio/transcriptions", "/v1/audio/translations"])
def test_a_refusal_before_the_address_is_one_that_openais_clients_read(guarded: httpx.Client, path: str) -> None:
    answer = guarded.post(path)
    assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["error"]["code"] == "invalid_api_key"
    assert answer.json()["error"]["message"] == answer.json()["detail"]
    assert "error" not in guarded.post("/v1/classify").json()
    answer = guarded.post(path, content=b"x" * 60_000, headers={"X-API-Key": "first"})
    assert answer.status_code == 413 and answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("path", ["/page/nothing.js", "/page/", "/health/", "/nothing"])
def test_an_address_that_is_not_there_is_a_problem(guarded: httpx.Client, path: str) -> None:
    answer = guarded.get(path)
    assert answer.status_code == answer.json()["status"] == 404
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "fields",
    [
        {"chunking_strategy": "auto"},
        {"chunking_strategy": {"type": "server_vad", "threshold": 0.5}},
        {"chunking_strategy[type]": "server_vad", "chunking_strategy[threshold]": "0.5"},
    ],
)
def test_the_strategy_of_openais_clients_is_taken(fields: dict[str, Any]) -> None:
    assert checked(TranscriptionForm, {"model": "a", **fields}).work_options() == TranscriptionForm().work_options()


def test_events_are_json_whatever_a_text_has() -> None:
    async def parts() -> AsyncIterator[dict[str, Any]]:
        yield {"delta": "a \ud800"}

    async def sent() -> list[Any]:
        return [part async for part in events(parts()).body_iterator]

    (event,) = asyncio.run(sent())
    assert json.loads(event.removeprefix(b"data: "))["delta"].startswith("a ")


def test_a_file_that_is_fetched_counts_as_a_body_does(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fetched:
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            pass

        def open(self, kind: Any) -> io.BytesIO:
            return io.BytesIO(b" " * 900)

        def cancel(self) -> None:
            pass

    monkeypatch.setattr(gate, "_BODIES", 0.8)
    monkeypatch.setattr(bodies, "WebFile", Fetched)
    engine: Any = NoModels()
    with running(engine, Settings(max_body=1000, allow_urls=True, drain=5.0)) as url:
        for _ in range(2):  # what the first held is given back
            answer = httpx.post(f"{url}/v1/classify", json={"url": "https://pictures.example/a.png"})
            assert answer.status_code == 429 and "too many large requests" in answer.json()["detail"]
        assert httpx.post(f"{url}/v1/classify", json={"file": 1}).status_code == 422


@pytest.mark.parametrize("busy", [True, False])
def test_the_end_takes_no_longer_than_the_time_to_drain(busy: bool) -> None:
    class Endless(NoModels):
        patience = -1.0

        def find(self, name: str | None, task: str) -> Served:
            return Served("slow", task, "slow")

        async def run(self, work: Any) -> Any:
            asked.set()
            await asyncio.sleep(60)

        async def close(self, patience: float) -> None:
            self.patience = patience

    engine: Any = Endless()
    asked = threading.Event()

    def ask(url: str) -> None:
        with suppress(httpx.HTTPError):
            httpx.post(f"{url}/v1/classify", files=picture(), timeout=30)

    with running(engine, Settings(drain=1.0)) as url:
        thread = threading.Thread(target=ask, args=(url,))
        if busy:
            thread.start()
            assert asked.wait(20)
    if busy:  # all the time went to the request
        thread.join(10)
        assert 0 <= engine.patience < 0.5
    else:
        assert 0.5 < engine.patience <= 1
