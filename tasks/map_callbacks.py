"""Callbacks that draw maps of a few validation pictures during a training, to see attention form."""

import io
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import lightning.pytorch as pl
import numpy as np
import torch
from jaxtyping import Float32
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image
from torch import Tensor

from multiattn.checks import require, require_each
from multiattn.errors import InputError, ModelError
from multiattn.export import overlay_png, strip_png
from multiattn.inputs import Geometry, ImagePreprocessing, load_image
from multiattn.maps import METHODS, WORD_METHODS, explain, explain_words
from multiattn.writing import write_bytes

from .base import BaseTask
from .caption import CaptionTask
from .classify import ClassifyTask
from .loading.datamodule import data_of


class _Drawing(NamedTuple):
    """A picture, and the file for its map."""

    picture: Image.Image
    geometry: Geometry
    """How the picture was cut for the model."""

    file: Path


class DrawsMaps(Callback, ABC):
    """Draw the maps of a few validation inputs, always the same ones, to `RUN/maps` and to TensorBoard.

    Args:
        every_n_epochs: Epochs from one drawing to the next; the first epoch is always drawn.
        method: One of `methods`.
    """

    methods: ClassVar[tuple[str, ...]]
    """The map methods to choose from."""

    task_class: ClassVar[type[BaseTask[Any, Any, Any]]]
    """The task whose maps these are."""

    def __init__(self, every_n_epochs: int, method: str) -> None:
        require(method in self.methods, "method", must=f"one of {', '.join(self.methods)}", value=method)
        require_each({"every_n_epochs": every_n_epochs}, least=1)
        self.every_n_epochs, self.method = every_n_epochs, method

    @abstractmethod
    def draw_all(self, trainer: pl.Trainer, task: BaseTask[Any, Any, Any]) -> Iterable[tuple[str, Path]]:
        """Write the files; return the name of each input that was drawn, and its file."""

    def take_part(self, task: BaseTask[Any, Any, Any]) -> None:
        """Do what the other processes must while the first one draws; nothing by default."""

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
        if not first or trainer.current_epoch % self.every_n_epochs:
            return
        assert isinstance(pl_module, BaseTask)
        if not trainer.is_global_zero:
            self.take_part(pl_module)
            return
        boards = [logger.experiment for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
        for name, file in self.draw_all(trainer, pl_module):
            for board in boards:
                pixels = np.asarray(Image.open(file).convert("RGB"))
                board.add_image(f"maps/{name}", pixels, trainer.global_step, dataformats="HWC")

    @staticmethod
    def place(trainer: pl.Trainer, number: int, path: Path) -> tuple[str, Path]:
        """Return the name of an input, and the file for its map in this epoch.

        Args:
            trainer: The trainer.
            number: The input's number among those that are drawn.
            path: The input's file.
        """
        name = f"{number}-{path.parent.name}-{path.stem}"
        return name, Path(trainer.default_root_dir) / "maps" / f"{name}-epoch{trainer.current_epoch:04d}.png"


class _DrawsPictures(DrawsMaps):
    """Draw the maps of pictures, on the model as it is."""

    def __init__(self, every_n_epochs: int, pictures: int, method: str) -> None:
        super().__init__(every_n_epochs, method)
        require_each({"pictures": pictures}, least=1)
        self.pictures = pictures
        self._chosen: list[tuple[Path, Image.Image]] | None = None

    @abstractmethod
    def draw(
        self, task: Any, images: Float32[Tensor, "b c h w"], drawings: Sequence[_Drawing], *, subtitle: str
    ) -> None:
        """Write the file of each drawing.

        Args:
            task: The task, with its model.
            images: The pictures as the model takes them.
            drawings: The pictures, and where to write their maps.
            subtitle: Method and epoch, for the end of each caption.
        """

    def draw_all(self, trainer: pl.Trainer, task: BaseTask[Any, Any, Any]) -> Iterable[tuple[str, Path]]:
        """Draw the pictures together."""
        assert isinstance(task.preprocessing, ImagePreprocessing)
        if self._chosen is None:
            self._chosen = _readable(data_of(trainer).records("validation").items, self.pictures, task.preprocessing)
        if not self._chosen:
            return []
        paths = [Path(str(file)) for file, _ in self._chosen]  # in a shard, too
        places = [self.place(trainer, number, path) for number, path in enumerate(paths)]
        inputs = [task.preprocessing(picture) for _, picture in self._chosen]
        drawings = [
            _Drawing(picture, geometry, file)
            for (_, file), (_, picture), (_, geometry) in zip(places, self._chosen, inputs, strict=True)
        ]
        images = torch.stack([image for image, _ in inputs]).to(task.device)
        subtitle = f"{self.method.replace('_', ' ')} · epoch {trainer.current_epoch + 1}"
        self.draw(task, images, drawings, subtitle=subtitle)
        return places


class MapsWhileTraining(_DrawsPictures):
    """Maps of a classifier for a few validation pictures, to `RUN/maps` and to TensorBoard."""

    methods, task_class = METHODS, ClassifyTask

    def __init__(self, every_n_epochs: int = 1, pictures: int = 4, method: str = "relevance") -> None:
        """Choose what to draw.

        Args:
            every_n_epochs: Epochs from one drawing to the next; the first epoch is always drawn.
            pictures: The number of pictures, spread evenly over the validation split and so over its classes.
            method: One of `multiattn.maps.METHODS`.
        """
        super().__init__(every_n_epochs, pictures, method)

    def draw(
        self, task: Any, images: Float32[Tensor, "b c h w"], drawings: Sequence[_Drawing], *, subtitle: str
    ) -> None:
        """Draw the map of the predicted label."""
        scores, labels = task.model(images).float().softmax(dim=-1).max(dim=-1)  # (b,)
        maps = explain(
            task.model,
            images,
            method=self.method,
            target=labels.tolist(),
            geometries=[drawing.geometry for drawing in drawings],
            labels=task.labels,
        )
        for attention_map, drawing, label, score in zip(maps, drawings, labels, scores, strict=True):
            caption = f"{task.labels[label]} {score:.0%} · {subtitle}"
            overlay_png(attention_map, drawing.picture, drawing.file, caption=caption)


class WordMapsWhileTraining(_DrawsPictures):
    """Maps of a captioner for each word about a few validation pictures, to `RUN/maps` and to TensorBoard."""

    methods, task_class = WORD_METHODS, CaptionTask

    def __init__(self, every_n_epochs: int = 1, pictures: int = 4, method: str = "relevance") -> None:
        """Choose what to draw.

        Args:
            every_n_epochs: Epochs from one drawing to the next; the first epoch is always drawn.
            pictures: The number of pictures, spread evenly over the validation split.
            method: One of `multiattn.maps.WORD_METHODS`.
        """
        super().__init__(every_n_epochs, pictures, method)

    def draw(
        self, task: Any, images: Float32[Tensor, "b c h w"], drawings: Sequence[_Drawing], *, subtitle: str
    ) -> None:
        """Draw a strip of the caption's words; the picture alone where the caption is empty."""
        for row, (caption, drawing) in enumerate(zip(task.captions(images), drawings, strict=True)):
            words = task.tokenizer.words(caption.tokens)
            if not words:
                png = io.BytesIO()
                drawing.picture.save(png, format="PNG")
                write_bytes(drawing.file, png.getvalue())
                continue
            (word_map,) = explain_words(
                task.model,
                images[row : row + 1],
                [[*task.opening, *caption.tokens]],
                [words],
                prompt_length=len(task.opening),
                method=self.method,
                geometries=[drawing.geometry],
            )
            text = f"{task.tokenizer.decode(caption.tokens)} · {subtitle}"
            strip_png(word_map, drawing.picture, drawing.file, caption=text)


def _readable(
    items: Sequence[tuple[Path, Any]], wanted: int, preprocessing: ImagePreprocessing
) -> list[tuple[Path, Image.Image]]:
    """Load up to `wanted` pictures at even distances; those that cannot be read are left out: the loader names them."""
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
