"""Shards as inputs of the commands that predict: samples by name, a damaged shard, and an interrupted run."""

import io
import json
import pickle
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from multiattn.cli.inputs import find_inputs
from multiattn.data.shards import store
from multiattn.inputs.fetch import WebFile
from multiattn.inputs.files import PICTURES, RECORDINGS
from multiattn.inputs.walk import Unusable
from tests.fixtures import save_drawing


def pack(file: Path, *members: tuple[str, bytes]) -> Path:
    """Write a shard as Python's tarfile does."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w") as shard:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            shard.addfile(info, io.BytesIO(data))
    return file


def write_index(out: Path, *names: str) -> None:
    splits = {"train": {"items": 5, "shards": [{"name": name, "items": 1} for name in names]}}
    about = {"format": "multiattn shards", "version": 1, "task": "classify", "splits": splits}
    (out / "index.json").write_text(json.dumps(about))


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """A split of three shards of another program: of five pictures one is none, and the last shard ends too early."""
    pictures = []
    for number in range(5):
        save_drawing(tmp_path / "p" / f"{number}.png", number, size=(31, 29))
        pictures.append((tmp_path / "p" / f"{number}.png").read_bytes())
    split = tmp_path / "out" / "train"
    label = ("a.json", b'{"label": "x"}')
    pack(split / "000000.tar", ("a.png", pictures[0]), label, ("deep/" + 120 * "ü" + ".png", pictures[1]))
    pack(split / "000001.tar", ("bad.png", b"none"), ("._b.png", b"none"), ("b.png", pictures[2]))
    last = pack(split / "000002.tar", ("c.png", pictures[3]), ("d.png", pictures[4]))
    cut = last.read_bytes().index(pictures[4]) + 100
    last.write_bytes(last.read_bytes()[:cut])
    return split


NAMES = ["000000.tar/a.png", f"000000.tar/deep/{120 * 'ü'}.png", "000001.tar/bad.png", "000001.tar/b.png"]
NAMES += ["000002.tar", "000002.tar/c.png"]


def test_samples_are_results_by_their_names_and_an_interrupted_run_goes_on(run, model, shards, tmp_path) -> None:
    out = tmp_path / "r"
    pattern = f"{shards}/{{000000..000002}}.tar"
    command = ["classify", pattern, "--model", model, "--format", "json", "--batch-size", "2", "--out", out]
    outcome = run(*command)
    whole = out.read_bytes()
    lines = [json.loads(line) for line in whole.splitlines()]
    assert [line["file"] for line in lines] == [f"{shards}/{name}" for name in NAMES]
    assert [line["file"][-7:] for line in lines if "error" in line] == ["bad.png", "002.tar"]
    assert outcome.status == 1 and outcome.err.splitlines()[-1] == "multiattn: 2 of 6 inputs could not be used"
    assert f"`{shards}/000002.tar` must be a whole shard, but ends after" in outcome.err
    run("classify", tmp_path / "p", "--model", model, "--format", "json", "--batch-size", "2", "--out", tmp_path / "f")
    files = [json.loads(line)["predictions"] for line in (tmp_path / "f").read_text().splitlines()]
    assert [line["predictions"][0]["label"] for line in lines if "error" not in line] == [
        one[0]["label"] for one in files[:4]
    ]
    (tmp_path / "r.part").write_bytes(whole[: whole.index(b"000001.tar/b.png")])
    out.unlink()
    assert run(*command, "--resume").status == 1
    assert out.read_bytes() == whole


@pytest.mark.slow
@pytest.mark.process
def test_processes_read_samples_of_a_folder_with_an_index(run, model, shards, tmp_path) -> None:
    write_index(shards.parent, *(f"{number:06}.tar" for number in range(3)))
    command = ["classify", "--model", model, "--format", "json", "--maps", tmp_path / "m", "--batch-size", "1"]
    expected = run(*command, shards.parent)
    assert [json.loads(line)["file"] for line in expected.out.splitlines()] == [f"{shards}/{name}" for name in NAMES]
    assert run(*command, shards, "--processes", "2", "--maps", tmp_path / "m2").out.replace("/m2/", "/m/") == (
        expected.out
    )
    assert sorted(file.name for file in (tmp_path / "m2").iterdir()) == sorted(
        file.name for file in (tmp_path / "m").iterdir()
    )


@pytest.fixture
def server(shards, monkeypatch) -> Iterator[tuple[str, list[str]]]:
    """The address of the split, and the paths that were asked for."""
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            super().do_GET()

        def log_message(self, *words: object) -> None:
            pass

    monkeypatch.setattr(store.fetch, "__kwdefaults__", store.fetch.__kwdefaults__ | {"pauses": (0.0,)})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(shards))) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}", asked
        http.shutdown()


def test_shards_at_an_address_are_fetched_once(run, model, shards, server, tmp_path) -> None:
    address, asked = server
    (shards / "000001.tar").rename(shards / "000003.tar")
    command = ["classify", "--model", model, "--format", "json", "--maps"]
    here = run(*command, tmp_path / "m", *sorted(shards.glob("*.tar")))
    there = run(*command, tmp_path / "n", f"{address}/{{000000..000003}}.tar")
    gone = f"{address}/000001.tar"
    told = f"`{gone}` must be a file that can be fetched, but the server answers 404 File not found instead."
    assert told in there.err and "(tried 2 times)" in there.err
    lines = {line["file"]: line for line in map(json.loads, there.out.splitlines())}
    assert lines.pop(gone)["error"].startswith(told)
    for line in map(json.loads, here.out.splitlines()):
        found = lines.pop(line["file"].replace(str(shards), address))
        assert found.get("predictions") == line.get("predictions") and ("error" in found) == ("error" in line)
    assert lines == {}
    assert asked == [f"/{number:06}.tar" for number in (0, 1, 1, 2, 3)]
    # another process reads what this one has fetched
    file = next(iter(find_inputs([f"{address}/000003.tar"])))
    copy = pickle.loads(pickle.dumps(file))
    assert copy.open(PICTURES).read() == b"none" and len(asked) == 6


def test_what_is_no_shard_is_named(shards, tmp_path) -> None:
    def found(*paths: object, **options: object) -> list[str]:
        return [
            str(one.error if isinstance(one, Unusable) else one)
            for one in find_inputs([str(path) for path in paths], **options)
        ]

    (error,) = found(shards / "000001.tar", kind=RECORDINGS)
    assert error == f"`{shards}/000001.tar` must hold at least one recording, but holds none instead."
    (error,) = found(f"{shards}/{{2..1}}.tar")
    assert "must have rising ranges" in error
    (error,) = found(f"{shards}/{{000003..000003}}.tar")
    assert "missing" in error
    # an index.json of somebody else is no index
    (tmp_path / "p" / "index.json").write_text('{"format": "of mine"}')
    assert found(tmp_path / "p") == [f"{tmp_path}/p/{number}.png" for number in range(5)]
    (tmp_path / "out" / "index.json").write_text('{"format": "multiattn shards", "version": 9}')
    (error,) = found(tmp_path / "out")
    assert "must be the index of shards, in version 1" in error
    write_index(tmp_path / "out", "gone.tar")
    (error,) = found(shards)
    assert error == f"`{shards}/gone.tar` must be a shard, but opening it fails instead: No such file or directory."


def test_streams_go_to_other_processes() -> None:
    assert str(pickle.loads(pickle.dumps(WebFile("https://example.org/a.png")))) == "https://example.org/a.png"
