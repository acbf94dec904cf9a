"""`--engine ray`: a cluster of two workers on this machine, of which one is killed."""

import json
import tempfile
from pathlib import Path
from unittest.mock import MagicMock

import pytest

from multiattn.cli.engines import ray_actors
from multiattn.deploy import ray_cluster
from multiattn.errors import MultiattnError
from tests.cli.engines.killed import Killed, arguments
from tests.ray_marks import RAY

pytestmark = [pytest.mark.process, *RAY]


@pytest.fixture
def folders(tmp_path, monkeypatch) -> Path:
    """The folder for temporary files; a path in which Ray's sockets fit."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="r") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


def test_a_killed_worker_loses_nothing_and_repeats_nothing(tmp_path, folders, capfd) -> None:
    names = [*(f"{i}.png" for i in range(9)), "once.png", *(f"{i}.png" for i in range(9, 30))]
    args = arguments(tmp_path, *names)
    args.engine = "ray"
    assert Killed(args).run() == 0
    lines = [json.loads(line) for line in (tmp_path / "r").read_text().splitlines()]
    assert [Path(line["file"]).name for line in lines] == names
    assert len({line["process"] for line in lines}) >= 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("multiattn: --engine ray: a worker ended (ActorDied); the ")
    assert err.count("\n") == 1
    assert list(folders.iterdir()) == []


def test_no_cluster(tmp_path, folders, capfd) -> None:
    args = arguments(tmp_path, "0.png")
    args.engine, args.address = "ray", "127.0.0.1:1"
    with pytest.raises(
        MultiattnError, match=r"^--address 127\.0\.0\.1:1 must lead to a Ray cluster, but does not instead"
    ):
        Killed(args).run()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("total", "free", "uses_gpus", "has"),
    [
        (
            {"CPU": 5.0, "GPU": 7.0},
            {"CPU": 1.0, "GPU": 2.0},
            True,
            "1 GPU of the cluster for each of 3 workers, but 2 of 7",
        ),
        ({"CPU": 2.0, "GPU": 7.0}, {"GPU": 7.0}, False, "0.5 CPU of the cluster for each of 3 workers, but 0 of 2"),
    ],
)
def test_no_room(monkeypatch, total, free, uses_gpus, has) -> None:
    ray = MagicMock()
    ray.cluster_resources.return_value, ray.available_resources.return_value = total, free
    ray.wait.side_effect = lambda answers, **_: ([], answers)
    monkeypatch.setattr(ray_cluster, "ray_module", lambda **_: ray)
    monkeypatch.setattr(ray_cluster, "reach", lambda address: None)
    monkeypatch.setattr(ray_actors, "PATIENCE", -1.0)
    workers = ray_actors.RayActors(b"", 3, address="a:1", uses_gpus=uses_gpus)
    workers.start(0)
    with pytest.raises(MultiattnError, match=f"^--engine ray must have {has} have been free for -1 s instead: wait"):
        workers.wait()


@pytest.mark.slow
def test_a_picture_that_ends_each_worker_is_reported_after_three_at_most(tmp_path, folders, capfd) -> None:
    names = [*(f"{i}.png" for i in range(9)), "always.png", *(f"{i}.png" for i in range(9, 30))]
    args = arguments(tmp_path, *names)
    args.engine = "ray"
    assert Killed(args).run() == 1
    lines = [json.loads(line) for line in (tmp_path / "r").read_text().splitlines()]
    assert [Path(line["file"]).name for line in lines] == names
    assert [Path(line["file"]).name for line in lines if "error" in line] == ["always.png"]
    # it ends a worker with its chunk, perhaps with its batch, and alone; Ray itself tries nothing again
    assert capfd.readouterr().err.count("--engine ray: a worker ended (ActorDied); ") in (2, 3)


@pytest.mark.slow
def test_maps_are_those_of_one_process(run, model, tmp_path, folders) -> None:
    command = ["classify", "assets/inputs", "--model", model, "--format", "json"]
    assert run(*command, "--engine", "ray", "--maps", tmp_path / "m") == run(*command, "--maps", tmp_path / "m")
