"""`--processes N`: results, files and exit status are those of one process, whatever becomes of the processes."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from multiattn.cli import classify
from multiattn.errors import ModelError
from tests.cli.engines.killed import Killed, arguments
from tests.fixtures import save_drawing, save_tiny_recognizer

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """29 pictures, of which two cannot be read, and two have the same name."""
    folder = tmp_path_factory.mktemp("many") / "in"
    for i in range(28):
        save_drawing(folder / f"{i}.png", i, size=(31, 29))
    save_drawing(folder / "deep" / "0.png", 3, size=(31, 29))
    for i in (2, 7):
        (folder / f"{i}.png").write_bytes(b"no picture")
    return folder


@pytest.mark.parametrize(
    "kind", ["json", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("text", "parquet"))]
)
def test_results_are_those_of_one_process(run, model, folder, tmp_path, kind) -> None:
    def result(name: str, *more: str) -> tuple[Any, list[bytes]]:
        out = [] if kind == "text" else ["--out", tmp_path / name]
        command = ["classify", folder, folder / "gone.png", "--model", model, "--batch-size", "3", "--format", kind]
        outcome = run(*command, *out, *more)
        files = [tmp_path / name] if (tmp_path / name).is_file() else sorted((tmp_path / name).glob("*"))
        return outcome, [file.read_bytes() for file in files]

    expected, files = result("one")
    assert expected.status == 1
    assert len(expected.err.splitlines()) == 4
    found, others = result("two", "--processes", "2")
    assert found == expected
    assert others == files
    if kind == "json":  # a part of it done earlier
        half = files[0][: files[0].index(b"17.png")]
        (tmp_path / "two").unlink()
        (tmp_path / "two.part").write_bytes(half)
        assert result("two", "--processes", "3", "--resume")[1] == files


def test_maps_have_the_names_that_one_process_gives_them(run, model, folder, tmp_path) -> None:
    def files(name: str, *more: str) -> dict[str, bytes]:
        maps = ["--maps", tmp_path / name, "--map-method", "attention", "--format", "json", "--batch-size", "1"]
        outcome = run("classify", folder / "deep", folder / "0.png", folder / "2.png", "--model", model, *maps, *more)
        (tmp_path / name / "out").write_text(outcome.out.replace(f"/{name}/", "/maps/"))
        return {file.name: file.read_bytes() for file in (tmp_path / name).iterdir()}

    expected = files("one")
    assert {"0.html", "0-2.html", "0-2.attention.npz"} < set(expected)
    found = files("two", "--processes", "2")
    assert set(found) == set(expected)
    assert [name for name in expected if found[name] != expected[name]] == []


def test_recordings_and_options_that_are_refused(run, tmp_path) -> None:
    recognizer = save_tiny_recognizer(tmp_path / "speech")
    command = ["transcribe", "assets/inputs/digits.flac", "assets/inputs/telephone.flac", "--model", recognizer]
    assert run(*command, "--processes", "2") == run(*command)
    outcome = run(*command, "--processes", "2", "--language", "fr")
    assert outcome.status == 1 and outcome.err.count("\n") == 1
    assert outcome == run(*command, "--language", "fr")


def test_a_killed_process_loses_nothing_and_repeats_nothing(tmp_path, capfd) -> None:
    names = [*(f"{i}.png" for i in range(12)), "once.png", *(f"{i}.png" for i in range(12, 40)), "always.png", "z.png"]
    status = Killed(arguments(tmp_path, *names)).run()
    lines = [json.loads(line) for line in (tmp_path / "r").read_text().splitlines()]
    assert [Path(line["file"]).name for line in lines] == names
    assert [Path(line["file"]).name for line in lines if "error" in line] == ["always.png"]
    assert "the last one: a process ended by SIGABRT). It is left out." in lines[-2]["error"]
    processes = {line["process"] for line in lines if "error" not in line}
    assert len(processes) >= 2
    err = capfd.readouterr().err
    assert status == 1
    assert "multiattn: --processes 2: a process ended by SIGKILL; the " in err
    assert "1 of 43 inputs could not be used" in err


def test_an_error_in_a_process_is_that_of_the_run_and_what_is_finished_is_kept(tmp_path) -> None:
    args = arguments(tmp_path, *(f"{i}.png" for i in range(9)), "raises.png")
    with pytest.raises(ModelError, match="^a worker says so"):
        Killed(args).run()
    assert (tmp_path / "r.part").exists()


@pytest.mark.parametrize(
    ("number", "status", "told"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_when_interrupted_later_results_are_kept_too(run, tmp_path, monkeypatch, number, status, told) -> None:
    args = arguments(tmp_path, "waits.png", *(f"{i}.png" for i in range(20)), "interrupts.png")
    args.batch_size, args.pid, args.signal = 1, os.getpid(), number
    monkeypatch.setattr(classify, "Classify", lambda _: Killed(args))
    outcome = run("classify", "any")
    assert (outcome.status, outcome.out, outcome.err) == (status, "", f"multiattn: {told}; what was finished is kept\n")
    found = [Path(json.loads(line)["file"]).name for line in (tmp_path / "r").read_text().splitlines()]
    assert found and found == [f"{i}.png" for i in range(len(found))]  # behind one that was not done
