"""Pictures of where the model looks, every so often during a training: one can watch attention form."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image
from torch import Tensor

from multiattn.checks import require
from multiattn.errors import InputError, ModelError
from multiattn.export import overlay_png, strip_png
from multiattn.inputs import Geometry, ImagePreprocessing, load_image
from multiattn.maps import METHODS, WORD_METHODS, explain, explain_words

from .base import BaseTask
from .caption import CaptionTask
from .classify import ClassifyTask


class _DrawsMaps(Callback, ABC):
    """Draw a few validation pictures, the same ones each time, to `RUN/maps` and to TensorBoard."""

    def __init__(
        self, every_n_epochs: int, pictures: int, method: str, *, methods: tuple[str, ...], task: type[BaseTask[Any, Any, Any]]
    ) -> None:
        if method not in methods:
            raise ModelError(f"`method` must be one of {', '.join(methods)}, but is {method!r} instead.")
        require(every_n_epochs >= 1, "every_n_epochs", must="at least 1", value=every_n_epochs)
        require(pictures >= 1, "pictures", must="at least 1", value=pictures)
        self.every_n_epochs, self.pictures, self.method = every_n_epochs, pictures, method
        self._task = task
        self._chosen: list[tuple[Path, Image.Image]] | None = None

    @abstractmethod
    def draw(
        self,
        task: Any,
        inputs: list[tuple[Tensor, Geometry]],
        pictures: list[Image.Image],
        files: list[Path],
        *,
        when: str,
    ) -> None:
        """Write a file for each picture.

        Args:
            task: With the model.
            inputs: The pictures as the model takes them, and how they were cut.
            pictures: As they are.
            files: Where to.
            when: In words, for the caption.
        """

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Make sure that the task is one whose maps these are."""
        if not isinstance(pl_module, self._task):
            raise ModelError(
                f"`{type(self).__name__}` must come with {self._task.__name__}, but comes with "
                f"{type(pl_module).__name__} instead."
            )

    def on_validation_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Draw before the first batch: then the weights are those that are validated, averaged ones included."""
        first = batch_idx == 0 and dataloader_idx == 0 and trainer.state.fn == "fit"
        if first and trainer.is_global_zero and trainer.current_epoch % self.every_n_epochs == 0:
            self._draw(trainer, pl_module)

    def _draw(self, trainer: pl.Trainer, task: Any) -> None:
        if self._chosen is None:
            items = trainer.datamodule.records("validation").items  # type: ignore[attr-defined]
            self._chosen = _readable(items, self.pictures, task.preprocessing)
        if not self._chosen:
            return
        names = [f"{number}-{path.parent.name}-{path.stem}" for number, (path, _) in enumerate(self._chosen)]
        folder = Path(trainer.default_root_dir) / "maps"
        files = [folder / f"{name}-epoch{trainer.current_epoch:04d}.png" for name in names]
        pictures = [picture for _, picture in self._chosen]
        inputs = [task.preprocessing(picture) for picture in pictures]
        self.draw(task, inputs, pictures, files, when=f"epoch {trainer.current_epoch + 1}")
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                for name, file in zip(names, files, strict=True):
                    pixels = np.asarray(Image.open(file).convert("RGB"))
                    logger.experiment.add_image(f"maps/{name}", pixels, trainer.global_step, dataformats="HWC")


class MapsWhileTraining(_DrawsMaps):
    """Where a classifier looks at a few validation pictures, drawn to `RUN/maps` and to TensorBoard."""

    def __init__(self, every_n_epochs: int = 1, pictures: int = 4, method: str = "rollout") -> None:
        """Choose what to draw.

        Args:
            every_n_epochs: Epochs from one drawing to the next; the first epoch is always drawn.
            pictures: How many pictures, spread evenly over the validation split and so over its classes.
            method: One of `multiattn.maps.METHODS`.
        """
        super().__init__(every_n_epochs, pictures, method, methods=METHODS, task=ClassifyTask)

    def draw(
        self,
        task: Any,
        inputs: list[tuple[Tensor, Geometry]],
        pictures: list[Image.Image],
        files: list[Path],
        *,
        when: str,
    ) -> None:
        """The map of the label that is predicted."""
        images = torch.stack([image for image, _ in inputs]).to(task.device)
        scores, labels = task.model(images).float().softmax(dim=-1).max(dim=-1)  # (b,)
        maps = explain(
            task.model,
            images,
            method=self.method,
            target=labels.tolist(),
            geometries=[geometry for _, geometry in inputs],
            labels=task.labels,
        )
        for number, (attention_map, picture, file) in enumerate(zip(maps, pictures, files, strict=True)):
            said = f"{task.labels[labels[number]]} {scores[number]:.0%}"
            caption = f"{said} · {self.method.replace('_', ' ')} · {when}"
            overlay_png(attention_map, picture, file, caption=caption)


class WordMapsWhileTraining(_DrawsMaps):
    """Where a captioner looks for each word about a few validation pictures, to `RUN/maps` and to TensorBoard."""

    def __init__(self, every_n_epochs: int = 1, pictures: int = 4, method: str = "attention") -> None:
        """Choose what to draw.

        Args:
            every_n_epochs: Epochs from one drawing to the next; the first epoch is always drawn.
            pictures: How many pictures, spread evenly over the validation split.
            method: One of `multiattn.maps.WORD_METHODS`.
        """
        super().__init__(every_n_epochs, pictures, method, methods=WORD_METHODS, task=CaptionTask)

    def draw(
        self,
        task: Any,
        inputs: list[tuple[Tensor, Geometry]],
        pictures: list[Image.Image],
        files: list[Path],
        *,
        when: str,
    ) -> None:
        """A strip of the caption's words; the bare picture where there are none yet."""
        images = torch.stack([image for image, _ in inputs]).to(task.device)
        captions = task.captions(images)
        words = [task.tokenizer.words(caption.tokens) for caption in captions]
        for row, (caption, picture, file) in enumerate(zip(captions, pictures, files, strict=True)):
            file.parent.mkdir(parents=True, exist_ok=True)
            if not words[row]:
                picture.save(file)
                continue
            (word_map,) = explain_words(
                task.model,
                images[row : row + 1],
                [[*task.opening, *caption.tokens]],
                [words[row]],
                prompt_length=len(task.opening),
                method=self.method,
                geometries=[inputs[row][1]],
            )
            said = task.tokenizer.decode(caption.tokens)
            strip_png(word_map, picture, file, caption=f"{said} · {self.method} · {when}")


def _readable(
    items: tuple[tuple[Path, Any], ...], wanted: int, preprocessing: ImagePreprocessing
) -> list[tuple[Path, Image.Image]]:
    """Up to `wanted` pictures at even distances; one that cannot be read is left out, the loader names it."""
    wanted = min(wanted, len(items))
    found = []
    for i in range(wanted):
        path = items[i * len(items) // wanted][0]
        try:
            picture = load_image(path)
            preprocessing.geometry((picture.height, picture.width))  # raises for one that is too long and thin
        except InputError:
            continue
        found.append((path, picture))
    return found
