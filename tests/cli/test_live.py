"""multiattn transcribe --live: samples on standard input, a microphone that is not there, and what is written."""

import io
import json
import sys
import threading
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from multiattn.cli.live import MOST_SECONDS, Lines, Waiting
from multiattn.inputs import load_audio
from multiattn.pipelines.transcribe import LiveUpdate

DIGITS = Path(__file__).parents[2] / "assets" / "inputs" / "digits.flac"
RATE = 16_000


@pytest.fixture
def piped(monkeypatch: pytest.MonkeyPatch) -> None:
    """The digits as raw samples on standard input."""
    samples = load_audio(DIGITS, rate=RATE).numpy()
    data = (32767 * samples.clip(-1, 1)).astype("<i2").tobytes()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data + b"x"), isatty=lambda: False))


@pytest.mark.usefixtures("piped")
def test_raw_samples_give_lines_of_text(run, tmp_path: Path) -> None:
    out = tmp_path / "live.txt"
    found = run("transcribe", "--live", "-", "--rate", RATE, "-q", "--out", out)
    assert found.status == 0 and found.err == ""
    words = found.out.split()
    assert len(words) >= 3 and set(words) <= set("zero one two three four five six seven eight nine".split())
    assert out.read_text().split() == words and "\x1b" not in found.out


@pytest.mark.usefixtures("piped")
def test_updates_are_lines_of_json(run) -> None:
    found = run("transcribe", "--live", "-", "--rate", RATE, "--format", "json", "-q")
    *updates, last = [json.loads(line) for line in found.out.splitlines()]
    settled = [word["word"] for update in updates for word in update["settled"]]
    assert settled == [word["word"] for word in last["transcript"]["words"]]
    assert "".join(update["text"] for update in updates).split() == settled
    assert [update["seconds"] for update in updates] == sorted(update["seconds"] for update in updates)


@pytest.mark.usefixtures("piped")
def test_other_formats_come_at_the_end(run) -> None:
    assert run("transcribe", "--live", "-", "--rate", RATE, "--format", "srt", "-q").out.startswith("1\n00:00:0")


@pytest.mark.parametrize(
    "arguments, reason",
    [
        (["--live", "mic", "x.wav"], "--live mic takes the place of PATH"),
        (["--live", "x"], "invalid choice: 'x'"),
        (["--live", "mic", "--format", "csv"], "--live writes text, json or one format"),
        (["--live", "mic", "--maps", "out"], "--maps needs a recording"),
        (["x.wav", "--rate", "8000"], "--rate is that of samples on standard input"),
        (["--live", "mic", "--rate", "0"], "must be a whole number of at least 1"),
    ],
)
def test_wrong_usage_is_one_line(run, arguments: list[str], reason: str) -> None:
    found = run("transcribe", *arguments)
    assert found.status == 2 and reason in found.err and found.err.count("\n") == 1


def microphone(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """A package sounddevice whose stream raises an error."""

    class PortAudioError(Exception):
        pass

    def stream(*args: object, **kwargs: object) -> None:
        raise PortAudioError(*error.args) if type(error) is Exception else error

    module = ModuleType("sounddevice")
    module.PortAudioError, module.InputStream = PortAudioError, stream  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sounddevice", module)


def test_a_microphone_that_is_not_there_is_one_line(run, monkeypatch: pytest.MonkeyPatch) -> None:
    microphone(monkeypatch, Exception("Error querying device -1"))
    found = run("transcribe", "--live", "mic", "-q")
    assert found.status == 1 and found.out == ""
    assert found.err == (
        "multiattn: --live mic cannot record: Error querying device -1; is a microphone there and free?\n"
    )
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    absent = run("transcribe", "--live", "mic", "-q")
    assert absent.status == 1 and "pip install 'multiattn[sounddevice]'" in absent.err and absent.err.count("\n") == 1


def test_a_missing_portaudio_is_one_line(run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')\n")
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    found = run("transcribe", "--live", "mic", "-q")
    assert found.status == 1 and "needs the system's PortAudio (PortAudio library not found)" in found.err
    assert found.err.count("\n") == 1


def test_sound_that_waits_is_bounded() -> None:
    waiting = Waiting(10, drops=True)
    for i in range(100):
        waiting.put(np.full(10, i, np.float32))
    assert waiting.lost == 10 * (100 - MOST_SECONDS)
    waiting.end()
    [block] = list(waiting.blocks())
    assert block[-1] == 99 and len(block) == 10 * MOST_SECONDS

    patient = Waiting(10, drops=False)
    thread = threading.Thread(target=lambda: [patient.put(np.zeros(10, np.float32)) for _ in range(100)], daemon=True)
    thread.start()
    taken = 0
    for block in patient.blocks():
        taken += len(block)
        assert len(block) <= 10 * MOST_SECONDS
        if taken == 1000:
            patient.end()
    assert patient.lost == 0


def update(text: str, unsettled: str = "", *, is_end: bool = False) -> LiveUpdate:
    return LiveUpdate((), (), text, unsettled, 1.0, is_end)


def test_unsettled_words_are_dim_on_a_terminal() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen, plain = Terminal(), io.StringIO()
    for stream in (screen, plain):
        lines = Lines(stream)
        lines.write(update(" One two", " three"))
        lines.write(update(" three.", is_end=True))
        lines.write(update(" Four\x1b"))
        lines.end()
    assert plain.getvalue() == "One two three.\nFour\\x1b\n"
    shown = screen.getvalue()
    assert "\x1b[2m three\x1b[0m" in shown and shown.replace("\x1b[2m three\x1b[0m", "").split("\r\x1b[K")[1:] == [
        "One two",
        "One two three.\n",
        "Four\\x1b\n",
    ]
