"""`multiattn serve` in a process of its own: what it says, and how it ends."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from multiattn.cli import serve
from multiattn.cli.arguments import UsageError
from multiattn.cli.main import main
from multiattn.deploy.models import Choice
from tests.deploy.serving import picture

ROOT = Path(__file__).parents[2]


@contextlib.contextmanager
def process(*options: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-m", "multiattn", "serve", "--port", "0", "--device", "cpu", *options]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | environment
    ) as running:
        try:
            assert running.stderr is not None
            line = running.stderr.readline()
            found = re.fullmatch(r"multiattn: serving ([\w, ]+) on (http://127\.0\.0\.1:\d+)\n", line)
            assert found, line + running.stderr.read()
            yield running, found[2]
        finally:
            running.kill()


@pytest.mark.process
def test_it_serves_logs_and_drains() -> None:
    with process("--task", "caption", MULTIATTN_API_KEYS="one, two") as (running, address):
        assert httpx.get(f"{address}/v1/models").status_code == 401
        headers = {"Authorization": "Bearer two"}
        found: list[httpx.Response] = []
        asked = {"files": picture("scene.png"), "data": {"maps": "png"}, "headers": headers, "timeout": 60}
        thread = threading.Thread(target=lambda: found.append(httpx.post(f"{address}/v1/caption", **asked)))
        thread.start()
        while "multiattn_requests_in_flight 2.0" not in httpx.get(f"{address}/metrics", headers=headers).text:
            assert thread.is_alive()
        running.send_signal(signal.SIGTERM)
        thread.join()
        assert found[0].status_code == 200 and found[0].json()["maps"]
        out, err = running.communicate(timeout=30)
        assert running.returncode == 0 and err == ""
    lines = [json.loads(line) for line in out.splitlines()]
    assert [one["status"] for one in lines if one["path"] == "/v1/caption"] == [200]


def test_a_port_that_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    from multiattn.deploy.http.server import listen

    with listen("127.0.0.1", 0) as taken:
        taken.listen()
        port = str(taken.getsockname()[1])
        assert main(["serve", "--task", "classify", "--port", port]) == 1
    assert capsys.readouterr().err == (
        f"multiattn: --host 127.0.0.1 --port {port} cannot be listened at: Address already in use\n"
    )


def test_the_models_of_the_options() -> None:
    def chosen(*words: str) -> list[Choice]:
        return serve.choices_of(serve.parser().parse_args(words))

    assert [one.name for one in chosen()] == ["classify", "caption", "transcribe", "answer", "match"]
    assert chosen("--task", "answer") == [Choice("answer", "answer", "answer")]
    assert chosen("--model", "mine=caption") == [Choice("mine", "caption", "caption")]
    assert [one.name for one in chosen("--model", "mine=caption", "--task", "answer")] == ["mine", "answer"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--port", "70000"], "`port` must be from 0 to 65535, but is 70000 instead."),
        (["--drain", "-1"], "`drain` must be at least 0, but is -1.0 instead."),
    ],
)
def test_settings_that_cannot_be(words: list[str], message: str) -> None:
    with pytest.raises(UsageError) as raised:
        serve.settings_of(serve.parser().parse_args(words))
    assert str(raised.value) == message


def test_without_the_extra_it_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve, "find_spec", lambda name: None if name == "uvicorn" else object())
    assert main(["serve"]) == 1
    assert capsys.readouterr().err == (
        "multiattn: multiattn serve needs uvicorn, which is not installed: `pip install multiattn[serve]`\n"
    )
