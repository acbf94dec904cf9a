"""How weights are drawn before training, for all models."""

from torch import nn


def initialize(module: nn.Module) -> None:
    """Draw a module's own weights; for `nn.Module.apply`."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
