"""States are written whole or not at all, beside their place, and a run's folder is used by one training at a time."""

import errno
import os
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.fabric.plugins import TorchCheckpointIO

from multiattn.errors import MultiattnError
from multiattn.tasks.states import RunStates, WholeFileIO, lock_run, write_whole_states
from multiattn.tasks.training import _system_message


def test_a_state_does_not_go_through_the_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "no" / "such" / "folder"))
    path = tmp_path / "checkpoints" / "a.ckpt"
    WholeFileIO().save_checkpoint({"x": torch.arange(5)}, path)
    assert WholeFileIO().load_checkpoint(path, weights_only=True)["x"].tolist() == [0, 1, 2, 3, 4]
    assert list(path.parent.iterdir()) == [path]


def test_a_full_disk_leaves_the_state_that_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.ckpt"
    WholeFileIO().save_checkpoint({"x": 1}, path)

    def full(state: Any, file: Any) -> None:
        file.write(b"torn")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space left on device") as raised:
        WholeFileIO().save_checkpoint({"x": 2}, path)
    assert _system_message(raised.value) == f"{path}: No space left on device"
    assert WholeFileIO().load_checkpoint(path, weights_only=True) == {"x": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_the_first_error_is_told_and_defects_are_not_hidden() -> None:
    second = OSError(errno.ENOSPC, "No space left on device")
    second.__context__ = OSError(errno.ENOSPC, "No space left on device", "a.ckpt")
    assert _system_message(second) == "a.ckpt: No space left on device"
    assert _system_message(OSError(errno.EIO, "Input/output error")) == "cannot write: Input/output error"
    defect = TypeError("a defect")
    defect.__context__ = second
    assert _system_message(defect) is None
    assert _system_message(OSError("of a library")) is None


def test_a_way_of_ones_own_to_write_states_stays() -> None:
    class Own(TorchCheckpointIO):
        pass

    for given, kept in ((TorchCheckpointIO(), WholeFileIO), (Own(), Own)):
        trainer: Any = SimpleNamespace(strategy=SimpleNamespace(checkpoint_io=given))
        write_whole_states(trainer)
        assert type(trainer.strategy.checkpoint_io) is kept


def test_one_training_at_a_time(tmp_path: Path) -> None:
    stale = tmp_path / "run" / "checkpoints" / ".a.ckpt.0123456789ab.part"
    stale.parent.mkdir(parents=True)
    stale.touch()
    lock = lock_run(tmp_path / "run")
    assert lock is not None
    assert not stale.exists()
    with pytest.raises(MultiattnError, match="the folder of the run, .*, must be a folder that no other"):
        lock_run(tmp_path / "run")
    lock.release()
    assert lock_run(tmp_path / "run") is not None
    assert lock_run("s3://bucket/run") is None


def test_states_are_ordered_by_their_steps_and_are_files_or_folders(tmp_path: Path) -> None:
    states = RunStates(tmp_path)
    assert states.newest() is None
    states.folder.mkdir()
    for step, kind in ((23, "file"), (7, "folder"), (5, "file"), (11, "folder")):
        path = states.at(step)
        if kind == "folder":
            (path / "shards").mkdir(parents=True)
        path.touch()
        os.utime(path, (1e9 - step, 1e9 - step))  # a machine with a wrong clock wrote the later ones
    assert states.newest() == states.at(23)
    states.keep(11, number=2)  # a training that began again, before 11
    assert states.all() == [states.at(7), states.at(11)]
    states.keep(11, number=1)
    assert states.all() == [states.at(11)]
