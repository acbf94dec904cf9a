"""The page about a run."""

import json
import os
import platform
import re
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback
from PIL import Image

from multiattn import __version__
from multiattn.errors import reason_of
from multiattn.export.html import jpeg
from multiattn.export.run_report import Example, MapsOverTime, Validation, write_run_report
from multiattn.export.run_report import RunReport as Page
from multiattn.inputs import load_image
from multiattn.metrics.multi_label import LabelScores

from ..base import BaseTask
from ..loading.datamodule import data_of
from ..metrics import Predictions
from ..stopping import Stopped
from ..survey import table
from ..survey.report import FILE as DATA_FILE
from .common import MeanLoss, batch_loss, is_trial, learning_rate, log_interval, validation_metrics

FILE = "report.html"
"""The name of the page in the folder of a run."""

_MOST_POINTS = 2000
"""Points of the training curve, and validations; beyond, every other older one is left out."""

_MOST_STARTS = 20
_MOST_PICTURES, _MOST_FRAMES = 4, 6
"""Pictures whose maps are shown, and epochs of each."""

_SIDE = 400  # pixels of the longer side of a picture in the page
_FIGURE_SIDE, _FIGURE_FRAMES = 1000, 2
"""The same of figures, which have a map for each word of a text: the first and the last epoch."""

_PAUSE = 50.0
"""Times as long as a page took to write, until the next one is written."""

_MAP = re.compile(r"(?P<name>.+)-epoch(?P<epoch>\d+)\.png")


