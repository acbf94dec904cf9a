"""Read a model's tensors from a file, load them into a model, and write them.

All keys, shapes and types must fit; where they do not, the error shows a `-`/`+` diff.
"""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from ..checks import require
from ..errors import ModelError
from .table import KeyTable

WEIGHTS = "model.safetensors"
_MAX_LINES = 20  # of a diff: a wrong architecture differs everywhere, and the first lines are enough


def read_tensors(directory: Path) -> dict[str, Tensor]:
    """Read the tensors of a model directory, floating ones as float32.

    Raises:
        ModelError: There is no safetensors file, or it is damaged.
    """
    from safetensors import SafetensorError, safe_open

    path = directory / WEIGHTS
    if not path.is_file():
        raise ModelError(_no_weights(directory))
    state: dict[str, Tensor] = {}
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            for key in file.keys():  # noqa: SIM118 - not a dict
                tensor = file.get_tensor(key)
                # a copy: the file is memory-mapped, and its tensors change when it does
                state[key] = tensor.to(torch.float32 if tensor.is_floating_point() else tensor.dtype, copy=True)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} is damaged ({error}): download or save it again") from error
    return state


def _no_weights(directory: Path) -> str:
    if (directory / f"{WEIGHTS}.index.json").is_file():
        return f"{directory} has its weights in several files, which is not supported: save it as one {WEIGHTS}"
    pickled = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth") for path in directory.glob(pattern))
    found = f", only {pickled[0]}, which is never unpickled because that can run any code" if pickled else ""
    return (
        f"{directory} has no {WEIGHTS}{found}: save it as safetensors first, e.g. with transformers' or timm's "
        "own export"
    )


def read_pickled(path: Path, *, under: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read the tensors of a file that torch pickled, floating ones as float32, without running code from it.

    Args:
        path: The file.
        under: The key of the tensors, if they are not the whole of the file.

    Returns:
        The tensors, and the values beside that key; the latter are empty where the tensors are the whole.

    Raises:
        ModelError: The file is damaged, holds something else, or needs code to be read.
    """
    try:
        data = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise ModelError(
            f"{path} is damaged, or holds more than tensors, which is never unpickled because that can run any code: "
            f"save its `{under}` alone with torch.save first"
        ) from error
    except Exception as error:  # torch raises errors of many types for a truncated file
        # its first sentence: the rest is guesses; for an empty file it has no text
        reason = re.split(r"\.\s|\n", str(error))[0].rstrip(".") or "it ends too soon"
        raise ModelError(f"{path} is damaged or cannot be read ({reason}): download or save it again") from error
    state = data.get(under, data) if isinstance(data, dict) else data
    if not isinstance(state, dict) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise ModelError(
            f"{path} must hold tensors by name, alone or under `{under}`, but holds something else instead"
        )
    tensors = {
        key: tensor.to(torch.float32 if tensor.is_floating_point() else tensor.dtype) for key, tensor in state.items()
    }
    return tensors, {} if state is data else {key: value for key, value in data.items() if key != under}


def write_tensors(state: Mapping[str, Tensor], path: Path, dtype: torch.dtype) -> None:
    """Write a model's tensors as safetensors, floating ones as `dtype`.

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


def as_dtype(state: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """Return a state as it is written: on the CPU, floating tensors as `dtype`.

    Raises:
        ModelError: A tensor has values that `dtype` cannot hold, or NaN or infinite ones.
    """
    require(dtype in (torch.float32, torch.float16), "dtype", must="float32 or float16", value=dtype)
    result: dict[str, Tensor] = {}
    for key, tensor in state.items():
        tensor = tensor.detach().cpu()
        if bad := _not_finite(tensor):
            raise ModelError(f"the model cannot be saved, for its training has diverged: {key} has {bad}; lower `lr`")
        if tensor.is_floating_point():
            tensor = tensor.to(dtype)
            if _not_finite(tensor):  # it was finite, so it has overflowed
                raise ModelError(f"{key} has values too large for {dtype}: save with `dtype` float32")
        result[key] = tensor.contiguous()
    return result


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
    ours = model.state_dict()
    needed = ours if table is None else table.to_theirs(ours)
    found = {key: tensor for key, tensor in state.items() if table is None or not table.drops(key)}
    if diff := difference(needed, found):
        raise ModelError("\n".join([f"{where} does not fit its architecture (- needed, + found):", *diff]))
    for key, tensor in found.items():
        if bad := _not_finite(tensor):
            raise ModelError(f"{where}: {key} has {bad}; the file is unusable")
    tensors = dict(found) if table is None else table.to_ours(found, ours)
    model.load_state_dict(tensors, strict=True, assign=True)


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
    kind = "" if tensor.is_floating_point() else f" {str(tensor.dtype).removeprefix('torch.')}"
    return f"{key} {list(tensor.shape)}{kind}"
