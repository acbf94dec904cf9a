"""Pictures of where the model looks, every so often during a training: one can watch attention form."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image

from multiattn.errors import InputError, ModelError
from multiattn.export import overlay_png
from multiattn.inputs import ImagePreprocessing, load_image
from multiattn.maps import METHODS, explain

from .checks import require


class MapsWhileTraining(Callback):
    """Draw the maps of a few validation pictures, the same ones each time, to `RUN/maps` and to TensorBoard."""

    def __init__(self, every_n_epochs: int = 1, pictures: int = 4, method: str = "rollout") -> None:
        """Choose what to draw.

        Args:
            every_n_epochs: Epochs from one drawing to the next; the first epoch is always drawn.
            pictures: How many pictures, spread evenly over the validation split and so over its classes.
            method: One of `multiattn.maps.METHODS`.
        """
        if method not in METHODS:
            raise ModelError(f"`method` must be one of {', '.join(METHODS)}, but is {method!r} instead.")
        require(every_n_epochs >= 1, "every_n_epochs", must="at least 1", value=every_n_epochs)
        require(pictures >= 1, "pictures", must="at least 1", value=pictures)
        self.every_n_epochs, self.pictures, self.method = every_n_epochs, pictures, method
        self._chosen: list[tuple[Path, Image.Image]] | None = None

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
        inputs = [task.preprocessing(picture) for _, picture in self._chosen]
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
        for number, (attention_map, (path, picture)) in enumerate(zip(maps, self._chosen, strict=True)):
            said = f"{task.labels[labels[number]]} {scores[number]:.0%}"
            caption = f"{said} · {self.method.replace('_', ' ')} · epoch {trainer.current_epoch + 1}"
            name = f"{number}-{path.parent.name}-{path.stem}"
            file = Path(trainer.default_root_dir) / "maps" / f"{name}-epoch{trainer.current_epoch:04d}.png"
            overlay_png(attention_map, picture, file, caption=caption)
            for logger in trainer.loggers:
                if isinstance(logger, TensorBoardLogger):
                    pixels = np.asarray(Image.open(file).convert("RGB"))
                    logger.experiment.add_image(f"maps/{name}", pixels, trainer.global_step, dataformats="HWC")


def _readable(
    items: tuple[tuple[Path, int], ...], wanted: int, preprocessing: ImagePreprocessing
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
