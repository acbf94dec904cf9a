"""The state with the best validation."""

from pathlib import Path
from typing import Literal

import lightning.pytorch as pl
from lightning.pytorch.callbacks import ModelCheckpoint

from ..states import write_whole_states


class BestCheckpoint(ModelCheckpoint):
    """The state with the best validation, in `RUN/best/best.ckpt`; `ModelDirectory` exports it."""

    def __init__(self, monitor: str = "val/top1", mode: Literal["min", "max"] = "max") -> None:
        super().__init__(filename="best", monitor=monitor, mode=mode, enable_version_counter=False)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Set a fixed folder: Lightning's default is a new one at each start, where the best state would be missing."""
        self.dirpath = str((Path(trainer.default_root_dir) / "best").resolve())
        write_whole_states(trainer)
        super().setup(trainer, pl_module, stage)
