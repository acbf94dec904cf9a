"""LightningCLI with this project's defaults and one-line errors, and a start from the right state (`resuming`)."""

import inspect
import logging
import re
import shlex
import sys
import warnings
from argparse import ArgumentError
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn

import lightning.pytorch as pl
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from multiattn.errors import ModelError, MultiattnError, brief, reason_of
from multiattn.registry import load_part

from .arguments import OURS
from .base import BaseTask
from .callbacks import (
    ClassScores,
    Divergence,
    EpochLines,
    ModelDirectory,
    PredictionLines,
    ResumeCheckpoint,
    RunReport,
)
from .callbacks.common import callbacks_of, is_trial
from .class_help import help_of
from .resuming import Start, find_start, flat, is_finished
from .sharding import NAME, is_sharding, offered
from .states import RunStates
from .survey.report import DataReport
from .usage import explained, missing_package


def run(args: Sequence[str], *, typed: Sequence[str]) -> None:
    """Run a verb with its options.

    Args:
        args: The verb and its options, as `arguments.prepared` returns them.
        typed: The same, as the user typed them.

    Raises:
        SystemExit: With status 2, after wrong usage, which has been named on one line.
    """
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.seed"):
        logging.getLogger(name).addFilter(_is_useful)
    with warnings.catch_warnings():
        for message in _USELESS_WARNINGS:
            warnings.filterwarnings("ignore", message)
        if text := _class_help(args):
            print(text)
            return
        try:
            TaskCLI(args, typed=typed)
        except _UsageProblem as problem:
            print(f"error: {brief(explained(problem.message, args, known=_known_options()))}", file=sys.stderr)
            raise
        except (ValueError, ImportError) as error:
            if (told := missing_package(error)) is None:
                raise
            raise ModelError(told) from error


def _class_help(args: Sequence[str]) -> str | None:
    """The help for the task or data module that `--model.help` or `--data.help` names; None where it names no other."""
    for index, arg in enumerate(args):
        option, equals, value = arg.partition("=")
        if option in ("--model.help", "--data.help"):
            path = value if equals else "".join(args[index + 1 : index + 2])
            module, _, name = path.rpartition(".")
            if module == "multiattn.tasks" and name in OURS:
                return help_of(load_part(f"{module}:{name}"), option[2:].partition(".")[0])
    return None


class _UsageProblem(SystemExit):
    """Wrong usage, as the parser words it; its status is 2."""

    def __init__(self, message: str) -> None:
        super().__init__(2)
        self.message = message


def _known_options() -> list[str]:
    """The options of a verb that do not depend on the task, with dots."""
    found = [f"trainer.{name}" for name in inspect.signature(pl.Trainer).parameters]
    for part, kind in SHARED.items():
        found += [f"{part}.{name}" for name in inspect.signature(kind).parameters]
    return [*found, "seed_everything", "ckpt_path", "resume", "model.class_path", "data.class_path"]


SHARED = {
    "divergence": Divergence,
    "progress": EpochLines,
    "checkpoint": ResumeCheckpoint,
    "model_directory": ModelDirectory,
    "data_report": DataReport,
}
"""The callbacks of every training, by the name of their options."""


# messages and warnings of every run, about which a user cannot do anything
_USELESS_MESSAGES = ("\N{ELECTRIC LIGHT BULB} Tip", "TPU available", "`weights_only` was not set", "Seed set to")
_USELESS_WARNINGS = (
    "LightningCLI's args parameter is intended",  # for programs whose sys.argv is another one
    "Experiment logs directory .* exists",  # both loggers write to one directory, which is new at each start
    ".*treespec, LeafSpec.* is deprecated",  # Lightning 2.6 on torch 2.14
    ".*was deprecated in v4",  # jsonargparse's names that LightningCLI 2.6 still uses
    ".*JSONARGPARSE_DEPRECATION_WARNINGS",
    ".*does not have many workers which may be a bottleneck",  # `num_workers: 0` with `cache_side` is a choice
)


