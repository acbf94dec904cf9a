"""Downloads by the real library from a hub on this machine that fails in each way."""

import errno
import hashlib
import json
import logging
import os
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import constants
from huggingface_hub.utils.tqdm import are_progress_bars_disabled

from multiattn.errors import ModelError
from multiattn.weights import hub, hub_download

SHA = "0123456789abcdef0123456789abcdef01234567"
FILES = {"config.json": b'{"format": "multiattn"}', "model.safetensors": bytes(range(256)) * 64}


class Hub(ThreadingHTTPServer):
    """A hub with one model, `some/model`; `faults` are tried first, by the part of the address that they are for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.faults: dict[str, Callable[[Answer], None]] = {}
        self.seen = Counter[str]()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a connection that a test breaks off."""


class Answer(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        self.server.seen[self.path] += 1
        fault = next((act for part, act in self.server.faults.items() if part in f"{self.command} {self.path}"), None)
        if fault is not None:
            fault(self)
        elif "/revision/" in self.path:
            self.answer({"id": "some/model", "sha": SHA, "siblings": [], "tags": []})
        elif "/tree/" in self.path:
            self.answer([_listed(name, data) for name, data in FILES.items()])
        else:
            name = self.path.rpartition("/")[2]
            headers = {"ETag": f'"{_oid(name, FILES[name])}"', "X-Repo-Commit": SHA}
            self.answer(FILES[name], headers=headers)

    do_HEAD = do_GET

    def answer(self, data: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> None:
        body = data if isinstance(data, bytes) else json.dumps(data).encode()
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _oid(name: str, data: bytes) -> str:
    if name.endswith("safetensors"):
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _listed(name: str, data: bytes) -> dict[str, Any]:
    return {"type": "file", "path": name, "size": len(data), "oid": _oid(name, data)}


def refusal(status: int, **headers: str) -> Callable[[Answer], None]:
    return lambda answer: answer.answer(
        b"no", status=status, headers={name.replace("_", "-"): value for name, value in headers.items()}
    )


def cut_off(answer: Answer) -> None:
    """Send half of a file, and close."""
    name = answer.path.rpartition("/")[2]
    answer.answer(FILES[name][: len(FILES[name]) // 2], headers={"Content-Length": str(len(FILES[name]))})
    answer.close_connection = True


def changed(answer: Answer) -> None:
    answer.answer(bytes(len(FILES["model.safetensors"])))


def short(answer: Answer) -> None:
    answer.answer(b"<html>short</html>")


def never(answer: Answer) -> None:
    answer.rfile.read(1)  # until the client has gone


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    import time

    with Hub() as hub:
        thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        endpoint = f"http://127.0.0.1:{hub.server_port}"
        monkeypatch.setattr(constants, "ENDPOINT", endpoint)
        template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(time, "sleep", lambda seconds: None)  # between attempts
        yield hub
        hub.shutdown()
        thread.join()


def test_a_model_is_downloaded_once_and_in_silence(server: Hub, capfd: pytest.CaptureFixture[str]) -> None:
    directory = hub.locate("some/model")
    assert {file.name: file.read_bytes() for file in directory.iterdir()} == FILES
    asked = sum(server.seen.values())
    assert hub.locate("some/model") == directory
    assert sum(server.seen.values()) == asked + 1  # for the newest revision
    server.faults["/api/"] = refusal(503)
    assert hub.locate("some/model") == directory  # from the cache
    assert capfd.readouterr() == ("", "")
    assert not are_progress_bars_disabled()
    assert logging.getLogger("huggingface_hub").level == logging.WARNING


@pytest.mark.parametrize(
    ("place", "fault", "message"),
    [
        (
            "/api/",
            refusal(401, X_Error_Code="RepoNotFound"),
            "there is no model some/model: .* is private, log in",
        ),
        (
            "/api/",
            refusal(401, X_Error_Message="Invalid credentials in Authorization header"),
            r"answers 401 \(a login is needed, or is not valid\): log in with `hf auth login`, or unset HF_TOKEN",
        ),
        ("/api/", refusal(403, X_Error_Code="GatedRepo"), "some/model is gated: accept its terms at http"),
        ("/api/", refusal(403), r"answers 403 \(not allowed\): ask the model's owner"),
        ("/api/", refusal(404, X_Error_Code="RepoNotFound"), "there is no model some/model"),
        ("/api/", refusal(404, X_Error_Code="RevisionNotFound"), "some/model has no revision v1: see http"),
        ("GET /some/", refusal(404, X_Error_Code="EntryNotFound"), r"answers 404 \(a file that it lists is not there"),
        ("/api/", refusal(429, Retry_After="3600"), r"answers 429 \(too many requests\): wait for 3600 s, or log in"),
        ("/tree/", refusal(429), r"answers 429 \(too many requests\): wait a while, or log in"),
        ("/api/", refusal(500), r"answers 500 \(an error of its own\): try again later"),
        ("GET /some/", refusal(503), r"answers 503 \(an error of its own\): try again later"),
        (
            "/api/",
            lambda answer: answer.answer(b"<html>Log in</html>"),
            "is not the Hugging Face Hub, but perhaps the lo",
        ),
        ("GET /some/", cut_off, "the connection to http://127.* breaks off: try again later"),
        ("GET /some/model/resolve/" + SHA + "/model", changed, r"model.safetensors has come with another content"),
        ("GET /some/", short, r"could not be downloaded \(Consistency check failed: file should be of size "),
        ("/api/", never, "does not answer in time: try again later, or check the network"),
        ("/tree/", never, "does not answer in time: try again later, or check the network"),
        ("GET /some/", never, "does not answer in time: try again later, or check the network"),
    ],
)
def test_what_happened_is_said_in_one_line(
    place: str,
    fault: Any,
    message: str,
    server: Hub,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    server.faults[place] = fault
    monkeypatch.setattr(hub_download, "SECONDS", 0.2 if fault is never else 10)
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.2 if fault is never else 10)
    if fault is cut_off:  # with pieces as small, the library goes on as long as some arrive
        monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 4)
    with pytest.raises(ModelError, match=message) as caught:
        hub.locate("some/model", revision="v1")
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")
    if fault is changed:  # nothing wrong stays in the cache
        server.faults.clear()
        directory = hub.locate("some/model", revision="v1")
        assert (directory / "model.safetensors").read_bytes() == FILES["model.safetensors"]


def test_a_hub_that_is_not_there(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(ModelError, match=r"the Hugging Face Hub cannot be reached \(.*refused\): check the sp"):
            hub.locate("some/model")
    monkeypatch.setattr(constants, "ENDPOINT", "http://no-such-host.invalid")
    with pytest.raises(ModelError, match=r"the Hugging Face Hub cannot be reached \(.*\): check the spelling and"):
        hub.locate("some/model")
    monkeypatch.setattr(constants, "ENDPOINT", f"https://127.0.0.1:{server.server_port}")
    with pytest.raises(ModelError, match="the connection to 127.0.0.1:[0-9]* is not secure"):
        hub.locate("some/model")


def test_a_full_disk_names_the_cache(server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any, **options: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(huggingface_hub.file_download, "http_get", full)
    with pytest.raises(ModelError, match=f"^{tmp_path}/cache: No space left on device: the download of some/model"):
        hub.locate("some/model")
