"""The states of a training: where a run keeps them, how they are written, and the lock on the folder of a run."""

import os
import shutil
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins import TorchCheckpointIO

from multiattn.writing import FolderLock, remove_parts, whole_file


class RunStates:
    """The states that a run keeps to resume from, a file each, or a folder where a strategy writes several files.

    Their order is that of the steps in their names: clocks of several machines may differ.
    """

    def __init__(self, run: str | Path) -> None:
        self.folder = Path(run) / "checkpoints"

    def at(self, step: int) -> Path:
        """The path of the state after a number of optimizer steps."""
        return self.folder / f"step-{step:09d}.ckpt"

    def all(self) -> list[Path]:
        """The paths of the states, by their steps."""
        return sorted(self.folder.glob("step-*.ckpt"))

    def newest(self) -> Path | None:
        """The path of the state with the most steps; None where there is none."""
        return max(self.all(), default=None)

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
