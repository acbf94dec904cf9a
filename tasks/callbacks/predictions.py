"""The lines of the verb `predict`."""

import json
import sys
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback

from multiattn.writing import naming

from ..base import BaseTask
from ..loading.datamodule import data_of


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
