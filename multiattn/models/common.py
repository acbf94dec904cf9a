"""What all models share: checks of their configurations, the initial weights, the names of a part's attention sites."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from ..attention import Site
from ..checks import check_at_least, check_choices, check_rules, check_shares


def check_transformer(config: Any, *, shares: Sequence[str] = ("dropout", "attention_dropout")) -> None:
    """Check the fields that the configurations of all transformers have.

    Args:
        config: The configuration.
        shares: The fields that must be at least 0 and below 1.

    Raises:
        ValueError: A field is out of range; the message names it.
    """
    check_choices(config)
    check_at_least(config, 1, ("dim", "depth", "num_heads", "mlp_dim"))
    divides = config.dim % config.num_heads == 0 or getattr(config, "head_dim", None) is not None
    check_rules(
        config,
        ("dim", divides, f"a multiple of `num_heads` ({config.num_heads})"),
        ("norm_eps", 0 < config.norm_eps < math.inf, "above 0 and finite"),
    )
    check_shares(config, shares)


def check_image_size(config: Any) -> None:
    """Raise ValueError unless `image_size` is a height and a width, each of at least `patch_size`."""
    size, patch = config.image_size, config.patch_size
    must = f"a height and a width of at least a patch ({patch})"
    check_rules(config, ("image_size", len(size) == 2 and min(size) >= patch, must))


def initialize(module: nn.Module) -> None:
    """Draw a module's own initial weights; for `nn.Module.apply`."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)


class _NoInitialization(TorchFunctionMode):
    """Skips the random initialization of weights, and computes fixed tables on the CPU.

    On the meta device, `normal_` and `arange` would have torch import its compiler: over a second of processor time.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        options = dict(kwargs or {})
        if func in (nn.init.normal_, nn.init.uniform_, nn.init.kaiming_uniform_):
            return options["tensor"]
        if func is torch.arange:
            options.setdefault("device", "cpu")
        return func(*args, **options)


@contextmanager
def without_weights() -> Iterator[None]:
    """Build models on the meta device, without memory for their weights, which are to be loaded afterwards."""
    with torch.device("meta"), _NoInitialization():
        yield


def sites_of(parts: Sequence[tuple[str, Sequence[Site]]]) -> tuple[Site, ...]:
    """The attention sites of a model's parts, each with the name of its part before its own."""
    return tuple(replace(site, name=f"{part}.{site.name}") for part, sites in parts for site in sites)
