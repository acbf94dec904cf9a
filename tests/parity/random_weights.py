"""Random weights that leave nothing out: no tensor is zero or one, and the logits are of order 1."""

import torch
from torch import nn


@torch.no_grad()
def randomize(model: nn.Module, *, seed: int) -> nn.Module:
    """Draw every parameter anew, biases, norms and factors too, and return the model in eval mode."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        drawn = torch.randn(parameter.shape, generator=generator)
        kind = name.rpartition(".")[2]
        if kind == "gamma":  # layer scale
            drawn = 0.5 + 0.1 * drawn
        elif kind == "weight" and parameter.ndim == 1:  # norm
            drawn = 1.0 + 0.2 * drawn
        elif kind == "weight":
            drawn = drawn / parameter[0].numel() ** 0.5
        elif kind == "bias":
            drawn = 0.2 * drawn
        else:  # tokens and positions
            drawn = 0.5 * drawn
        parameter.copy_(drawn)
    return model.eval()
