"""--out grows as FILE.part, and --resume goes on with it: the end is that of a run without interruption."""

import fcntl
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from multiattn.cli.predict import Predictor
from tests.fixtures import save_drawing

ROOT = Path(__file__).parents[2]


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """A folder with 11 pictures, of which two cannot be read."""
    for i in range(11):
        save_drawing(tmp_path / "in" / f"{i}.png", i, size=(31, 29))
    for i in (2, 7):
        (tmp_path / "in" / f"{i}.png").write_bytes(b"no picture")
    return tmp_path / "in"


@pytest.fixture
def command(model: str, many: Path, tmp_path: Path) -> list[object]:
    return ["classify", many, tmp_path / "gone.png", "--model", model, "--batch-size", "3", "--out", tmp_path / "r"]


def whole(run, command, out: Path, kind: str) -> bytes:
    assert run(*command, "--format", kind).status == 1
    assert {file.name for file in out.parent.iterdir()} >= {"r"}
    assert not out.with_name("r.part").exists()
    return out.read_bytes()


@pytest.mark.parametrize("kind", ["json", "csv"])
def test_after_any_cut_the_end_is_the_same(run, command, tmp_path, kind) -> None:
    out, part = tmp_path / "r", tmp_path / "r.part"
    expected = whole(run, command, out, kind)
    ends = [i + 1 for i, byte in enumerate(expected) if byte == ord("\n")]
    assert len(ends) == 12 + (kind == "csv")
    for cut in (0, 5, ends[0], ends[1] + 3, ends[4], ends[8] - 1, len(expected)):
        part.write_bytes(expected[:cut])
        out.write_bytes(b"an older run")
        assert run(*command, "--format", kind, "--resume").status == 1
        assert out.read_bytes() == expected
        assert not part.exists()
    assert run(*command, "--format", kind, "--resume").status == 1  # with FILE itself
    assert out.read_bytes() == expected
    assert {file.name for file in tmp_path.iterdir()} == {"in", "r"}


def test_what_is_known_is_written_as_it_is_found(run, model, photos, tmp_path, monkeypatch) -> None:
    waiting, done = list[int](), Predictor._done
    monkeypatch.setattr(Predictor, "_done", lambda self: waiting.append(len(self._feed.waiting)) or done(self))
    command = ["classify", photos, "--model", model, "--format", "json", "--out", tmp_path / "r", "--batch-size", "1"]
    for _ in range(2):
        assert run(*command, "--resume").status == 0
    assert waiting[3:] == [1, 1, 1]


def test_what_failed_is_tried_again_and_lands_in_its_place(run, command, many, tmp_path) -> None:
    out, part = tmp_path / "r", tmp_path / "r.part"
    failed = whole(run, command, out, "json")
    save_drawing(many / "2.png", 2, size=(31, 29))
    part.write_bytes(failed[: failed.index(b"9.png")])
    assert run(*command, "--format", "json", "--resume").status == 1
    resumed = out.read_bytes()
    assert resumed == whole(run, command, out, "json")
    errors = [Path(line["file"]).name for line in map(json.loads, resumed.splitlines()) if "error" in line]
    assert errors == ["7.png", "gone.png"]


