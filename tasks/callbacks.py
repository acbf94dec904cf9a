"""Callbacks of the training: averaged weights, checkpoints and Ctrl-C, the model directory, lines of progress.

They write to the folder of the run (`trainer.default_root_dir`, RUN below).
"""

import json
import signal
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback, Checkpoint, ModelCheckpoint, WeightAveraging
from torch import Tensor

from multiattn.checks import require
from multiattn.errors import ModelError
from multiattn.registry import task_spec
from multiattn.weights import save_bundle
from multiattn.weights.tensor_files import load_pickled
from multiattn.writing import FolderLock, naming

from .base import BaseTask
from .loading.datamodule import data_of
from .states import lock_run, write_whole_states
from .stopping import Stopped


def is_trial(trainer: pl.Trainer) -> bool:
    """Whether the trainer only tries a few batches (`fast_dev_run`), and so writes nothing."""
    return bool(getattr(trainer, "fast_dev_run", False))


def validation_metrics(trainer: pl.Trainer) -> dict[str, float]:
    """The last metrics of the validation split, sorted by name."""
    return {key: float(value) for key, value in sorted(trainer.callback_metrics.items()) if key.startswith("val/")}


class EMA(WeightAveraging):
    """An exponential moving average of the weights: validated, exported and saved in place of the raw weights.

    The decay grows with the number of updates n, as `min(decay, (1 + n) / (10 + n))`, so that the random weights of the
    beginning lose their influence soon, also in a short training.
    Source: TensorFlow's `ExponentialMovingAverage`, `num_updates`.
    """

    def __init__(self, decay: float = 0.999) -> None:
        require(0 <= decay < 1, "decay", must="at least 0 and below 1", value=decay)

        @torch.no_grad()
        def average(averages: Sequence[Tensor], current: Sequence[Tensor], updates: Tensor | int) -> None:
            if averages[0].is_floating_point():
                n = int(updates)
                torch._foreach_lerp_(list(averages), list(current), 1 - min(decay, (1 + n) / (10 + n)))
            else:
                torch._foreach_copy_(list(averages), list(current))  # counters

        # buffers too: the running statistics of a BatchNorm must be those of the averaged weights, not of the raw ones
        super().__init__(use_buffers=True, multi_avg_fn=average)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Copy the weights, on their device."""
        with warnings.catch_warnings():  # about `configure_model`, which builds the same model on every device here
            warnings.filterwarnings("ignore", "You're using the WeightAveraging callback with a model that overrides")
            super().setup(trainer, pl_module, stage)


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
        self._run: Path | None = None  # the folder of the current training, where it keeps states
        self._lock: FolderLock | None = None
        self._interrupted = self._leaving = False
        self._before: Any = None

    @staticmethod
    def folder(run: str | Path) -> Path:
        """The folder with the states of a run."""
        return Path(run) / "checkpoints"

    @classmethod
    def newest(cls, run: str | Path) -> Path | None:
        """The newest state of a run; None where there is none."""
        return max(cls.folder(run).glob("step-*.ckpt"), default=None)  # names have the steps with leading zeros

    @classmethod
    def require_own(cls, run: str | Path, *, start: str | None) -> None:
        """Make sure that the states in a run's folder belong to the training that is about to start.

        Args:
            run: The run's folder.
            start: The state to resume from.

        Raises:
            ModelError: There are states, and `start` is not one of them.
        """
        if cls.newest(run) is None or (start and Path(start).resolve().is_relative_to(Path(run).resolve())):
            return
        raise ModelError(
            f"{cls.folder(run)}: another training has its states here, and this one would replace them. Go on with it "
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
        self._run = None if is_trial(trainer) else Path(trainer.default_root_dir)
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
        return Stopped(None if self._run is None else self.newest(self._run))

    def _save(self, trainer: pl.Trainer) -> None:
        if self._run is None:
            return
        folder = self.folder(self._run)
        path = folder / f"step-{trainer.global_step:09d}.ckpt"
        trainer.save_checkpoint(path, weights_only=False)  # all processes take part
        if trainer.is_global_zero:
            states = sorted(folder.glob("step-*.ckpt"))
            here = states.index(path) + 1
            # later states are from an earlier run of the same steps: `last` must not find them
            for old in states[: max(0, here - self.keep)] + states[here:]:
                old.unlink()

    def _interrupted_anywhere(self, trainer: pl.Trainer) -> bool:
        if trainer.world_size == 1:
            return self._interrupted
        return trainer.strategy.reduce_boolean_decision(self._interrupted, all=False)

    def _note_interrupt(self, number: int, frame: FrameType | None) -> None:
        if self._interrupted:
            raise self._stopped()
        self._interrupted = True
        print("Stopping after this batch. Press Ctrl-C again to stop at once.", file=sys.stderr, flush=True)


class BestCheckpoint(ModelCheckpoint):
    """The state with the best validation, in `RUN/best/best.ckpt`; `ModelDirectory` exports it."""

    def __init__(self, monitor: str = "val/top1", mode: Literal["min", "max"] = "max") -> None:
        super().__init__(filename="best", monitor=monitor, mode=mode, enable_version_counter=False)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Set a fixed folder: Lightning's default is a new one at each start, where the best state would be missing."""
        self.dirpath = str((Path(trainer.default_root_dir) / "best").resolve())
        write_whole_states(trainer)
        super().setup(trainer, pl_module, stage)


