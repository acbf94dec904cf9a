"""The moving average covers what belongs to the weights: the running statistics too, and copies what counts."""

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from multiattn.tasks.callbacks import EMA


def test_running_statistics_are_averaged_with_the_weights_and_counters_are_copied() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5))
    ema = EMA(decay=0.5)
    averaged = AveragedModel(model, use_buffers=ema._use_buffers, **ema._kwargs)
    expected = {}
    for step in range(4):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.normal_()
        model(torch.randn(7, 3))  # moves the running mean and variance, and counts
        averaged.update_parameters(model)
        for name, value in model.state_dict().items():
            if step == 0 or not value.is_floating_point():
                expected[name] = value.clone()
            else:
                decay = min(0.5, (1 + step) / (10 + step))
                expected[name] = decay * expected[name] + (1 - decay) * value
    state = averaged.module.state_dict()
    assert state.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(state[name], value)
    assert not torch.equal(state["1.running_mean"], model.state_dict()["1.running_mean"])