def _is_useful(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(_USELESS_MESSAGES)


class OneLineParser(LightningArgumentParser):
    """A parser with one-line errors that name the key, and with `null` for options of tasks."""

    def parse_args(self, args: Sequence[str] | None = None, *rest: Any, **options: Any) -> Any:  # type: ignore[override]
        """Parse, and keep a `null` inside an option of a task (`--model.preprocessing.pad_to=null`).

        jsonargparse 4.53 passes it to the parser of the task's own options as the text "None".
        """
        if args is not None:
            args = [f"{arg.removesuffix('None')}null" if arg.endswith("=None") else arg for arg in args]
        try:
            return super().parse_args(args, *rest, **options)
        except (ArgumentError, MultiattnError, MisconfigurationException):
            raise
        except Exception as error:  # of a value that the parser does not expect, such as NUL in a path
            if isinstance(error.__cause__, MultiattnError):
                raise
            self.error(f"a value cannot be used: {reason_of(error)}")

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print the error on one line and exit with status 2."""
        lines = [line.strip() for line in message.splitlines()]
        text = re.sub(r" +", " ", " ".join(line for line in lines if line))
        # the parsers of the verbs are part of this one; the options of classes have parsers of their own
        raise _UsageProblem(text)


class TaskCLI(LightningCLI):
    """One program for every task: the YAML names the task and the data module by `class_path`."""

    def __init__(self, args: Sequence[str], *, typed: Sequence[str]) -> None:
        self._is_finished, self._command = False, shlex.join(["multiattn", *typed])  # the constructor runs the verb
        self._verb = next(iter(args), "")
        super().__init__(
            BaseTask,
            pl.LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            parser_class=OneLineParser,
            seed_everything_default=0,
            auto_configure_optimizers=False,  # a task has one, under `model.optimization`
            trainer_defaults={
                "use_distributed_sampler": False,  # the data modules divide the items among the processes
                "num_sanity_val_steps": 0,  # a data set is checked as it is read; and Ctrl-C works without delay
                "log_every_n_steps": 20,
                "enable_model_summary": False,
                # the processes compute batch statistics together, as one process with the whole batch would; torch
                # can do this only on a GPU
                "sync_batchnorm": torch.cuda.is_available(),
            },
            args=list(args),
        )

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        """Build the options of the verb that was typed; the other three are only named."""
        if subcommand != self._verb:
            return self.init_parser(**kwargs)
        return super()._prepare_subcommand_parser(klass, subcommand, **kwargs)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the callbacks of every training, beside the trainer's own."""
        for name, kind in SHARED.items():
            parser.add_lightning_class_args(kind, name)
        parser.add_argument(
            "--resume",
            type=Literal["auto", "never"],
            default="auto",
            help="fit: go on from the newest state in the folder of the run where there is one (auto), or refuse to.",
        )

    def _parse_ckpt_path(self) -> None:
        """Keep the configuration as it was typed: the same command resumes the same training.

        LightningCLI would replace values by the checkpoint's hyperparameters, among them values that were linked or
        that have changed since (Lightning issues 20801 and 21262).
        """

    def after_instantiate_classes(self) -> None:
        """Set the seed of the task and of the data module, and find the requested state."""
        seed = self._get(self.config, "seed_everything")
        for part in (self.model, self.datamodule):
            if hasattr(part, "seed"):
                part.seed = int(seed)
        options = self.config_init[self.subcommand]
        options["weights_only"] = True  # a state holds tensors and plain values: nothing is unpickled
        if not options.get("ckpt_path") and self.subcommand != "fit" and self.model.from_scratch:
            raise ModelError(
                f"`{self.subcommand}` must have a state of the training, but has random weights instead. Give "
                "`--ckpt_path last` (or `best`, or a file)."
            )
        self._start(options)
        if self.subcommand == "predict":
            options["return_predictions"] = False  # `PredictionLines` writes each batch

    def _start(self, options: dict[str, Any]) -> None:
        """Find the state to start from."""
        verb, trainer = str(self.subcommand), self.trainer
        self._dump_config()  # nothing, where the task and the data have kept their options
        configuration = flat(self.config_dump)
        if is_trial(trainer) and verb == "fit" and not options.get("ckpt_path"):
            return
        start = find_start(
            trainer.default_root_dir,
            verb=verb,
            requested=options.get("ckpt_path"),
            resume=options["resume"],
            configuration=configuration,
            say=self._say,
        )
        if start.path is not None and start.path.is_dir() and not is_sharding(trainer):
            raise ModelError(
                f"{start.path} is a state in parts, which only `--trainer.strategy {NAME}` reads, but the strategy is "
                f"{type(trainer.strategy).__name__} instead. Set it, with any number of processes."
            )
        options["ckpt_path"] = None if start.path is None else str(start.path)
        self.model.adopt(start.state)
        if verb == "fit":
            for callback in callbacks_of(trainer):
                if isinstance(callback, ResumeCheckpoint):
                    callback.start, callback.configuration = start.path, configuration
            self._is_finished = self._has_ended(start)
        if start.note and not self._is_finished:
            self._say(start.note)

    def _has_ended(self, start: Start) -> bool:
        """Whether the training has ended with this state, and has written its model; say so."""
        trainer, run = self.trainer, Path(self.trainer.default_root_dir)
        if start.path is None or start.path != RunStates(run).newest() or not (run / "model" / "config.json").exists():
            return False
        if not is_finished(start.state, max_epochs=trainer.max_epochs, max_steps=trainer.max_steps):
            return False
        self._say(
            f"This training is finished: step {start.state['global_step']}, model in {run / 'model'}. Nothing is done. "
            "To train on, raise `trainer.max_epochs`; to begin anew, give another `--trainer.default_root_dir`."
        )
        return True

    def _say(self, line: str) -> None:
        if self.trainer.is_global_zero:
            print(line, file=sys.stderr, flush=True)

    def fit(self, **options: Any) -> None:
        """Train, unless the training has ended before."""
        if not self._is_finished:
            self.trainer.fit(**options)

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Make a trainer that logs to `RUN/logs`, with a progress bar on a terminal; `EpochLines` are for others."""
        config = self._get(self.config_init, "trainer")
        run = config.get("default_root_dir") or "."
        if config.get("logger") is None:
            board = TensorBoardLogger(run, name="logs", default_hp_metric=False)
            kwargs["logger"] = [board, CSVLogger(run, name="logs", version=board.version)]
        callbacks = list(config.get("callbacks") or [])
        if sys.stderr.isatty():
            callbacks.append(RichProgressBar(console_kwargs={"stderr": True}))
        else:
            kwargs["enable_progress_bar"] = False
        callbacks += [ClassScores(), PredictionLines(), RunReport(self._command)]
        kwargs["strategy"] = offered(config.get("strategy", "auto"))
        if config.get("accelerator") == "cpu":
            kwargs["sync_batchnorm"] = False
        return super().instantiate_trainer(callbacks=callbacks, **kwargs)
