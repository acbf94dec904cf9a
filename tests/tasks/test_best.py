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


@pytest.mark.filterwarnings("ignore:The dirpath has changed")
@pytest.mark.parametrize("is_there", [True, False])
def test_a_run_that_was_moved_keeps_its_best_state_where_it_is_there(is_there: bool, tmp_path: Path) -> None:
    before, after = (BestCheckpoint("val/top1") for _ in range(2))
    old, new = tmp_path / "old" / "best", tmp_path / "new" / "best"
    before.dirpath, after.dirpath = str(old), str(new)
    before.best_model_path = before.kth_best_model_path = str(old / "best.ckpt")
    before.best_model_score = before.kth_value = torch.tensor(0.9)
    before.best_k_models = {str(old / "best.ckpt"): torch.tensor(0.9)}
    new.mkdir(parents=True)
    if is_there:
        (new / "best.ckpt").touch()
    after.load_state_dict(before.state_dict())
    trainer: Any = SimpleNamespace(strategy=SimpleNamespace(reduce_boolean_decision=bool))
    if is_there:
        assert after.best_model_path == after.kth_best_model_path == str(new / "best.ckpt")
        assert after.check_monitor_top_k(trainer, torch.tensor(0.95))
    else:  # the old state belongs to another run by now
        assert not after.best_k_models
    assert after.check_monitor_top_k(trainer, torch.tensor(0.5)) is not is_there