class RunReport(Callback):
    """Write `RUN/report.html` after each validation and at the end: one file that needs no network.

    It has the curves, which class is taken for which or how well each label is told, examples, the maps in `RUN/maps`,
    what the data is, the commands, versions and the device. The curves are part of each state, so they go on where a
    training goes on. What takes long is written less often: pages take at most 2 % of the time, and the last one is
    always written.
    """

    def __init__(self, command: str = "") -> None:
        """Say what started the training.

        Args:
            command: The command as it was typed; "" for a training from Python.
        """
        self.command = command
        self._train: list[list[float]] = []  # step, mean loss since the point before, learning rate
        self._validations: list[list[Any]] = []  # step, epoch, {name: value}
        self._starts: list[list[Any]] = []  # step, command
        self._loss = MeanLoss()
        self._seen_step = 0
        self._begin = time.monotonic()
        self._next = 0.0  # when the next page may be written
        self._has_failed = False
        self._has_trained = False  # since this start
        self._sources: dict[str, str] = {}  # of pictures, as data URIs

    def state_dict(self) -> dict[str, Any]:
        """The curves and commands so far."""
        return {"train": self._train, "validations": self._validations, "starts": self._starts}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with them."""
        self._train, self._validations, self._starts = (
            list(state_dict[name]) for name in ("train", "validations", "starts")
        )

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note the command."""
        self._begin, self._next = time.monotonic(), 0.0
        self._seen_step, self._loss = trainer.global_step, MeanLoss()
        self._starts = [*self._starts, [trainer.global_step, self.command]][-_MOST_STARTS:]

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note the loss; the host reads it as often as the loggers do."""
        self._has_trained = True
        if (loss := batch_loss(trainer, outputs)) is not None:
            self._loss.add(loss)
        step = trainer.global_step
        is_last = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
        if step == self._seen_step or not (is_last or step % log_interval(trainer) == 0):
            return
        self._seen_step = step
        if self._loss.count:
            self._train = _thinned([*self._train, [step, self._loss.value(), learning_rate(trainer)]])
            self._loss = MeanLoss()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note what was measured, and write the page."""
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        found = [trainer.global_step, trainer.current_epoch + 1, validation_metrics(trainer)]
        self._validations = _thinned([*self._validations, found])
        if time.monotonic() >= self._next:
            self._write(trainer, pl_module, "Running")

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Write the page of the whole training, of which the model's directory is a part by now."""
        if stage == "fit" and not trainer.interrupted:
            self._write(trainer, pl_module, "Finished")

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Write the page of a training that ends early; the same command goes on with it.

        A start that is refused before its first batch leaves the page as it was.
        """
        if trainer.state.fn == "fit" and self._has_trained:
            reason = "by a signal" if isinstance(exception, Stopped | KeyboardInterrupt) else reason_of(exception)
            self._write(trainer, pl_module, f"Ended early ({reason})")

    def _write(self, trainer: pl.Trainer, task: pl.LightningModule, status: str) -> None:
        """Write the page; what prevents it is told once, and ends no training."""
        if is_trial(trainer) or not trainer.is_global_zero:
            return
        start, path = time.monotonic(), Path(trainer.default_root_dir) / FILE
        try:
            assert isinstance(task, BaseTask)
            write_run_report(path, self._page(trainer, task, status))
        except Exception as error:
            if not self._has_failed:
                print(f"{path} is not written: {reason_of(error)}", file=sys.stderr, flush=True)
            self._has_failed = True
        now = time.monotonic()
        self._next = now + _PAUSE * (now - start)

    def _page(self, trainer: pl.Trainer, task: BaseTask[Any, Any, Any], status: str) -> Page:
        run = Path(trainer.default_root_dir)
        data = _json(run / DATA_FILE)
        confusion = _json(run / "confusion-validation.json")
        if confusion.get("labels") != list(task.labels):  # of another training in the same folder
            confusion = {}
        epochs = max((epoch for _, epoch, _ in self._validations), default=trainer.current_epoch)
        of = f" of {trainer.max_epochs}" if trainer.max_epochs is not None and trainer.max_epochs > 0 else ""
        return Page(
            title=f"{task.task}: {run.resolve().name}",
            status=f"{status}: epoch {epochs}{of}, step {trainer.global_step}.",
            train=[(int(step), loss, rate) for step, loss, rate in self._train],
            validations=[Validation(*one) for one in self._validations],
            data=table.rows(data) if data else (),
            remarks=data.get("remarks", ()),
            labels=task.labels,
            pairs={(one["label"], one["predicted"]): one["items"] for one in confusion.get("confusion", ())},
            by_label={name: LabelScores(**one) for name, one in confusion.get("per_label", {}).items()},
            examples=self._examples(trainer, task),
            maps=self._maps(run / "maps", are_figures=task.task != "classify"),
            commands=[(step, command) for step, command in self._starts if command],
            facts=self._facts(trainer, task),
        )

    def _examples(self, trainer: pl.Trainer, task: BaseTask[Any, Any, Any]) -> list[Example]:
        predictions = getattr(task, "predictions", None)
        if not isinstance(predictions, Predictions):
            return []
        data = data_of(trainer)
        items = data.records("validation").items
        found = []
        for index, written in predictions.examples:
            path = items[index][0]
            source = self._source(path) if data.kind == "pictures" else ""
            found.append(Example(Path(str(path)).name, written.text, written.references, written.question, source))
        return found

    def _maps(self, folder: Path, *, are_figures: bool) -> list[MapsOverTime]:
        """The first pictures, each in epochs that are evenly spread, the first and the last among them."""
        most, side = (_FIGURE_FRAMES, _FIGURE_SIDE) if are_figures else (_MOST_FRAMES, _SIDE)
        found: dict[str, list[tuple[int, Path]]] = {}
        for path in sorted(folder.glob("*.png")):
            if match := _MAP.fullmatch(path.name):
                found.setdefault(match["name"], []).append((int(match["epoch"]) + 1, path))
        shown = []
        for name, files in list(found.items())[:_MOST_PICTURES]:
            files.sort()
            last = len(files) - 1
            chosen = dict.fromkeys(i * last // (most - 1) for i in range(most))
            frames = [
                (f"epoch {epoch}", self._source(path, stamp=path.stat().st_mtime_ns, side=side))
                for epoch, path in (files[i] for i in chosen)
            ]
            shown.append(MapsOverTime(name, [frame for frame in frames if frame[1]], are_figures))
        return shown

    def _source(self, path: Any, *, stamp: int = 0, side: int = _SIDE) -> str:
        """A small copy of a picture, as a data URI, which is kept; "" for one that cannot be read.

        Args:
            path: The file, or where a shard has it.
            stamp: Changes where the file does.
            side: The longer side in pixels.
        """
        key = f"{stamp} {path}"
        if key not in self._sources:
            if len(self._sources) > 4 * _MOST_PICTURES * _MOST_FRAMES:
                self._sources.clear()
            try:
                picture: Image.Image = load_image(path).convert("RGB")
            except ValueError:  # the loader has named it
                return ""
            picture.thumbnail((side, side))
            self._sources[key] = jpeg(picture)
        return self._sources[key]

    def _facts(self, trainer: pl.Trainer, task: BaseTask[Any, Any, Any]) -> list[tuple[str, str]]:
        parameters = list(task.model.parameters())
        trained = sum(one.numel() for one in parameters if one.requires_grad)
        device = trainer.strategy.root_device
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{os.cpu_count()} cores"
        packages = ", ".join(f"{one} {version(one)}" for one in ("torch", "lightning", "timm"))
        run = Path(trainer.default_root_dir)
        processes = "1 process" if trainer.world_size == 1 else f"{trainer.world_size} processes"
        model = [("model", str(run / "model"))] if (run / "model" / "config.json").exists() else []
        return [
            ("written", f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S %z}"),
            ("since the last start", str(timedelta(seconds=round(time.monotonic() - self._begin)))),
            *model,
            ("parameters", f"{sum(one.numel() for one in parameters):,}, of which {trained:,} learn"),
            ("device", f"{device.type}, {name}; {processes}, precision {trainer.precision}"),
            ("multiattn", __version__),
            ("packages", packages),
            ("Python", f"{platform.python_version()}, {platform.system()} {platform.machine()}"),
            ("seed", str(task.seed)),
        ]


def _json(path: Path) -> Mapping[str, Any]:
    """An object that another callback wrote; an empty one where there is none."""
    if not path.exists():
        return {}
    found: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _thinned(points: Sequence[list[Any]]) -> list[list[Any]]:
    """The points, or where they are too many every other one, the last one among them."""
    return list(points) if len(points) <= _MOST_POINTS else list(points[::-2][::-1])
