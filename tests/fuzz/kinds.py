"""The kinds of input by name: how each is made, and how it is read."""

import importlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from .mutate import mutated
from .sample import Sample

_MODULES = {
    "picture": "pictures",
    "sound": "sounds",
    "model": "models",
    "manifest": "manifests",
    "map": "saved_maps",
    "config": "configs",
}
KINDS = tuple(_MODULES)
_MODULES["trouble"] = "trouble"

Job = dict[str, Any]
"""What a worker is to read: a kind with `name`, `whole`, or `seed` and `index`."""

SHARES = {"picture": 6, "sound": 6, "model": 3, "manifest": 3, "map": 1, "config": 1}
"""How many of 20 inputs are of each kind."""


@cache
def samples(kind: str) -> list[Sample]:
    """The whole files that inputs are changed from."""
    found: list[Sample] = importlib.import_module(f"{__package__}.{_MODULES[kind]}").samples()
    return found


def reader(kind: str) -> Callable[[Path], None]:
    """The function that reads an input as the program does. It raises MultiattnError for what cannot be read."""
    function: Callable[[Path], None] = importlib.import_module(f"{__package__}.{_MODULES[kind]}").read
    return function


def make(kind: str, seed: int, index: int) -> Sample:
    """The input of this number."""
    random = Random(f"{seed} {kind} {index}")
    return mutated(random.choice(samples(kind)), random)
