"""A run that is ended from outside, or cannot write: what is there is whole, and the last line says what happened."""

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.disks import check_whole, make_read_only, small_disk
from tests.fixtures import save_drawing

from .test_process import start

pytestmark = pytest.mark.process


def classify(model: str, *arguments: str | Path) -> subprocess.Popen:
    return start(
        "classify", "--model", model, "--format", "json", *map(str, arguments),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def wait_for(condition: Callable[[], object], process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 240
    while not condition() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert process.poll() is None and condition(), process.communicate()


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """A folder with more pictures than are done until a signal arrives."""
    first = save_drawing(tmp_path / "many" / "0.png", 1)
    for number in range(1, 3001):
        (tmp_path / "many" / f"{number}.png").hardlink_to(first)
    return tmp_path / "many"


@pytest.mark.parametrize(
    ("number", "status"),
    [
        (signal.SIGTERM, 143),
        pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow),
        pytest.param(signal.SIGKILL, -9, marks=pytest.mark.slow),
    ],
)
def test_a_signal_in_mid_folder(model, many, tmp_path, number, status) -> None:
    out, maps = tmp_path / "results.jsonl", tmp_path / "maps"
    process = classify(model, many, "--out", out, "--maps", maps, "--map-method", "rollout")
    part = tmp_path / "results.jsonl.part"
    wait_for(lambda: part.exists() and part.read_text().count("\n") > 3, process)
    process.send_signal(number)
    _, err = process.communicate()
    assert process.returncode == status
    if number == signal.SIGKILL:
        assert not out.exists()
        kept = part.read_text().splitlines(keepends=True)
        files = {path.name for path in maps.iterdir() if not path.name.endswith(".part")}
    else:
        assert err.startswith("multiattn: ") and err.count("\n") == 1
        assert not part.exists()
        kept = out.read_text().splitlines(keepends=True)
        files = set(check_whole(maps))
    whole = [json.loads(line) for line in kept if line.endswith("\n")]
    assert 3 < len(whole) < 3001 and len(whole) >= len(kept) - 1
    for line in whole:
        assert {Path(path).name for written in line["maps"].values() for path in written.values()} <= files


@pytest.mark.slow
@pytest.mark.parametrize("option", ["--maps", "--out"])
def test_a_full_disk_names_the_file_and_nothing_is_torn(model, tmp_path, option) -> None:
    pictures = [save_drawing(tmp_path / f"{number}.png", number) for number in range(7)] * 90
    size, target = ("700k", "maps") if option == "--maps" else ("16k", "results.jsonl")
    with small_disk(tmp_path / "disk", size=size) as disk:
        process = classify(model, *pictures, option, disk / target)
        _, err = process.communicate()
        assert process.returncode == 1
        *_, last = err.splitlines()
        assert str(disk) in last and "No space left on device" in last
        assert "Traceback" not in err
        if option == "--maps":
            assert check_whole(disk / "maps")
        else:
            assert {path.name for path in disk.iterdir()} <= {"results.jsonl", "results.jsonl.part"}
            (kept,) = disk.iterdir()
            done = [line for line in kept.read_text().splitlines(keepends=True) if line.endswith("\n")]
            assert len([json.loads(line) for line in done]) > 10


@pytest.mark.slow
@pytest.mark.parametrize("option", ["--maps", "--out"])
def test_a_folder_that_may_not_be_written(model, photos, tmp_path, option) -> None:
    with small_disk(tmp_path / "disk", size="1m") as disk:
        make_read_only(disk)
        process = classify(model, photos, option, disk / "there")
        out, err = process.communicate()
        assert (process.returncode, out) == (1, "")
        assert err.startswith("multiattn: ") and err.count("\n") == 1
        assert str(disk / "there") in err and "Read-only file system" in err


@pytest.mark.slow
def test_a_second_run_into_the_same_folder_is_refused(model, many, photos, tmp_path) -> None:
    maps = tmp_path / "maps"
    first = classify(model, many, "--maps", maps)
    wait_for(lambda: maps.exists() and any(maps.glob("*.json")), first)
    second = classify(model, photos, "--maps", maps)
    out, err = second.communicate()
    first.terminate()
    first.communicate()
    assert (second.returncode, out) == (1, "")
    assert err.startswith("multiattn: ") and err.count("\n") == 1
    assert str(maps) in err
    # the lock ends with its run, however that ended
    third = classify(model, photos, "--maps", maps)
    _, err = third.communicate()
    assert (third.returncode, err) == (0, "")


@pytest.mark.slow
def test_head_ends_a_folder_quietly(model, many, tmp_path) -> None:
    process = classify(model, many)
    assert process.stdout is not None and process.stderr is not None
    lines = [process.stdout.readline() for _ in range(3)]
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert (process.wait(), err) == (1, "")
    assert [Path(json.loads(line)["file"]).name for line in lines] == ["0.png", "1.png", "2.png"]
