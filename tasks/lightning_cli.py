"""LightningCLI with this project's defaults, one-line errors, and `--ckpt_path last`, the newest state of the run."""

import inspect
import logging
import re
import sys
import warnings
from argparse import ArgumentError
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import lightning.pytorch as pl
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from multiattn.errors import ModelError, MultiattnError, brief, reading, reason_of
from multiattn.registry import load_part
from multiattn.weights.tensor_files import load_pickled

from .arguments import OURS
from .base import BaseTask
from .callbacks import EpochLines, ModelDirectory, PredictionLines, ResumeCheckpoint
from .callbacks.common import is_trial
from .class_help import help_of
from .states import RunStates
from .survey.report import DataReport
from .usage import explained, missing_package


def run(args: Sequence[str]) -> None:
    """Run a verb with its options, which `arguments.prepared` has checked.

    Raises:
        SystemExit: With status 2, after wrong usage, which has been named on one line.
    """
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.seed"):
        logging.getLogger(name).addFilter(_is_useful)
    with warnings.catch_warnings():
        for message in _USELESS_WARNINGS:
            warnings.filterwarnings("ignore", message)
        if (text := _class_help(args)) is not None:
            print(text)
            return
        try:
            TaskCLI(args)
        except _UsageProblem as problem:
            print(f"error: {brief(explained(problem.message, args, known=_known_options()))}", file=sys.stderr)
            raise
        except (ValueError, ImportError) as error:
            if (message := missing_package(error)) is None:
                raise
            raise ModelError(message) from error


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
    return [*found, "seed_everything", "ckpt_path", "model.class_path", "data.class_path"]


SHARED = {"checkpoint": ResumeCheckpoint, "model_directory": ModelDirectory, "data_report": DataReport}
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


_OF_FIT = ("optimizer_states", "lr_schedulers", "loops", "epoch", "global_step")  # what a training resumes from


def check_state(path: Path, verb: str) -> dict[str, Any]:
    """Check that a file is a state of a training, before Lightning reads it.

    Args:
        path: The file.
        verb: What it is for: `fit` needs more of it than others.

    Returns:
        The state, with tensors that have no values.

    Raises:
        ModelError: There is no such file, it cannot be read, or it is no state.
    """
    with reading(str(path), "a state of a training", error=ModelError):
        is_there = path.exists()
    if not is_there:
        raise ModelError(f"{path}: there is no such file. `--ckpt_path last` finds the newest state of the run.")
    state = load_pickled(path, holds="a state of Lightning alone", on_meta=True)
    needed = ("state_dict", "pytorch-lightning_version", *(_OF_FIT if verb == "fit" else ()))
    if lacking := [name for name in needed if not isinstance(state, dict) or name not in state]:
        raise ModelError(
            f"{path} must be a state of a training, but lacks `{lacking[0]}` instead. `--ckpt_path last` finds the "
            "newest state of the run; the weights of a model's directory go under `model` in the configuration."
        )
    assert isinstance(state, dict)
    return state


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

    def __init__(self, args: Sequence[str]) -> None:
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

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the callbacks of every training, beside the trainer's own."""
        for name, kind in SHARED.items():
            parser.add_lightning_class_args(kind, name)

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
        requested = options.get("ckpt_path")
        if not requested and self.subcommand != "fit" and self.model.from_scratch:
            raise ModelError(
                f"`{self.subcommand}` must have a state of the training, but has random weights instead. Give "
                "`--ckpt_path last` (or a file)."
            )
        if requested == "last":
            options["ckpt_path"] = self._last()
        if options.get("ckpt_path"):
            self.model.adopt(check_state(Path(options["ckpt_path"]), str(self.subcommand)))
        if self.subcommand == "fit" and not is_trial(self.trainer):
            ResumeCheckpoint.require_own(self.trainer.default_root_dir, start=options.get("ckpt_path"))
        if self.subcommand == "predict":
            options["return_predictions"] = False  # `PredictionLines` writes each batch

    def _last(self) -> str:
        states = RunStates(self.trainer.default_root_dir)
        path = states.newest()
        if path is None:
            raise ModelError(
                f"{states.folder}: there is no state to go on from. Leave `--ckpt_path last` out, or "
                "give the `--trainer.default_root_dir` of the training."
            )
        print(f"From {path}", file=sys.stderr)
        return str(path)

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Make a trainer that logs to `RUN/logs`, with a progress bar on a terminal and lines elsewhere."""
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
            callbacks.append(EpochLines())
        callbacks.append(PredictionLines())
        if config.get("accelerator") == "cpu":
            kwargs["sync_batchnorm"] = False
        return super().instantiate_trainer(callbacks=callbacks, **kwargs)
