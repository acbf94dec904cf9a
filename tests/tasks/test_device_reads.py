"""What a training step reads of a device: nothing, but for what the logging interval asks for."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest

from multiattn.tasks.training import main
from tests.device_reads import device_reads

from .asked import draw_asked, write_answer_config
from .captioned import draw_captioned, write_caption_config
from .conftest import draw_folder, logged, write_config
from .spoken import draw_spoken, write_speech_config

pytestmark = [pytest.mark.training, pytest.mark.filterwarnings("default")]

OPTIONS = (
    "--trainer.max_epochs=1 --trainer.limit_train_batches=8 --trainer.limit_val_batches=0 --data_report.files=0 "
    "--trainer.log_every_n_steps=1000 --data.batches.size=2 --checkpoint.every_n_steps=0"
).split()


class Noted(pl.Callback):
    """The counts at the start of each step."""

    reads: Counter[str]
    seen: list[Counter[str]]

    def on_train_batch_start(self, *_: Any) -> None:
        self.seen.append(Counter(self.reads))


@pytest.mark.parametrize(
    ("draw", "write", "more"),
    [
        (draw_folder, write_config, ""),
        pytest.param(draw_captioned, write_caption_config, "", marks=pytest.mark.slow),
        pytest.param(draw_asked, write_answer_config, "", marks=pytest.mark.slow),
        (draw_spoken, write_speech_config, "--data.batch_seconds=null --data.augmentation=null"),
    ],
    ids=["classify", "caption", "answer", "transcribe"],
)
def test_reads_of_a_training_step(draw: Callable, write: Callable, more: str, tmp_path: Path) -> None:
    root = draw(tmp_path / "data", sizes={"train": 24, "validation": 3})
    config = write(tmp_path / "c.yaml", root=root, run=tmp_path / "run")
    Noted.seen = []
    noted = "--trainer.callbacks+=tests.tasks.test_device_reads.Noted"
    with device_reads("multiattn") as Noted.reads:
        assert main(["fit", "--config", str(config), *OPTIONS, *more.split(), noted]) == 0
    between = Noted.seen[7] - Noted.seen[2]
    assert len(logged(tmp_path / "run", "train/loss")) == 1  # an epoch shorter than the interval is logged
    assert between == {"_read": 5}  # the counts of losses that are not finite, which a GPU is asked for with the logs
