"""Checks that the configurations of all models share: each raises ValueError and names the field."""

import math
from collections.abc import Iterable
from typing import Any, Literal, get_args, get_origin, get_type_hints


def check_choices(config: Any) -> None:
    """Each field that is a `Literal` must have one of its values."""
    for name, kind in get_type_hints(type(config)).items():
        value = getattr(config, name)
        if get_origin(kind) is Literal and value not in get_args(kind):
            raise ValueError(f"`{name}` must be one of {', '.join(get_args(kind))}, but is {value!r} instead.")


def check_at_least(config: Any, least: int, names: Iterable[str]) -> None:
    """Each of these fields must be so large."""
    for name in names:
        if getattr(config, name) < least:
            raise ValueError(f"`{name}` must be at least {least}, but is {getattr(config, name)} instead.")


def check_shares(config: Any, names: Iterable[str]) -> None:
    """Each of these fields must be at least 0 and below 1."""
    for name in names:
        share = getattr(config, name)
        if not 0 <= share < 1:
            raise ValueError(f"`{name}` must be at least 0 and below 1, but is {share} instead.")


def check_epsilon(config: Any) -> None:
    """`norm_eps` must be above 0."""
    if not 0 < config.norm_eps < math.inf:
        raise ValueError(f"`norm_eps` must be above 0 and finite, but is {config.norm_eps} instead.")


def check_heads(config: Any) -> None:
    """`num_heads` must divide `dim`."""
    if config.dim % config.num_heads:
        raise ValueError(f"`dim` must be a multiple of `num_heads` ({config.num_heads}), but is {config.dim} instead.")


def check_image_size(config: Any) -> None:
    """`image_size` must be a height and a width, each of at least `patch_size`."""
    if len(config.image_size) != 2 or min(config.image_size) < config.patch_size:
        raise ValueError(
            f"`image_size` must be a height and a width of at least a patch ({config.patch_size}), "
            f"but is {config.image_size} instead."
        )
