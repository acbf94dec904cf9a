"""`multiattn serve --engine ray` on a cluster of this machine: two replicas of each model, of which one is killed."""

import importlib.util
import io
import json
import os
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile

import multiattn
from tests.deploy.ray_server import ROOT, Server, serving

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra `serve-ray`"),
]

PICTURES = sorted((ROOT / "assets/inputs").glob("*.png"))
ROOM = 2 * (2 * 2) + 4
"""Requests for a model that are accepted at once: two replicas with two batches of two each, and four that wait."""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="r") as folder:  # a path in which Ray's sockets fit
        models = ("--task", "classify", "--task", "transcribe", "--replicas", "2")
        limits = ("--queue", "4", "--batch-size", "2", "--device", "cpu", "--threads", "1")
        with serving(*models, *limits, TMPDIR=folder) as found:
            yield found
        assert list(Path(folder).iterdir()) == []  # nothing of the cluster stays


@pytest.fixture(scope="module")
def labels() -> list[list[Any]]:
    """What the pipeline says of each picture."""
    classify = multiattn.load("classify", device="cpu")
    return [[one.label for one in classify(path).predictions] for path in PICTURES]


@pytest.fixture(scope="module")
def recording() -> bytes:
    """A recording of several windows."""
    samples, rate = soundfile.read(ROOT / "assets/inputs/digits.flac")
    file = io.BytesIO()
    soundfile.write(file, np.tile(samples, 24), rate, format="FLAC")
    return file.getvalue()


@pytest.fixture(scope="module")
def text(recording) -> str:
    """What the pipeline hears in it."""
    return multiattn.load("transcribe", device="cpu")(recording).text


def asked(client: httpx.Client, number: int, counts: "Counter[int]") -> list[str]:
    """Ask for a picture's labels until the request is accepted; count the statuses."""
    path = PICTURES[number % len(PICTURES)]
    while True:
        answer = client.post("/v1/classify", files={"file": path.read_bytes()})
        counts[answer.status_code] += 1
        if answer.status_code != 429:
            assert answer.status_code == 200, answer.text
            return [one["label"] for one in answer.json()["predictions"]]
        assert int(answer.headers["Retry-After"]) >= 1
        time.sleep(0.2)


def deltas(lines: Iterator[str]) -> Iterator[str]:
    """The pieces of text of a stream of events."""
    for line in lines:
        if line.startswith("data: {"):
            event = json.loads(line.removeprefix("data: "))
            assert "error" not in event, event
            if event["type"] == "transcript.text.delta":
                yield event["delta"]


def stream_of(client: httpx.Client, recording: bytes) -> Any:
    return client.stream(
        "POST", "/v1/audio/transcriptions", data={"model": "whisper-1", "stream": "true"}, files={"file": recording}
    )


def test_it_says_what_one_process_says(server, labels, recording, text) -> None:
    assert server.lines == [f"multiattn: serving classify, transcribe on {server.address}"]
    with server.client() as client:
        assert [asked(client, number, Counter()) for number in range(len(PICTURES))] == labels
        answer = client.post("/v1/audio/transcriptions", data={"model": "whisper-1"}, files={"file": recording})
        assert answer.json()["text"] == text
        assert client.get("/ready").status_code == 200
        assert client.get("/ready", headers={"X-Request-Id": "mine"}).headers.get_list("x-request-id") == ["mine"]
        assert client.post("/v1/classify", files={"file": b"text"}).status_code == 415
        assert client.post("/v1/classify", files={"file": PICTURES[0].read_bytes()}, data={"model": "m"}).is_error


def test_a_full_queue_is_429_with_a_time_and_what_is_accepted_is_answered(server, labels) -> None:
    counts: Counter[int] = Counter()
    with server.client() as client, ThreadPoolExecutor(8 * ROOM) as pool:
        found = list(pool.map(lambda number: asked(client, number, counts), range(8 * ROOM)))
    assert found == [labels[number % len(labels)] for number in range(8 * ROOM)]
    assert counts[429] > 0 and counts[200] == 8 * ROOM


def test_no_request_that_was_accepted_is_lost_with_a_replica(server, labels) -> None:
    counts: Counter[int] = Counter()
    killed = server.wait_for("classify", 2)[0]
    with server.client() as client, ThreadPoolExecutor(ROOM) as pool:
        futures = [pool.submit(asked, client, number, counts) for number in range(20 * ROOM)]
        while counts[200] < 2 * ROOM:
            time.sleep(0.01)
        os.kill(killed, signal.SIGKILL)
        found = [future.result() for future in futures]
    assert found == [labels[number % len(labels)] for number in range(20 * ROOM)]
    assert set(counts) <= {200, 429}
    assert killed not in server.wait_for("classify", 2)


def test_a_stream_goes_on_where_its_replica_was_killed(server, recording, text) -> None:
    server.wait_for("transcribe", 2)
    with server.client() as client, stream_of(client, recording) as answer:
        pieces = deltas(answer.iter_lines())
        heard = next(pieces)
        killed, _ = server.busiest("transcribe")
        os.kill(killed, signal.SIGKILL)
        heard += "".join(pieces)
    assert heard == text
    assert killed not in server.wait_for("transcribe", 2)


def test_work_stops_when_the_caller_has_gone(server, recording) -> None:
    server.wait_for("transcribe", 2)
    with server.client() as client, stream_of(client, recording) as answer:
        next(deltas(answer.iter_lines()))
        assert server.busiest("transcribe")[1] > 0.1
    end = time.monotonic() + 30
    while (idle := server.busiest("transcribe", 1.0)[1]) > 0.1:
        assert time.monotonic() < end, idle


def test_the_end_finishes_what_was_accepted(server, labels) -> None:
    answers: list[tuple[int, httpx.Response]] = []
    others: Counter[str] = Counter()
    is_over = threading.Event()

    def ask(number: int) -> None:
        with server.client() as client:
            while not is_over.is_set():
                try:
                    path = PICTURES[number % len(PICTURES)]
                    answer = client.post("/v1/classify", files={"file": path.read_bytes()})
                except httpx.TransportError as error:  # the address is closed at last
                    others[type(error).__name__] += 1
                    return
                answers.append((number, answer))
                if answer.status_code == 503:
                    assert int(answer.headers["Retry-After"]) >= 1
                    return

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(ROOM)]
    for thread in threads:
        thread.start()
    while len(answers) < ROOM:
        time.sleep(0.01)
    status = server.end()
    is_over.set()
    for thread in threads:
        thread.join(60)
    assert status == 0
    assert {answer.status_code for _, answer in answers} <= {200, 429, 503}
    for number, answer in answers:
        if answer.status_code == 200:
            assert [one["label"] for one in answer.json()["predictions"]] == labels[number % len(labels)]
    assert others.total() == 0, others  # each was refused before the end
    assert len(server.lines) == 1
    with suppress(httpx.ConnectError), server.client() as client:
        client.get("/health")
        pytest.fail("the address is still open")