class ModelDirectory(Callback):
    """Write the trained model to `RUN/model`, for the task's command and `multiattn.load`."""

    def __init__(self, weights: Literal["best", "final"] = "best", half: bool = False) -> None:
        """Choose the weights.

        Args:
            weights: `best`: those of the checkpoint with the best monitored value, where the trainer has such a
                callback. `final`: those of the end, for which the validation split decides about nothing.
            half: Store them in float16.
        """
        self.weights, self.half = weights, half

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the directory; the module has the averaged weights by now."""
        if is_trial(trainer) or not trainer.is_global_zero:
            return
        best = self._best(trainer)
        if best is not None:
            pl_module.load_state_dict(load_pickled(Path(best), holds="its `state_dict`")["state_dict"])
        directory = Path(trainer.default_root_dir) / "model"
        assert isinstance(pl_module, BaseTask)
        bundle = pl_module.bundle()
        bundle.card = {
            **data_of(trainer).card(),
            "epochs": trainer.current_epoch,
            "steps": trainer.global_step,
            "weights": "final" if best is None else "best",
            "last_validation": {key: round(value, 6) for key, value in validation_metrics(trainer).items()},
        }
        save_bundle(bundle, directory, dtype=torch.float16 if self.half else torch.float32)
        command = f"multiattn {bundle.task} {task_spec(bundle.task).input} --model {directory}"
        print(f"The model is in {directory}. Try it: {command}", file=sys.stderr)

    def _best(self, trainer: pl.Trainer) -> str | None:
        if self.weights == "final":
            return None
        callbacks = (c for c in trainer.checkpoint_callbacks if isinstance(c, ModelCheckpoint) and c.monitor)
        return next((c.best_model_path for c in callbacks if c.best_model_path), None)


class EpochLines(Callback):
    """One line after each validation, for runs whose standard error is not a terminal."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._start = time.monotonic()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Print the line."""
        if not trainer.is_global_zero or trainer.state.fn != "fit":
            return
        shown = (f"{name} {value:.4f}" for name, value in validation_metrics(trainer).items())
        print(
            f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}, step {trainer.global_step}: {', '.join(shown)} "
            f"({time.monotonic() - self._start:.0f} s)",
            file=sys.stderr,
            flush=True,
        )


class PredictionLines(Callback):
    """Write `RUN/predictions.jsonl` for the verb `predict`: one line for each file, as the task's own command.

    The lines grow in `predictions.jsonl.part`, which gets its name at the end.
    """

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Create the file; each of several processes has its own."""
        data = data_of(trainer)
        self._files = [str(path) for path, _ in data.records(data.predict_split).items]
        name = "predictions.jsonl" if trainer.world_size == 1 else f"predictions-{trainer.global_rank}.jsonl"
        self._path = Path(trainer.default_root_dir) / name
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._part = self._path.with_name(f"{name}.part")
        self._part.write_text("")

    def on_predict_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Write a batch."""
        assert isinstance(pl_module, BaseTask)
        with naming(self._part), self._part.open("a", encoding="utf-8", errors="backslashreplace") as lines:
            for index, found in outputs:
                lines.write(json.dumps({"file": self._files[index], **found}, ensure_ascii=False) + "\n")

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Give the file its name, and print its path."""
        self._part.replace(self._path)
        print(f"The predictions are in {self._path}.", file=sys.stderr)
