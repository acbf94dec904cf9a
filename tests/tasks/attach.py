"""A data module as one process of several has it, without Lightning's trainer; and short names of its batch options."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

from multiattn.tasks.loading.datamodule import BaseData, BatchOptions

_NAMES = {
    "batch_size": "size",
    "eval_batch_size": "eval_size",
    "num_workers": "num_workers",
    "max_bad_share": "max_bad_share",
}
Data = TypeVar("Data", bound=BaseData[Any, Any])


def grouped(**options: Any) -> dict[str, Any]:
    """Options of a data module, with those of its batches in one `BatchOptions`."""
    batches = {_NAMES[name]: options.pop(name) for name in tuple(options) if name in _NAMES}
    return options | {"batches": BatchOptions(**batches)}


def in_process(data: Data, *, rank: int, world: int) -> Data:
    """The data as the process `rank` of `world` has it."""
    data.trainer = SimpleNamespace(global_rank=rank, world_size=world, overfit_batches=0)  # type: ignore[assignment]
    return data


def filled(options: dict[str, Any], places: dict[str, Path]) -> dict[str, Any]:
    """Options with the names of models in braces, such as "{captioner}", replaced by their directories."""
    return {
        name: value.format(**places)
        if isinstance(value, str)
        else filled(value, places)
        if isinstance(value, dict)
        else value
        for name, value in options.items()
    }
