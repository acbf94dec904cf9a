"""The state with the best validation."""

from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
from lightning.pytorch.callbacks import ModelCheckpoint

from ..states import write_whole_states

_PATHS = ("best_model_path", "kth_best_model_path", "last_model_path")
_ERRORS = ("loss", "wer", "cer")
"""How the names of metrics end of which less is better."""


class BestCheckpoint(ModelCheckpoint):
    """The state with the best validation, in `RUN/best/best.ckpt`; `ModelDirectory` exports it.

    Args:
        monitor: The metric that says which is best.
        mode: Whether the smallest or the largest is; by default the smallest loss or error rate, else the largest.
    """

    def __init__(self, monitor: str = "val/top1", mode: Literal["min", "max"] | None = None) -> None:
        mode = mode or ("min" if monitor.endswith(_ERRORS) else "max")
        super().__init__(filename="best", monitor=monitor, mode=mode, enable_version_counter=False)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Set a fixed folder: Lightning's default is a new one at each start, where the best state would be missing."""
        self.dirpath = str((Path(trainer.default_root_dir) / "best").resolve())
        write_whole_states(trainer)
        super().setup(trainer, pl_module, stage)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the best so far, also where the run's folder was moved: Lightning would forget its score."""
        here, best = Path(self.dirpath or ""), Path(state_dict.get("best_model_path", ""))
        if best.name and best.parent != here and (here / best.name).is_file():
            paths = {name: str(here / Path(state_dict[name]).name) for name in _PATHS if state_dict.get(name)}
            models = {str(here / Path(path).name): score for path, score in state_dict["best_k_models"].items()}
            state_dict = {**state_dict, **paths, "best_k_models": models, "dirpath": self.dirpath}
        super().load_state_dict(state_dict)
