"""The states of a training: when they are written, and what ends it early."""

import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch.callbacks import Checkpoint

from multiattn.checks import require
from multiattn.errors import ModelError
from multiattn.writing import FolderLock

from .. import resuming
from ..states import RunStates, lock_run, requeue, write_whole_states
from ..stopping import SIGNALS, Stopped
from .common import callbacks_of, is_trial
from .divergence import Divergence
from .ema import EMA

_ONE_SIGNAL = 1.0
"""Seconds within which a second signal is the first one: torchrun passes on what its whole group has got."""


class ResumeCheckpoint(Checkpoint):
    """States of a training: saved every `every_n_steps`, after each epoch, and where a signal ends it.

    Ctrl-C, SIGTERM and SIGUSR1 let the batch end, of training or validation, and save; a second one ends at once.

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
        self.start: Path | None = None  # the state that this training goes on from; the command line sets it
        self.configuration: Mapping[str, Any] = {}  # see `resuming`; the command line sets it
        self._seen_step = 0
        self._states: RunStates | None = None  # of the current training, where it keeps any
        self._lock: FolderLock | None = None
        self._signal: int | None = None  # that asked this process to end
        self._signal_time = 0.0
        self._leaving: int | None = None  # the signal by which all processes end
        self._checked_batches = 0  # of validation, in which the processes ask each other for signals
        self._before: dict[int, Any] = {}

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Take the run's folder for this process; have states written whole or not at all; leave signals to us.

        Raises:
            ModelError: Several processes start from different states.
            MultiattnError: Another training uses the folder.
        """
        write_whole_states(trainer)
        # Lightning would answer SIGTERM by a broadcast from within the handler, which waits for ever where the others
        # are busy, and SLURM's signal by a state of its own in another place
        trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]
        if stage != "fit" or is_trial(trainer):
            return
        if trainer.world_size > 1:
            self._require_one_start(trainer)
        if trainer.is_global_zero:
            self._lock = lock_run(trainer.default_root_dir)

    def _require_one_start(self, trainer: pl.Trainer) -> None:
        own = "" if self.start is None else self.start.name
        first = trainer.strategy.broadcast(own)
        if trainer.strategy.reduce_boolean_decision(own != first, all=False):
            raise ModelError(
                f"{RunStates(trainer.default_root_dir).folder} must be the same folder for all processes, but process "
                f"{trainer.global_rank} found {own or 'no state'} there, and process 0 found {first or 'none'}. Put "
                " `--trainer.default_root_dir` on a disk that all machines share."
            )

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Handle signals from here on."""
        self._seen_step = trainer.global_step
        self._states = None if is_trial(trainer) else RunStates(trainer.default_root_dir)
        self._signal = self._leaving = None
        if threading.current_thread() is threading.main_thread():  # others may not set handlers
            environment = trainer._accelerator_connector.cluster_environment
            also = environment.requeue_signal if isinstance(environment, SLURMEnvironment) else None
            numbers = {*SIGNALS, *([also] if also is not None else [])}
            self._before = {number: signal.signal(number, self._note_signal) for number in numbers}

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Restore the handlers of signals, and release the run's folder."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Do the same; and an error of the system that names no file, such as a logger's, is about the run's folder."""
        has_trained = bool(self._before)
        self.teardown(trainer, pl_module, "fit")
        if isinstance(exception, OSError) and exception.errno is not None and exception.filename is None:
            exception.filename = str(trainer.default_root_dir)
        launcher = trainer.strategy.launcher
        if isinstance(exception, Stopped) and not has_trained and launcher is not None:
            launcher.kill(signal.SIGTERM)  # the processes that this one has started know nothing of the signal yet

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep the configuration; and let a state from within a validation resume with the whole of it."""
        if self.configuration:
            checkpoint[resuming.KEY] = dict(self.configuration)
        if trainer.validating:
            # as after the start of its first batch: Lightning goes back to such a validation, and these are its counts
            progress = checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]
            for name, count in (("ready", 1), ("started", 1), ("processed", 0), ("completed", 0)):
                progress["total"][name], progress["current"][name] = count, 0
            progress["is_last_batch"] = False
        elif not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            # stopped within an epoch, by `max_steps` or `max_time`: Lightning has counted the epoch as done by now
            for counts in checkpoint["loops"]["fit_loop"]["epoch_progress"].values():
                counts["processed"] = min(counts["processed"], max(0, counts["started"] - 1))

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save after every `every_n_steps` steps, or when a signal has come to any process."""
        if trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            return
        if trainer.global_step == self._seen_step:  # a gradient is being accumulated, which no state holds
            return
        self._seen_step = trainer.global_step
        self._leaving = self._signal_anywhere(trainer)
        if self._leaving or (self.every_n_steps and trainer.global_step % self.every_n_steps == 0):
            self._save(trainer)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Stop after a signal: only now have the loggers written the last batch."""
        if self._leaving:
            raise self._stopped(trainer, self._leaving)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Agree in how many batches the processes ask each other for signals: some may have fewer batches."""
        own = torch.tensor(float(sum(trainer.num_val_batches)), device=pl_module.device)
        fewest = own if trainer.world_size == 1 else trainer.strategy.reduce(own, reduce_op="min")
        self._checked_batches = int(fewest.clamp(max=2**31).item())

    def on_validation_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Save and stop after a signal; the validation begins again when the training goes on."""
        if trainer.state.fn != "fit" or trainer.sanity_checking or batch_idx >= self._checked_batches:
            return
        if (number := self._signal_anywhere(trainer)) is None:
            return
        for callback in callbacks_of(trainer):
            if isinstance(callback, EMA):
                callback.on_validation_epoch_end(trainer, pl_module)  # the weights that are trained, in their place
        self._save(trainer)
        raise self._stopped(trainer, number)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save, and stop after a signal."""
        self._save(trainer)
        if (number := self._signal_anywhere(trainer)) is not None:
            raise self._stopped(trainer, number)

    def _stopped(self, trainer: pl.Trainer, number: int) -> Stopped:
        if trainer.is_global_zero:
            environment = trainer._accelerator_connector.cluster_environment
            if isinstance(environment, SLURMEnvironment) and environment.auto_requeue:
                if number == environment.requeue_signal:
                    requeue()
        return Stopped(number, None if self._states is None else self._states.newest())

    def _save(self, trainer: pl.Trainer) -> None:
        if self._states is None:
            return
        guards = [callback for callback in callbacks_of(trainer) if isinstance(callback, Divergence)]
        if not all([guard.is_sound(trainer, trainer.lightning_module) for guard in guards]):
            return  # the last finite state stays the newest
        step = trainer.global_step
        trainer.save_checkpoint(self._states.at(step), weights_only=False)  # all processes take part
        if trainer.is_global_zero:
            self._states.keep(step, number=self.keep)

    def _signal_anywhere(self, trainer: pl.Trainer) -> int | None:
        """The number of the signal that has come to any process; the largest where they differ."""
        if trainer.world_size == 1:
            return self._signal
        own = torch.tensor(self._signal or 0, device=trainer.strategy.root_device)
        return int(trainer.strategy.reduce(own, reduce_op="max")) or None

    def _note_signal(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._signal is not None:
            if now - self._signal_time < _ONE_SIGNAL:
                return
            raise Stopped(number, None if self._states is None else self._states.newest())
        self._signal, self._signal_time = number, now
        again = "Press Ctrl-C again" if number == signal.SIGINT else "Send it again"
        name = "" if number == signal.SIGINT else f"{signal.Signals(number).name}: "
        print(f"{name}Stopping after this batch. {again} to stop at once.", file=sys.stderr, flush=True)
