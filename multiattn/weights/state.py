"""Load a model's tensors into a model, and write them; `tensor_files` reads them.

All keys, shapes and types must fit; where they do not, the error shows a `-`/`+` diff.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from ..blocks.int8 import Kernels
from ..checks import require
from ..errors import ModelError
from ..models.int8 import int8_state, load_int8
from .table import KeyTable

MISFIT = "does not fit its architecture (- needed, + found):"
"""The end of the first line of an error that shows a diff."""

_MAX_LINES = 20  # of a diff: a wrong architecture differs everywhere, and the first lines are enough


def write_tensors(state: Mapping[str, Tensor], path: Path, dtype: torch.dtype | None) -> None:
    """Write a model's tensors as safetensors, floating ones as `dtype`; as they are where None.

    Raises:
        ModelError: A tensor has values that `dtype` cannot hold, or NaN or infinite ones.
    """
    from safetensors.torch import save_file

    save_file(as_dtype(state, dtype), path, metadata={"format": "pt"})  # without which transformers refuses it


def write_pickled(
    state: Mapping[str, Tensor],
    path: Path,
    dtype: torch.dtype,
    *,
    under: str,
    beside: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Write a model's tensors pickled by torch, floating ones as `dtype`.

    Args:
        state: The tensors.
        path: The file.
        dtype: Type of the floating ones on disk.
        under: Their key in the file.
        beside: Further keys of the file, with plain values.

    Raises:
        ModelError: A tensor has values that `dtype` cannot hold, or NaN or infinite ones.
    """
    torch.save({**beside, under: as_dtype(state, dtype)}, path)


def as_dtype(state: Mapping[str, Tensor], dtype: torch.dtype | None) -> dict[str, Tensor]:
    """Return a state as it is written: on the CPU, floating tensors as `dtype`, or as they are where None.

    Raises:
        ModelError: A tensor has values that `dtype` cannot hold, or NaN or infinite ones.
    """
    known = dtype in (None, torch.float32, torch.float16, torch.bfloat16)
    require(known, "dtype", must="float32, float16 or bfloat16", value=dtype)
    result: dict[str, Tensor] = {}
    for key, tensor in state.items():
        tensor = tensor.detach().cpu()
        if bad := _not_finite(tensor):
            raise ModelError(f"the model cannot be saved, for its training has diverged: {key} has {bad}; lower `lr`")
        if tensor.is_floating_point() and dtype is not None:
            tensor = tensor.to(dtype)
            if _not_finite(tensor):  # it was finite, so it has overflowed
                raise ModelError(f"{key} has values too large for {dtype}: save with `dtype` float32")
        result[key] = tensor.contiguous()
    return result


def narrowed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state with those tensors in half precision that it holds exactly."""
    halves = {key: tensor.half() for key, tensor in state.items() if tensor.dtype == torch.float32}
    return {
        key: halves[key] if key in halves and torch.equal(halves[key].float(), tensor) else tensor
        for key, tensor in state.items()
    }


def _not_finite(tensor: Tensor) -> str:
    """Return how many values are NaN or infinite, in words; empty where none is."""
    if not tensor.is_floating_point() or not tensor.numel():
        return ""
    # NaN is both minimum and maximum; without a mask in memory this is several times as fast as `isfinite().all()`
    if all(math.isfinite(bound.item()) for bound in tensor.aminmax()):
        return ""
    return f"{int((~tensor.isfinite()).sum())} NaN or infinite of {tensor.numel()} values"


def load_into(
    model: nn.Module, state: Mapping[str, Tensor], *, table: KeyTable | None = None, where: str = "the weights"
) -> None:
    """Load a state into a model. Nothing may be missing, left over, of another shape or type, NaN or infinite.

    The tensors replace the model's own, so that a model built on the meta device holds real ones afterwards.

    Args:
        model: The model.
        state: Tensors under our keys, or under those of `table`.
        table: The layout of `state`; our own where None.
        where: The file, for messages.

    Raises:
        ModelError: With a diff in the keys of the file: `-` is needed, `+` is found.
    """
    ours, found = model.state_dict(), check_fit(model, state, table=table, where=where)
    _check_finite(found, where=where)
    tensors = dict(found) if table is None else table.to_ours(found, ours)
    model.load_state_dict(tensors, strict=True, assign=True)


def load_int8_into(model: nn.Module, state: Mapping[str, Tensor], kernels: Kernels, *, where: str) -> None:
    """Load a state in int8, under our keys, into a model, which is in int8 afterwards: nothing is quantized.

    Args:
        model: The model, on the meta device.
        state: Its tensors.
        kernels: The machine's.
        where: The file, for messages.

    Raises:
        ModelError: Something is missing, left over, of another shape or type, NaN or infinite.
    """
    if diff := difference(int8_state(model), state):
        raise ModelError("\n".join([f"{where} {MISFIT}", *diff]))
    _check_finite(state, where=where)
    load_int8(model, state, kernels)


def _check_finite(state: Mapping[str, Tensor], *, where: str) -> None:
    for key, tensor in state.items():
        if bad := _not_finite(tensor):
            raise ModelError(f"{where}: {key} has {bad}; the file is unusable")


def check_fit(
    model: nn.Module,
    state: Mapping[str, Tensor],
    *,
    table: KeyTable | None = None,
    where: str,
    without: Sequence[str] = (),
) -> dict[str, Tensor]:
    """Return the tensors of a state that a model loads, once none is missing, left over, or of another shape or type.

    Args:
        model: The model; on the meta device, nothing of its sizes has been allocated.
        state: Tensors under our keys, or under those of `table`.
        table: The layout of `state`; our own where None.
        where: The file, for messages.
        without: Tensors of ours that the state need not have.

    Raises:
        ModelError: With a diff in the keys of the file: `-` is needed, `+` is found.
    """
    ours = {key: tensor for key, tensor in model.state_dict().items() if key not in without}
    needed = ours if table is None else table.to_theirs(ours)
    others = set(without) if table is None else {name for key in without for name in _names(table, key)}
    found = {key: tensor for key, tensor in state.items() if key in needed or table is None or not table.drops(key)}
    found = {key: tensor for key, tensor in found.items() if key in needed or key not in others}
    if table is not None:
        table.check_dropped(state, {*needed, *others}, where=where)
    if diff := difference(needed, found):
        raise ModelError("\n".join([f"{where} {MISFIT}", *diff]))
    return found


def _names(table: KeyTable, key: str) -> tuple[str, ...]:
    """Return their keys for one of ours; none where the layout has no such tensor."""
    try:
        return table.names(key)[0]
    except ModelError:
        return ()


def difference(needed: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> Sequence[str]:
    """Return the lines of a diff of keys, shapes and types: `-` is needed, `+` is found. Empty where they agree."""
    lines: list[str] = []
    for key in sorted(needed.keys() | found.keys()):
        ours, theirs = (_describe(key, state) for state in (needed, found))
        if ours != theirs:
            lines += [f"  {sign} {text}" for sign, text in (("-", ours), ("+", theirs)) if text]
    if len(lines) > _MAX_LINES:
        lines = [*lines[:_MAX_LINES], f"  ... and {len(lines) - _MAX_LINES} more lines"]
    return lines


def _describe(key: str, state: Mapping[str, Tensor]) -> str:
    if key not in state:
        return ""
    tensor = state[key]
    if not isinstance(tensor, Tensor):
        return f"{key} {type(tensor).__name__}"
    kind = "" if tensor.is_floating_point() else f" {str(tensor.dtype).removeprefix('torch.')}"
    return f"{key} {list(tensor.shape)}{kind}"
