"""The states of a training: where a run keeps them, how they are read and written, and the lock on a run's folder."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins import TorchCheckpointIO

from multiattn.errors import ModelError, reading
from multiattn.weights.tensor_files import load_pickled
from multiattn.writing import FolderLock, remove_parts, whole_file

TRAINED = "current_model_state"
"""The key of the weights that are trained, in a state whose `state_dict` has averages of them; Lightning's name."""

_OF_ANY = ("state_dict", "pytorch-lightning_version")
_OF_FIT = ("optimizer_states", "lr_schedulers", "loops", "epoch", "global_step")  # what a training resumes from


class RunStates:
    """The states that a run keeps to resume from, a file each, or a folder where a strategy writes several files.

    Their order is that of the steps in their names: clocks of several machines may differ.
    """

    def __init__(self, run: str | Path) -> None:
        self.folder = Path(run) / "checkpoints"
        self.best = Path(run) / "best" / "best.ckpt"  # with the best validation, where a callback keeps it

    def at(self, step: int) -> Path:
        """The path of the state after a number of optimizer steps."""
        return self.folder / f"step-{step:09d}.ckpt"

    def all(self) -> list[Path]:
        """The paths of the states, by their steps."""
        return sorted(self.folder.glob("step-*.ckpt"))

    def newest(self) -> Path | None:
        """The path of the state with the most steps; None where there is none."""
        return max(self.all(), default=None)

    def newest_whole(self, verb: str) -> tuple[Path, dict[str, Any], list[str]] | None:
        """Find the newest state that is not damaged.

        Args:
            verb: What it is for, see `read_state`.

        Returns:
            Its path, its values (see `read_state`), and for each later state the reason why it cannot be; None where no
            state is there.

        Raises:
            ModelError: There are states, but all of them are damaged.
        """
        reasons: list[str] = []
        for path in reversed(self.all()):
            try:
                return path, read_state(path, verb, thorough=True), reasons
            except ModelError as error:
                reasons.append(str(error))
        if reasons:
            raise ModelError(
                f"{self.folder}: no state can be resumed from: {reasons[0]} Remove the folder to start anew, or give "
                "this training another one by `--trainer.default_root_dir`."
            )
        return None

    def keep(self, step: int, *, number: int) -> None:
        """Remove all but a number of states up to `step`.

        Later ones go, too: they are from an earlier run of the same steps, and `newest` must not find them.
        """
        states = self.all()
        end = sum(path <= self.at(step) for path in states)
        for path in states[: max(0, end - number)] + states[end:]:
            remove_state(path)


def remove_state(path: Path) -> None:
    """Remove a state, which is a file or a folder."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def read_state(path: Path, verb: str, *, thorough: bool = False) -> dict[str, Any]:
    """Read a state of a training but for the values of its tensors, before Lightning reads it.

    Args:
        path: The file, or the folder.
        verb: What it is for: `fit` needs more of it than others.
        thorough: Compare the tensors with their checksums, too, which takes the time to read the whole file.

    Returns:
        What Lightning saved, with tensors on the meta device.

    Raises:
        ModelError: There is no such file, it cannot be read, or it is no state.
    """
    with reading(str(path), "a state of a training", error=ModelError):
        is_there = path.exists()
    if not is_there:
        raise ModelError(f"{path}: there is no such file. `--ckpt_path last` finds the newest state of the run.")
    state = _read_folder(path, thorough=thorough) if path.is_dir() else _read_file(path, thorough=thorough)
    needed = (*_OF_ANY, *(_OF_FIT if verb == "fit" else ()))
    if lacking := [name for name in needed if not isinstance(state, dict) or name not in state]:
        raise ModelError(
            f"{path} must be a state of a training, but lacks `{lacking[0]}` instead. `--ckpt_path last` finds the "
            "newest state of the run; the weights of a model's directory go under `model` in the configuration."
        )
    assert isinstance(state, dict)
    return state


def _read_folder(path: Path, *, thorough: bool) -> dict[str, Any]:
    from .sharded_states import read_folder  # with which torch imports its compiler

    return read_folder(path, thorough=thorough)


def _read_file(path: Path, *, thorough: bool) -> Any:
    state = load_pickled(path, holds="a state of Lightning alone", on_meta=True)
    if thorough and zipfile.is_zipfile(path):
        with reading(str(path), "a whole file", error=ModelError), zipfile.ZipFile(path) as archive:
            if damaged := archive.testzip():
                raise ValueError(f"the checksum of {damaged} does not fit its content")
    return state


class WholeFileIO(TorchCheckpointIO):
    """Lightning's reading and writing of states, but a state on a disk is written beside its place and renamed.

    Lightning 2.6 writes it to the system's temporary folder first, which may be small or another disk.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a state, whole or not at all.

        Args:
            checkpoint: The state.
            path: The file; missing folders are made. An address (`s3://...`) is left to Lightning.
            storage_options: Must be None, as for Lightning's own.

        Raises:
            OSError: The file cannot be written; its `filename` is `path`. A state that was there stays.
        """
        if storage_options is not None or "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as part, part.open("wb") as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())  # a new name must not outlive a power cut without its content


def write_whole_states(trainer: pl.Trainer) -> None:
    """Let a trainer write its states by `WholeFileIO`, unless it was given a way of its own."""
    if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
        trainer.strategy.checkpoint_io = WholeFileIO()


def lock_run(run: str | Path) -> FolderLock | None:
    """Make the folder of a run, take it for this process, and remove unfinished files of a process that was killed.

    Returns:
        The lock; None for an address.

    Raises:
        MultiattnError: Another training uses the folder.
        OSError: It cannot be made.
    """
    if "://" in str(run):
        return None
    folder = Path(run)
    folder.mkdir(parents=True, exist_ok=True)
    lock = FolderLock(folder, subject=f"the folder of the run, {folder},")
    for one in (folder, *(folder / name for name in ("checkpoints", "best", "model", "maps"))):
        if one.is_dir():
            remove_parts(one)
    return lock


def requeue() -> None:
    """Let SLURM put the current job into its queue again, as Lightning does it; say so where it cannot."""
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    job = f"{array}_{os.environ.get('SLURM_ARRAY_TASK_ID')}" if array else os.environ.get("SLURM_JOB_ID", "")
    try:
        subprocess.run(["scontrol", "requeue", job], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"SLURM's `scontrol requeue {job}` fails: {error}. Submit the job again.", file=sys.stderr, flush=True)
