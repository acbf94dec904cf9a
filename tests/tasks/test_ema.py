"""The moving average covers what belongs to the weights: the running statistics too, and copies what counts."""

from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import nn

from multiattn.tasks.callbacks import EMA


class Small(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.part = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5))


def test_running_statistics_are_averaged_with_the_weights_and_counters_are_copied() -> None:
    torch.manual_seed(0)
    module, ema = Small(), EMA(decay=0.5)
    expected = {}
    for step in range(4):
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.normal_()
        module.part(torch.randn(7, 3))  # moves the running mean and variance, and counts
        ema.update(module)
        for name, value in module.state_dict().items():
            if step == 0 or not value.is_floating_point():
                expected[name] = value.clone()
            else:
                decay = min(0.5, (1 + step) / (10 + step))
                expected[name] = decay * expected[name] + (1 - decay) * value
    trainer: Any = None
    trained = {name: value.clone() for name, value in module.state_dict().items()}
    state: dict[str, Any] = {"state_dict": module.state_dict()}
    ema.on_save_checkpoint(trainer, module, state)
    assert state["state_dict"].keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(state["state_dict"][name], value)
    assert not torch.equal(state["state_dict"]["part.1.running_mean"], trained["part.1.running_mean"])

    # validation sees the averages, and training goes on with its own weights
    ema.on_validation_epoch_start(trainer, module)
    for name, value in module.state_dict().items():
        torch.testing.assert_close(value, expected[name])
    ema.on_validation_epoch_end(trainer, module)
    assert all(torch.equal(value, trained[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_averages_of_half_precision_are_kept_in_fp32(dtype: torch.dtype) -> None:
    module, ema = Small().to(dtype), EMA(decay=0.999)
    trainer: Any = None
    weight = module.part[0].weight
    for step in range(3000):  # in half precision, a thousandth of a half would not move 1
        with torch.no_grad():
            weight.fill_(1.0 if step == 0 else 1.5)
        ema.update(module)
        if step % 100 == 0:  # a validation loses nothing of them
            ema.on_validation_epoch_start(trainer, module)
            ema.on_validation_epoch_end(trainer, module)
            assert float(weight.detach()[0, 0]) == (1.0 if step == 0 else 1.5)
    expected = 1.0
    for step in range(1, 3000):
        expected += (1 - min(0.999, (1 + step) / (10 + step))) * (1.5 - expected)
    state: dict[str, Any] = {"state_dict": module.state_dict()}
    ema.on_save_checkpoint(trainer, module, state)
    average = state["state_dict"]["part.0.weight"]
    assert average.dtype == torch.float32 and float(average[0, 0]) == pytest.approx(expected, abs=1e-4)
    ema.on_train_end(trainer, module)
    assert weight.dtype == dtype and float(weight.detach()[0, 0]) == pytest.approx(expected, rel=2**-8)
