"""Which state is kept as the best one."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from multiattn.tasks.callbacks import BestCheckpoint


@pytest.mark.parametrize(
    ("monitor", "mode"),
    [
        ("val/top1", "max"),
        ("val/cider", "max"),
        ("val/loss", "min"),
        ("val/wer", "min"),
        ("val/cer", "min"),
        ("val/macro_accuracy", "max"),
    ],
)
def test_less_is_better_of_losses_and_errors(monitor: str, mode: Any) -> None:
    assert BestCheckpoint(monitor).mode == mode
    assert BestCheckpoint(monitor, mode="max").mode == "max"


def test_a_run_that_was_moved_keeps_its_best_state(tmp_path: Path) -> None:
    before, after = (BestCheckpoint("val/top1") for _ in range(2))
    old, new = tmp_path / "old" / "best", tmp_path / "new" / "best"
    before.dirpath, after.dirpath = str(old), str(new)
    before.best_model_path = before.kth_best_model_path = str(old / "best.ckpt")
    before.best_model_score = before.kth_value = torch.tensor(0.9)
    before.best_k_models = {str(old / "best.ckpt"): torch.tensor(0.9)}
    new.mkdir(parents=True)
    (new / "best.ckpt").touch()
    after.load_state_dict(before.state_dict())
    assert after.best_model_path == str(new / "best.ckpt") and float(after.best_model_score or 0) == pytest.approx(0.9)
    trainer: Any = SimpleNamespace(strategy=SimpleNamespace(reduce_boolean_decision=bool))
    assert not after.check_monitor_top_k(trainer, torch.tensor(0.5))
    assert after.check_monitor_top_k(trainer, torch.tensor(0.95))
