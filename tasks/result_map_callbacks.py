"""Callbacks that draw maps of answers and transcripts during a training, as `map_callbacks` those of labels and words.

The maps are those of the task's pipeline, on a copy of the model as it is validated.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image

from multiattn.checks import require, require_each
from multiattn.errors import InputError, ModelError
from multiattn.inputs import load_image
from multiattn.pipelines import AnswerPipeline, Result, TranscribePipeline
from multiattn.registry import task_spec
from multiattn.weights import ModelBundle

from .answer import AnswerTask
from .base import BaseTask
from .loading.datamodule import data_of
from .transcribe import TranscribeTask


class _DrawsResults(Callback, ABC):
    """Draw the maps of a few validation inputs, always the same ones, to `RUN/maps` and to TensorBoard."""

    task_name: ClassVar[str]
    task_class: ClassVar[type[BaseTask[Any, Any, Any]]]
    """The task whose maps these are."""

    def __init__(self, every_n_epochs: int, inputs: int, method: str) -> None:
        methods = task_spec(self.task_name).map_methods
        require(method in methods, "method", must=f"one of {', '.join(methods)}", value=method)
        require_each({"every_n_epochs": every_n_epochs, "inputs": inputs}, least=1)
        self.every_n_epochs, self.inputs, self.method = every_n_epochs, inputs, method

    @abstractmethod
    def results(
        self, bundle: ModelBundle, items: Sequence[tuple[Any, Any]], device: torch.device
    ) -> list[Result | None]:
        """Run the model on items of the validation split; None for one that cannot be used: the loader names it.

        Args:
            bundle: A copy of the model.
            items: A path with what is known of it.
            device: Where to compute.
        """

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Make sure that the callback fits the task."""
        if not isinstance(pl_module, self.task_class):
            raise ModelError(
                f"`{type(self).__name__}` must come with {self.task_class.__name__}, but comes with "
                f"{type(pl_module).__name__} instead."
            )

    def on_validation_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Draw before the first batch: the module has the validated weights then, averaged ones included."""
        first = batch_idx == 0 and dataloader_idx == 0 and trainer.state.fn == "fit"
        if first and trainer.current_epoch % self.every_n_epochs == 0:
            assert isinstance(pl_module, BaseTask)
            if not trainer.is_global_zero:
                pl_module.give_weights()
                return
            with torch.random.fork_rng(devices=[]):  # the copy of the model draws weights first; the training must not
                bundle = pl_module.bundle()
            self._draw(trainer, bundle, pl_module.device)

    def _draw(self, trainer: pl.Trainer, bundle: ModelBundle, device: torch.device) -> None:
        every = data_of(trainer).records("validation").items
        wanted = min(self.inputs, len(every))
        items = [every[i * len(every) // wanted] for i in range(wanted)]
        results = self.results(bundle, items, device)
        for number, (item, result) in enumerate(zip(items, results, strict=True)):
            if result is None or not result.maps:  # nothing was said
                continue
            path = Path(str(item[0]))  # in a shard, too
            name = f"{number}-{path.parent.name}-{path.stem}"
            file = Path(trainer.default_root_dir) / "maps" / f"{name}-epoch{trainer.current_epoch:04d}.png"
            result.maps[0].save_png(file)
            for logger in trainer.loggers:
                if isinstance(logger, TensorBoardLogger):
                    pixels = np.asarray(Image.open(file).convert("RGB"))
                    logger.experiment.add_image(f"maps/{name}", pixels, trainer.global_step, dataformats="HWC")


class AnswerMapsWhileTraining(_DrawsResults):
    """Maps of the words of an answer and of its question, about a few validation pictures."""

    task_name, task_class = "answer", AnswerTask

    def __init__(self, every_n_epochs: int = 1, inputs: int = 4, method: str = "relevance") -> None:
        """Choose what to draw.

        Args:
            every_n_epochs: Epochs from one drawing to the next; the first epoch is always drawn.
            inputs: The number of pictures, spread evenly over the validation split; of each the first question.
            method: One of the map methods of `multiattn answer`.
        """
        super().__init__(every_n_epochs, inputs, method)

    def results(
        self, bundle: ModelBundle, items: Sequence[tuple[Any, Any]], device: torch.device
    ) -> list[Result | None]:
        """Answer the first question of each picture."""
        answer = AnswerPipeline(bundle, device=device)
        found: list[Result | None] = []
        for path, questions in items:
            try:
                found.append(answer(load_image(path), questions[0].text, maps=self.method))
            except InputError:
                found.append(None)
        return found


class SpeechMapsWhileTraining(_DrawsResults):
    """Where the model listens for each word of a few validation recordings."""

    task_name, task_class = "transcribe", TranscribeTask

    def __init__(self, every_n_epochs: int = 1, inputs: int = 4, method: str = "attention") -> None:
        """Choose what to draw.

        Args:
            every_n_epochs: Epochs from one drawing to the next; the first epoch is always drawn.
            inputs: The number of recordings, spread evenly over the validation split.
            method: One of the map methods of `multiattn transcribe`.
        """
        super().__init__(every_n_epochs, inputs, method)

    def results(
        self, bundle: ModelBundle, items: Sequence[tuple[Any, Any]], device: torch.device
    ) -> list[Result | None]:
        """Transcribe each recording."""
        transcribe = TranscribePipeline(bundle, device=device)
        found: list[Result | None] = []
        for path, _ in items:
            try:
                found.append(transcribe(path, maps=self.method))
            except InputError:
                found.append(None)
        return found
