"""How weights are drawn before training, and how a model is built without drawing any."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode


def initialize(module: nn.Module) -> None:
    """Draw a module's own weights; for `nn.Module.apply`."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)


class _Undrawn(TorchFunctionMode):
    """Leaves tensors as they are where `nn.init` would draw them."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run one function of torch, or skip it."""
        options = dict(kwargs or {})
        if func in (nn.init.normal_, nn.init.uniform_, nn.init.kaiming_uniform_):
            return options["tensor"]
        if func is torch.arange:
            options.setdefault("device", "cpu")
        return func(*args, **options)


@contextmanager
def empty_weights() -> Iterator[None]:
    with torch.device("meta"), _Undrawn():
        yield
