"""The states of a training: when they are written, and what ends it early."""

import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Checkpoint

from multiattn.checks import require
from multiattn.errors import ModelError
from multiattn.writing import FolderLock

from ..states import RunStates, lock_run, write_whole_states
from ..stopping import Stopped
from .common import is_trial


class ResumeCheckpoint(Checkpoint):
    """States of a training, for `--ckpt_path last`: saved every `every_n_steps`, after each epoch, and at Ctrl-C.

    A state that Lightning's `ModelCheckpoint` saves after the last batch of an epoch resumes without the validation
    that should follow. Here nothing is saved after that batch, but at the end of the epoch, after validation.
    """

    def __init__(self, every_n_steps: int = 500, keep: int = 2) -> None:
        """Set how often to save.

        Args:
            every_n_steps: Optimizer steps between two states; 0 saves after epochs only.
            keep: The number of states that are kept; older ones are removed.
        """
        require(every_n_steps >= 0, "every_n_steps", must="at least 0", value=every_n_steps)
        require(keep >= 1, "keep", must="at least 1", value=keep)
        self.every_n_steps, self.keep = every_n_steps, keep
        self._seen_step = 0
        self._states: RunStates | None = None  # of the current training, where it keeps any
        self._lock: FolderLock | None = None
        self._interrupted = self._leaving = False
        self._before: Any = None

    @classmethod
    def require_own(cls, run: str | Path, *, start: str | None) -> None:
        """Make sure that the states in a run's folder belong to the training that is about to start.

        Args:
            run: The run's folder.
            start: The state to resume from.

        Raises:
            ModelError: There are states, and `start` is not one of them.
        """
        states = RunStates(run)
        if states.newest() is None or (start and Path(start).resolve().is_relative_to(Path(run).resolve())):
            return
        raise ModelError(
            f"{states.folder}: another training has its states here, and this one would replace them. Go on with it "
            "by `--ckpt_path last`, or give this one a folder by `--trainer.default_root_dir`, or remove that one."
        )

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Take the run's folder for this process; have states written whole or not at all.

        Raises:
            MultiattnError: Another training uses the folder.
        """
        write_whole_states(trainer)
        if stage == "fit" and trainer.is_global_zero and not is_trial(trainer):
            self._lock = lock_run(trainer.default_root_dir)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Handle Ctrl-C from here on."""
        self._seen_step = trainer.global_step
        self._states = None if is_trial(trainer) else RunStates(trainer.default_root_dir)
        self._before = signal.signal(signal.SIGINT, self._note_interrupt)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Restore the handler of Ctrl-C, and release the run's folder."""
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Do the same; and an error of the system that names no file, such as a logger's, is about the run's folder."""
        self.teardown(trainer, pl_module, "fit")
        if isinstance(exception, OSError) and exception.errno is not None and exception.filename is None:
            exception.filename = str(trainer.default_root_dir)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save after every `every_n_steps` steps, or when Ctrl-C was pressed in any process."""
        if trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            return
        if trainer.global_step == self._seen_step:  # a gradient is being accumulated, which no state holds
            return
        self._seen_step = trainer.global_step
        self._leaving = self._interrupted_anywhere(trainer)
        if self._leaving or (self.every_n_steps and trainer.global_step % self.every_n_steps == 0):
            self._save(trainer)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Stop after Ctrl-C: only now have the loggers written the last batch."""
        if self._leaving:
            raise self._stopped()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save, and stop after Ctrl-C."""
        self._save(trainer)
        if self._interrupted_anywhere(trainer):
            raise self._stopped()

    def _stopped(self) -> Stopped:
        return Stopped(None if self._states is None else self._states.newest())

    def _save(self, trainer: pl.Trainer) -> None:
        if self._states is None:
            return
        step = trainer.global_step
        trainer.save_checkpoint(self._states.at(step), weights_only=False)  # all processes take part
        if trainer.is_global_zero:
            self._states.keep(step, number=self.keep)

    def _interrupted_anywhere(self, trainer: pl.Trainer) -> bool:
        if trainer.world_size == 1:
            return self._interrupted
        return trainer.strategy.reduce_boolean_decision(self._interrupted, all=False)

    def _note_interrupt(self, number: int, frame: FrameType | None) -> None:
        if self._interrupted:
            raise self._stopped()
        self._interrupted = True
        print("Stopping after this batch. Press Ctrl-C again to stop at once.", file=sys.stderr, flush=True)