def test_done_inputs_are_not_computed_again(run, command, many, tmp_path, monkeypatch) -> None:
    for i in (2, 7):
        save_drawing(many / f"{i}.png", i)
    whole(run, command, tmp_path / "r", "json")

    def never(*_: object, **__: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr("multiattn.models.vit.ViT.forward", never)
    assert run(*command, "--format", "json", "--resume").status == 1
    (many / "0.png").unlink()
    (many / "1.png").unlink()
    (many / "2.png").unlink()
    outcome = run(*command, "--format", "json", "--resume")
    assert "multiattn: 3 results of inputs that are no longer there are left out" in outcome.err
    assert len((tmp_path / "r").read_bytes().splitlines()) == 9


def test_files_named_twice_and_maps_keep_their_names(run, model, many, tmp_path) -> None:
    (tmp_path / "deep").mkdir()
    save_drawing(tmp_path / "deep/0.png", 5)
    inputs = [many / "0.png", tmp_path / "deep/0.png", many / "0.png", many / "1.png"]
    out = tmp_path / "r"
    command = ["classify", *inputs, "--model", model, "--format", "json", "--batch-size", "1", "--out", out]
    command += ["--maps", tmp_path / "maps", "--map-method", "attention"]
    assert run(*command).status == 0
    expected = out.read_bytes()
    second = expected.index(b"\n", expected.index(b"\n") + 1) + 1
    (tmp_path / "r.part").write_bytes(expected[:second])
    assert run(*command, "--resume").status == 0
    assert out.read_bytes() == expected
    assert [Path(json.loads(line)["maps"]["attention"]["html"]).name for line in expected.splitlines()] == [
        "0.html",
        "0-2.html",
        "0-3.html",
        "1.html",
    ]


def test_other_options_are_refused(run, command, tmp_path) -> None:
    expected = whole(run, command, tmp_path / "r", "json")
    outcome = run(*command, "--format", "json", "--resume", "--top-k", "2")
    assert outcome.status == 2
    assert (
        f"--resume: --top-k must be as in the run that began --out {tmp_path}/r (not given), but differs" in outcome.err
    )
    assert (tmp_path / "r").read_bytes() == expected
    (tmp_path / "r").write_text("these are\nmy notes\n")
    outcome = run(*command, "--format", "json", "--resume")
    assert outcome.status == 2
    assert "must hold results of this command, but record 1 is none instead" in outcome.err
    assert (tmp_path / "r").read_text() == "these are\nmy notes\n"
    outcome = run(*command, "--format", "csv", "--resume")
    assert outcome.status == 2
    assert (tmp_path / "r").read_text() == "these are\nmy notes\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("classify x --resume --out r", "--resume goes on with records in a file, and needs --out and one of json,"),
        ("classify x --resume --format json", "--resume goes on with records in a file, and needs --out"),
        ("transcribe x --resume --format srt --out r", "--resume goes on with records in a file"),
        ("caption x --sample --resume --format json --out r", "and --sample what chance gives"),
        ("classify x --format parquet", "--format parquet writes a folder, and needs --out DIR"),
    ],
)
def test_where_there_is_nothing_to_go_on_with(run, arguments, message) -> None:
    outcome = run(*arguments.split())
    assert outcome.status == 2
    assert message in outcome.err


def test_two_runs_into_one_file(run, command, tmp_path) -> None:
    with (tmp_path / "r.part").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        outcome = run(*command, "--format", "json")
    assert outcome.status == 1
    assert f"--out {tmp_path}/r must be a file that no other process writes, but one does instead" in outcome.err


def test_an_error_in_the_middle_leaves_the_part_and_the_old_file(run, command, tmp_path, monkeypatch) -> None:
    from multiattn.models.vit import ViT

    plain, calls = ViT.pooled, []

    def sometimes(*arguments, **options):
        calls.append(1)
        if len(calls) == 2:
            raise MemoryError
        return plain(*arguments, **options)

    (tmp_path / "r").write_text("older\n")
    monkeypatch.setattr(ViT, "pooled", sometimes)
    assert run(*command, "--format", "json").status == 1
    assert (tmp_path / "r").read_text() == "older\n"
    assert len((tmp_path / "r.part").read_text().splitlines()) == 3
    calls[:] = [1, 1]
    assert run(*command, "--format", "json", "--resume").status == 1
    assert (tmp_path / "r").read_bytes() == whole(run, command, tmp_path / "r", "json")


@pytest.mark.slow
@pytest.mark.process
def test_killed_at_several_moments(run, model, many, tmp_path) -> None:
    out, part = tmp_path / "r", tmp_path / "r.part"
    pictures = [str(many / f"{i % 11}.png") for i in range(1500)]
    (tmp_path / "list").write_text("\n".join(pictures))
    command = ["classify", "--files", tmp_path / "list", "--model", model, "--format", "json", "--batch-size", "3"]
    assert run(*command, "--out", tmp_path / "whole").status == 1
    size = (tmp_path / "whole").stat().st_size
    arguments = [sys.executable, "-m", "multiattn", *map(str, command), "--out", str(out), "--resume"]
    for share in (0.0, 0.3):
        process = subprocess.Popen(arguments, cwd=ROOT, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while not (part.exists() and part.stat().st_size > share * size) and time.monotonic() < deadline:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not out.exists()
        assert {file.name for file in tmp_path.iterdir()} == {"in", "list", "whole", "r.part"}
    process = subprocess.Popen(arguments, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and part.exists() and part.stat().st_size < 0.6 * size:
        time.sleep(0.002)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate()
    if process.returncode == 143:
        assert err.endswith("multiattn: terminated; what was finished is kept\n")
        assert out.exists() and not part.exists()
    assert run(*command, "--out", out, "--resume").status == 1
    lines, whole = ([json.loads(line) for line in file.read_text().splitlines()] for file in (out, tmp_path / "whole"))
    assert [one["file"] for one in lines] == [one["file"] for one in whole] == pictures
    for one, other in zip(lines, whole, strict=True):  # batches differ after a kill, and so does rounding
        assert one.keys() == other.keys() and one.get("error") == other.get("error")
        labels, scores = ([guess[key] for guess in one.get("predictions", [])] for key in ("label", "score"))
        assert labels == [guess["label"] for guess in other.get("predictions", [])]
        assert scores == pytest.approx([guess["score"] for guess in other.get("predictions", [])], rel=1e-5)
