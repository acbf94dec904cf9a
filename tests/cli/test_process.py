"""The command as a process: terminals, pipes, signals."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "multiattn")


def start(*arguments: str, **streams) -> subprocess.Popen:
    return subprocess.Popen([*COMMAND, *arguments], cwd=ROOT, text=True, **streams)


def read_terminal(master: int, process: subprocess.Popen, seconds: float = 120) -> str:
    """All that was written to the terminal until the process ended."""
    found = b""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        ready, _, _ = select.select([master], [], [], 0.1)
        if ready:
            try:
                found += os.read(master, 65536)
            except OSError:  # Linux says so when the other side is closed
                break
        elif process.poll() is not None:
            break
    return found.decode()


def test_the_command_from_end_to_end(model, photos, tmp_path) -> None:
    process = start(
        "classify", str(photos), str(tmp_path / "gone.jpg"), "--model", model,
        "--format", "json", "--maps", str(tmp_path / "m"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    out, err = process.communicate()
    assert process.returncode == 1
    assert [Path(json.loads(line)["file"]).name for line in out.splitlines()] == ["a.png", "b.jpg", "c.png", "gone.jpg"]
    assert len(err.splitlines()) == 2
    assert "gone.jpg" in err


def test_a_progress_bar_where_standard_error_is_a_terminal(model, photos) -> None:
    master, slave = pty.openpty()
    process = start("classify", str(photos), "--model", model, "--format", "json", stdout=subprocess.PIPE, stderr=slave)
    os.close(slave)
    terminal = read_terminal(master, process)
    out, _ = process.communicate()
    os.close(master)
    assert process.returncode == 0
    assert [set(json.loads(line)) for line in out.splitlines()] == [{"file", "predictions"}] * 3
    assert "classifying" in terminal
    assert "3/3" in terminal
    assert "predictions" not in terminal


def test_results_and_bar_share_a_terminal(model, photos) -> None:
    master, slave = pty.openpty()
    process = start("classify", str(photos), "--model", model, "--format", "json", stdout=slave, stderr=slave)
    os.close(slave)
    terminal = read_terminal(master, process)
    process.wait()
    os.close(master)
    assert process.returncode == 0
    whole = [line[line.index("{") :] for line in terminal.replace("\r", "\n").split("\n") if '{"file"' in line]
    assert [Path(json.loads(line)["file"]).name for line in whole] == ["a.png", "b.jpg", "c.png"]


def test_a_reader_that_goes_away_ends_it_quietly(model, photos) -> None:
    pictures = [str(photos / "a.png")] * 3001
    process = start("classify", *pictures, "--model", model, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout.readline() == pictures[0] + "\n"
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait() == 1
    assert err == ""


def test_a_full_disk_behind_standard_output(model, photos) -> None:
    with open("/dev/full", "w") as full:
        process = start("classify", str(photos), "--model", model, stdout=full, stderr=subprocess.PIPE)
        _, err = process.communicate()
    assert (process.returncode, err) == (1, "multiattn: cannot write: No space left on device\n")


def test_ctrl_c_keeps_what_was_finished(model, photos, tmp_path) -> None:
    results = tmp_path / "results.jsonl"
    pictures = [str(photos / "a.png")] * 5003
    process = start(
        "classify", *pictures, "--model", model, "--format", "json", "--out", str(results),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    part = tmp_path / "results.jsonl.part"
    while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert process.returncode == 130
    assert (out, err) == ("", "multiattn: interrupted; what was finished is kept\n")
    assert not part.exists()
    kept = results.read_text()
    assert kept.endswith("\n")
    assert 1 <= len([json.loads(line) for line in kept.splitlines()]) < 5003


@pytest.mark.training
def test_a_typo_in_the_yaml_is_wrong_usage(run, tmp_path) -> None:
    typo = tmp_path / "typo.yaml"
    typo.write_text("trainer: {max_epoch: 3}")
    outcome = run("fit", "--config", "configs/classify/smoke.yaml", "--config", typo)
    assert (outcome.status, outcome.out) == (2, "")
    assert "max_epoch" in outcome.err.splitlines()[-1]
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize("arguments", [["classify", "gone.jpg"], ["info", "./no-such-model"]])
def test_no_traceback(run, arguments) -> None:
    outcome = run(*arguments)
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err.startswith("multiattn: ")
    assert outcome.err.count("\n") == 1
