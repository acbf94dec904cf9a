"""What stands before every address: keys, limits, ids, logs, measurements; and how errors are answered."""

import base64
import io
import json
import logging
import shutil
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from multiattn.deploy import computing
from multiattn.deploy.http import gate, problems
from multiattn.deploy.http.keys import Keys
from multiattn.deploy.http.logs import JsonLines
from multiattn.deploy.models import Choice
from multiattn.resources import shipped
from tests.deploy.serving import INPUTS, picture, serving


def png(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new("1", (width, height)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def guarded() -> Iterator[httpx.Client]:
    """A server with keys and tight limits."""
    limits = {"max_body": 50_000, "max_pixels": 200_000, "body_timeout": 0.2, "cors": ("https://a.example",)}
    with serving("classify", api_keys=("first", "second"), **limits) as found:
        found.headers["Authorization"] = "Bearer second"
        yield found


def problem(answer: httpx.Response, status: int) -> str:
    """The detail of an answer that is an error."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == status and status in problems.STATUSES and body["title"]
    return str(body["detail"])


def logged(caplog: pytest.LogCaptureFixture, count: int) -> list[str]:
    """The lines of the log, once there are so many: they are written after the answer."""
    for _ in range(500):
        if len(caplog.records) >= count:
            break
        time.sleep(0.01)
    return [JsonLines().format(record) for record in caplog.records]


# --- keys ---


@pytest.mark.parametrize(
    "headers", [{"Authorization": ""}, {"Authorization": "Bearer third"}, {"Authorization": "Basic second"}]
)
def test_without_a_key_nothing_is_served(guarded: httpx.Client, headers: dict[str, str]) -> None:
    for path in ("/v1/classify", "/v1/nothing"):
        answer = guarded.post(path, files=picture(), headers=headers)
        assert problem(answer, 401).startswith("a key must be given")
        assert answer.headers["www-authenticate"] == "Bearer"
    assert guarded.get("/metrics", headers=headers).status_code == 401
    assert guarded.get("/health", headers=headers).status_code == 200


def test_a_key_is_taken_from_either_header(guarded: httpx.Client) -> None:
    assert guarded.get("/v1/models").status_code == 200
    assert guarded.get("/v1/models", headers={"Authorization": "", "X-API-Key": "first"}).status_code == 200


def test_every_key_is_compared_whichever_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    from multiattn.deploy.http import keys

    compared: list[tuple[bytes, bytes]] = []
    monkeypatch.setattr(keys.hmac, "compare_digest", lambda a, b: compared.append((a, b)) or a == b)
    ours = Keys(("one", "two", "three"))
    assert ours.accept([(b"x-api-key", b"one")]) and not ours.accept([(b"x-api-key", b"on")])
    assert len(compared) == 6
    assert {len(digest) for pair in compared for digest in pair} == {32}  # so that lengths tell nothing


def test_pages_of_other_hosts_may_not_call_unless_allowed(guarded: httpx.Client, client: httpx.Client) -> None:
    asked = {"Access-Control-Request-Method": "POST", "Origin": "https://a.example", "Authorization": ""}
    assert guarded.options("/v1/classify", headers=asked).headers["access-control-allow-origin"] == "https://a.example"
    answer = guarded.options("/v1/classify", headers=asked | {"Origin": "https://b.example"})
    assert "access-control-allow-origin" not in answer.headers
    answer = client.get("/health", headers={"Origin": "https://a.example"})
    assert "access-control-allow-origin" not in answer.headers


# --- limits ---


def test_a_body_that_is_too_large_is_refused(guarded: httpx.Client) -> None:
    stated = guarded.post("/v1/classify", files={"file": ("x.png", b"x" * 60_000)})
    assert "at most 50000 bytes" in problem(stated, 413)

    def chunks() -> Iterator[bytes]:
        for _ in range(60):
            yield b"x" * 1000

    unstated = guarded.post("/v1/classify", content=chunks(), headers={"Content-Type": "application/json"})
    assert "at most 50000 bytes" in problem(unstated, 413)


def test_a_picture_with_too_many_pixels_is_refused_before_it_is_decoded(guarded: httpx.Client) -> None:
    data = png(2000, 1000)
    assert len(data) < 2000
    assert "pixels" in problem(guarded.post("/v1/classify", files={"file": ("bomb.png", data)}), 413)


def test_a_body_that_stops_half_way_is_given_up(guarded: httpx.Client) -> None:
    host, port = guarded.base_url.host, guarded.base_url.port
    with socket.create_connection((host, port), timeout=10) as connection:
        connection.sendall(
            b"POST /v1/classify HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer first\r\nContent-Length: 1000\r\n"
            b"Content-Type: application/json\r\n\r\n{"
        )
        answer = b"".join(iter(lambda: connection.recv(65536), b""))  # to the end: the connection is closed
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"without long pauses" in answer


def test_a_client_that_goes_is_not_computed_for(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    started, go_on = threading.Event(), threading.Event()
    computed: list[int] = []
    compute = computing.compute

    def slow(pipeline: Any, batch: Sequence[computing.Ready]) -> Any:
        computed.append(len(batch))
        started.set()
        assert go_on.wait(10)
        return compute(pipeline, batch)

    monkeypatch.setattr(computing, "compute", slow)
    first = threading.Thread(target=client.post, args=("/v1/classify",), kwargs={"files": picture()})
    first.start()
    assert started.wait(10)
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{client.base_url}/v1/classify", files=picture(), timeout=httpx.Timeout(10, read=0.3))
    for _ in range(200):
        if 'multiattn_model_queue{model="classify"} 1.0' in client.get("/metrics").text:
            break
        time.sleep(0.01)
    time.sleep(0.1)  # the server hears of the end of the connection
    go_on.set()
    first.join()
    assert client.post("/v1/classify", files=picture()).status_code == 200
    assert computed == [1, 1]
    assert 'multiattn_requests_total{method="POST",path="/v1/classify",status="499"} 1.0' in client.get("/metrics").text


def test_a_model_that_cannot_be_loaded(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(shipped("models", "classify"), folder)
    with serving(models=(Choice("gone", "classify", str(folder)),)) as client:
        shutil.rmtree(folder)
        answer = client.post("/v1/classify", files=picture())
        assert problem(answer, 503).startswith("the model gone cannot be loaded: ")
        assert int(answer.headers["retry-after"]) >= 1


def test_bodies_that_are_held_at_once_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "_BODIES", 1)
    with serving("classify", max_body=200_000) as client:
        head = (
            b"POST /v1/classify HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 195000\r\n\r\n"
        )
        with socket.create_connection((client.base_url.host, client.base_url.port)) as connection:
            connection.sendall(head + b" " * 190_000)  # and no more
            for _ in range(500):
                answer = client.post(
                    "/v1/classify", content=b" " * 20_000, headers={"Content-Type": "application/json"}
                )
                if answer.status_code == 429:
                    break
                time.sleep(0.01)
            assert "too many large requests" in problem(answer, 429)
        for _ in range(500):
            if (answer := client.post("/v1/classify", files=picture())).status_code == 200:
                break
            time.sleep(0.01)
        assert answer.status_code == 200


def test_a_full_queue_says_when_to_try_again_and_then_it_succeeds(monkeypatch: pytest.MonkeyPatch) -> None:
    started, go_on = threading.Event(), threading.Event()
    compute = computing.compute

    def slow(pipeline: Any, batch: Sequence[computing.Ready]) -> Any:
        started.set()
        assert go_on.wait(10)
        return compute(pipeline, batch)

    monkeypatch.setattr(computing, "compute", slow)
    with serving("classify", queue=1) as client:
        statuses: list[int] = []

        def ask() -> None:
            statuses.append(client.post("/v1/classify", files=picture()).status_code)

        threads = [threading.Thread(target=ask) for _ in range(2)]
        threads[0].start()
        assert started.wait(10)
        threads[1].start()
        for _ in range(500):
            if 'multiattn_model_queue{model="classify"} 1.0' in client.get("/metrics").text:
                break
            time.sleep(0.01)
        refused = client.post("/v1/classify", files=picture())
        assert "queue of this model is full" in problem(refused, 429)
        assert int(refused.headers["retry-after"]) >= 1
        go_on.set()
        for one in threads:
            one.join()
        assert statuses == [200, 200]
        assert client.post("/v1/classify", files=picture()).status_code == 200


def test_a_request_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()
    monkeypatch.setattr(computing, "compute", lambda pipeline, batch: [go_on.wait(10) for _ in batch])
    with serving("classify", timeout=0.3, preload=True) as client:
        assert "time for this request is over" in problem(client.post("/v1/classify", files=picture()), 504)
        go_on.set()


# --- requests that are wrong ---


def test_wrong_requests_are_told_what_is_wrong(client: httpx.Client) -> None:
    frog = base64.b64encode((INPUTS / "frog.png").read_bytes()).decode()
    cut = (INPUTS / "frog.png").read_bytes()[:60]

    def form(path: str = "/v1/classify", file: bytes | None = None, **fields: Any) -> httpx.Response:
        files = picture() if file is None else {"file": ("x", file)}
        return client.post(path, files=files, data=fields)

    def as_json(content: str | bytes) -> httpx.Response:
        return client.post("/v1/classify", content=content, headers={"Content-Type": "application/json"})

    for answer, status, words in (
        (client.get("/v1/nothing"), 404, "Not Found"),
        (client.get("/v1/classify"), 405, "Method Not Allowed"),
        (form(model="cats"), 404, "there are: classify"),
        (form(model="caption"), 404, "caption is one for caption"),
        (client.post("/v1/classify", content=b"x", headers={"Content-Type": "text/plain"}), 415, "multipart/form-data"),
        (client.post("/v1/classify"), 415, "of no type"),
        (form(file=b"no picture at all"), 415, "must be a picture"),
        (form(file=b""), 415, "is empty"),
        (form(file=cut), 422, "damaged"),
        (form(top_k=0), 422, "`top_k`"),
        (form(tpo_k=1), 422, "`tpo_k`"),
        (form(top_k=[1, 2]), 422, "there once"),
        (form(maps="gif"), 422, "`maps`"),
        (form(maps="png", map_method="magic"), 422, "`maps` must be of attention"),
        (form(target="unicorn", maps="png"), 422, "unicorn"),
        (form(labels="cat", model="classify"), 422, "has its own"),
        (form(url="http://example.com/a.png"), 422, "`file` and `url`"),
        (form("/v1/answer"), 422, "`question`"),
        (form("/v1/answer", question=" "), 422, "`question` must have a word"),
        (as_json(json.dumps({"file": frog, "labels": ["\ud800"]})), 422, "`labels.0`"),
        (as_json(json.dumps({"file": frog, "\ud800": 1})), 422, "unicode"),
        (form("/v1/match"), 422, "`texts`"),
        (form("/v1/embed", text="a", model="match"), 422, "both given"),
        (client.post("/v1/embed", json={}), 422, "are missing"),
        (client.post("/v1/embed", json={"text": "a", "model": "classify"}), 422, "must embed texts"),
        (client.post("/v1/classify", data={"file": "text"}), 422, "-F file=@NAME"),
        (client.post("/v1/classify", data={"top_k": 1}), 422, "`file` must be a picture, but is missing"),
        (client.post("/v1/classify", files={"image": b"x"}), 422, "in the part `file`"),
        (as_json("{"), 400, "must be JSON"),
        (as_json("[" * 100_000), 400, "nested too deeply"),
        (as_json("[1]"), 400, "JSON object"),
        (as_json(b"\xff\xfe"), 400, "must be JSON"),
        (as_json(json.dumps({"file": "no base64!"})), 422, "base64"),
        (as_json(json.dumps({"file": 3})), 422, "base64"),
        (as_json(json.dumps({"file": frog, "filename": 3})), 422, "`filename`"),
        (as_json(json.dumps({"file": frog, "top_k": 1e400})), 422, "`top_k`"),
        (client.post("/v1/classify", content=b"--x", headers={"Content-Type": "multipart/form-data"}), 400, "form"),
        (
            client.post(
                "/v1/classify", content=b"--x\r\nbad", headers={"Content-Type": "multipart/form-data; boundary=x"}
            ),
            422,
            "is missing",
        ),
    ):
        assert words in problem(answer, status)


def test_a_defect_tells_nothing_and_the_log_where_it_was(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(pipeline: Any, batch: Any) -> Any:
        raise RuntimeError("the secret words of a request")

    monkeypatch.setattr(computing, "compute", fail)
    with caplog.at_level(logging.INFO, "multiattn.serve"):
        answer = client.post("/v1/classify", files=picture(), headers={"X-Request-Id": "mine-7"})
    assert "defect of the server" in problem(answer, 500) and "secret" not in answer.text
    assert answer.headers["x-request-id"] == "mine-7"
    lines = logged(caplog, 2)
    (defect,) = [one for line in lines if (one := json.loads(line))["event"] == "defect"]
    assert defect["request_id"] == "mine-7" and defect["error"] == "RuntimeError"
    assert any("test_gate.py" in where for where in defect["where"])
    assert "secret" not in "".join(lines)


def test_the_log_has_a_line_a_request_without_what_was_in_it(
    client: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "multiattn.serve"):
        client.post("/v1/answer?secret=1", files=picture("scene.png"), data={"question": "a secret?"})
        client.get("/secret")
        given = client.get("/health", headers={"X-Request-Id": "bad id"})
    text = "".join(logged(caplog, 3))
    lines = [json.loads(line) for line in logged(caplog, 3)]
    assert [(one["method"], one["path"], one["status"]) for one in lines] == [
        ("POST", "/v1/answer", 200),
        ("GET", "other", 404),
        ("GET", "/health", 200),
    ]
    assert lines[0]["model"] == lines[0]["task"] == "answer" and lines[0]["bytes_in"] > 1000 and lines[0]["ms"] > 0
    assert "secret" not in text and "scene" not in text
    assert given.headers["x-request-id"] == lines[2]["request_id"] and len(lines[2]["request_id"]) == 32


def test_it_measures(client: httpx.Client) -> None:
    def values() -> dict[tuple[str, ...], float]:
        families = text_string_to_metric_families(client.get("/metrics").text)
        return {
            (one.name, *(f"{name}={value}" for name, value in sorted(one.labels.items()))): one.value
            for family in families
            for one in family.samples
        }

    before = values()
    client.post("/v1/caption", files=picture("scene.png"))
    client.post("/v1/caption", files=picture("scene.png"), data={"num_beams": 0})
    after = values()

    def grown(name: str, *labels: str) -> float:
        return after[name, *labels] - before.get((name, *labels), 0)

    assert grown("multiattn_requests_total", "method=POST", "path=/v1/caption", "status=200") == 1
    assert grown("multiattn_requests_total", "method=POST", "path=/v1/caption", "status=422") == 1
    assert grown("multiattn_request_seconds_count", "path=/v1/caption") == 2
    assert grown("multiattn_model_items_total", "model=caption") == 1
    assert grown("multiattn_model_batches_total", "model=caption") == 1
    assert grown("multiattn_model_tokens_total", "model=caption") >= 3
    assert grown("multiattn_model_seconds_total", "model=caption") > 0
    assert after["multiattn_model_queue", "model=caption"] == 0
    assert after["multiattn_model_memory", "model=caption"] > 1_000_000
    assert after["multiattn_requests_in_flight",] == 1  # the one for these


def test_it_says_how_it_is(client: httpx.Client) -> None:
    assert client.get("/health").json() == {"status": "ok"}
    client.post("/v1/classify", files=picture())
    ready = client.get("/ready").json()
    assert ready["status"] == "ready" and ready["models"]["classify"] is True


def test_the_description_of_the_addresses(client: httpx.Client) -> None:
    described = client.get("/openapi.json").json()
    operation = described["paths"]["/v1/classify"]["post"]
    form = operation["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form["required"] == ["file"] and form["properties"]["top_k"]["default"] == 5
    assert set(map(str, problems.STATUSES)) < set(operation["responses"])
    speech = described["paths"]["/v1/audio/transcriptions"]["post"]["requestBody"]["content"]["multipart/form-data"]
    assert speech["schema"]["required"] == ["file"] and "language" in speech["schema"]["properties"]
    page = client.get("/docs")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "<code>labels</code> your own" in page.text and "from 1 to 100000<" in page.text
    assert "<script" not in page.text and "/v1/classify" in page.text and "-F question=" in page.text


@pytest.mark.parametrize("allowed", [True, False])
def test_addresses_are_of_the_public_internet(allowed: bool) -> None:
    with serving("classify", allow_urls=allowed) as client:
        for url in (
            "http://127.0.0.1:1/a.png",
            "http://localhost/a.png",
            "http://169.254.169.254/a",
            "file:///etc/passwd",
        ):
            detail = problem(client.post("/v1/classify", json={"url": url}), 422)
            assert "passwd" not in detail or "no address of a file on a web server" in detail or not allowed
            assert ("--allow-urls" in detail) is not allowed
