"""The arguments of tasks and data modules as `hparams`: plain values in a state, for `load_from_checkpoint`.

Lightning's `save_hyperparameters` keeps the arguments as they are. Here some are dataclasses, and a state that holds an
object of a class is refused where it is read, as nothing is unpickled.
"""

import inspect
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.core.mixins.hparams_mixin import HyperparametersMixin
from lightning.pytorch.utilities.parsing import collect_init_args

_INSTANTIATOR = "lightning.pytorch.cli.instantiate_module"
"""Makes dataclasses of plain values again, by the types of the constructor; one of those that Lightning allows."""


def record_arguments(module: pl.LightningModule | pl.LightningDataModule, *, logged: bool) -> None:
    """Keep the arguments of a constructor as `module.hparams`. To be called in the constructor, of the class or a base.

    Args:
        module: What is constructed.
        logged: Whether the loggers write them.
    """
    frame = inspect.currentframe()
    assert frame is not None and isinstance(frame.f_back, FrameType)
    found: dict[str, Any] = {}
    for arguments in collect_init_args(frame.f_back, [], classes=(HyperparametersMixin,)):  # the class itself is last
        found |= arguments
    named = [name for name in inspect.signature(type(module).__init__).parameters if name in found]
    hparams = {name: plain(found[name]) for name in named}
    module.save_hyperparameters(hparams | {"_instantiator": _INSTANTIATOR}, logger=logged)


def plain(value: Any) -> Any:
    """A value with dictionaries for its dataclasses, and text for its paths."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return str(value) if isinstance(value, Path) else value
