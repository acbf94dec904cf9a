"""YAML configurations of trainings, up to the point where a training would begin."""

import contextlib
import io
from functools import cache
from pathlib import Path
from typing import Any

from multiattn.errors import MultiattnError
from multiattn.tasks.arguments import prepared

from .sample import Sample

_ROOT = Path(__file__).parents[2]


def samples() -> list[Sample]:
    found = sorted((_ROOT / "configs").glob("*/smoke.yaml"))
    return [Sample(path.parent.name, {"config.yaml": path.read_bytes()}, "config.yaml") for path in found]


@cache
def _parser() -> Any:
    """The parser of `multiattn fit`, made once."""
    import lightning.pytorch as pl

    from multiattn.tasks.base import BaseTask
    from multiattn.tasks.callbacks import ModelDirectory, ResumeCheckpoint
    from multiattn.tasks.lightning_cli import OneLineParser

    parser = OneLineParser()
    parser.add_argument("-c", "--config", action="config")
    parser.add_argument("--seed_everything", type=bool | int, default=True)
    parser.add_lightning_class_args(pl.Trainer, "trainer")
    parser.add_lightning_class_args(BaseTask, "model", subclass_mode=True)
    parser.add_lightning_class_args(pl.LightningDataModule, "data", subclass_mode=True)
    parser.add_lightning_class_args(ResumeCheckpoint, "checkpoint")
    parser.add_lightning_class_args(ModelDirectory, "model_directory")
    return parser


def read(path: Path) -> None:
    """Prepared and parsed; wrong usage is one line on standard error and exit status 2."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            arguments = prepared(["fit", "--config", str(path)])
            _parser().parse_args(arguments[1:])
    except SystemExit as stop:
        lines = said.getvalue().splitlines()
        assert stop.code == 2, f"exit status {stop.code}"
        assert len(lines) == 1 and lines[0].startswith("error: "), f"not one line: {lines}"
        raise MultiattnError(f"{path}: {lines[0]}") from stop
