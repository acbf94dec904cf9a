"""The tensors of a model directory: safetensors or pickled by torch, in one file or in several with an index.

A file's sizes are checked against its length before memory is taken, and nothing pickled but tensors and plain values
is read: pickles can run any code.
"""

import warnings
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ModelError, reading
from ..text_files import read_json_file, require_regular

WEIGHTS = "model.safetensors"
PICKLED = "pytorch_model.bin"
INDEX = ".index.json"
"""What follows the name of the one file in the name of the file that lists several."""

OPEN_CLIP = ("open_clip_config.json", "open_clip_model.safetensors", "open_clip_pytorch_model.bin")
"""The files of open_clip: configuration, and the weights in either form. They may lie beside those of transformers."""

_AGAIN = "Download or save it again."
_OVERHEAD = 2**20  # bytes that the sizes of tensors may exceed a file by


def read_tensors(directory: Path, weights: str = WEIGHTS, pickled: str = PICKLED) -> dict[str, Tensor]:
    """Read the tensors of a model directory, floating ones as float32.

    Args:
        directory: Has `model.safetensors`, `pytorch_model.bin`, or several such files beside an `.index.json` that
            lists them; the first of these that is there is read, safetensors before pickled ones.
        weights: Another name for the first of these.
        pickled: Another name for the second.

    Raises:
        ModelError: There is no such file, one that the index lists is missing, or a file is damaged.
    """
    for name, read in ((weights, read_safetensors), (pickled, _read_bin)):
        if (directory / name).exists():
            return read(directory / name)
        if (directory / f"{name}{INDEX}").exists():
            return _read_parts(directory / f"{name}{INDEX}", Path(name).suffix)
    raise ModelError(_no_weights(directory, weights, pickled))


def tensor_names(directory: Path) -> tuple[str, ...]:
    """Return the names of a model directory's tensors, which are not read; none where that cannot be told.

    For messages about a directory that cannot be used anyway.
    """
    from safetensors import safe_open

    with suppress(Exception):
        for index in (directory / f"{WEIGHTS}{INDEX}", directory / f"{PICKLED}{INDEX}"):
            if index.exists():
                return tuple(sorted(key for keys in parts_of(index, "").values() for key in keys))
        if (directory / WEIGHTS).exists():
            with safe_open(directory / WEIGHTS, framework="pt") as file:
                return tuple(file.keys())
        shapes = load_pickled(directory / PICKLED, holds="its tensors", on_meta=True)
        return tuple(key for key in shapes.get("state_dict", shapes) if isinstance(key, str))
    return ()


def parts_of(index: Path, suffix: str) -> dict[str, list[str]]:
    """Return the files that an index lists, each with the keys of its tensors.

    Args:
        index: The file.
        suffix: What the names of the files end in.

    Raises:
        ModelError: It lists none, or one that does not lie beside it.
    """
    content = read_json_file(index, strict=True, error=ModelError)
    listed = content.get("weight_map") if isinstance(content, Mapping) else None
    if not isinstance(listed, Mapping) or not listed:
        raise ModelError(f"{index} must list the file of each tensor under `weight_map`, but does not. {_AGAIN}")
    parts: dict[str, list[str]] = {}
    for key, name in listed.items():
        if not isinstance(name, str) or Path(name).name != name or "\\" in name or not name.endswith(suffix):
            raise ModelError(
                f"{index}: the file of {key[:60]!r} must be one that ends in {suffix} and lies beside the index, but "
                f"is {str(name)[:60]!r} instead. {_AGAIN}"
            )
        parts.setdefault(name, []).append(key)
    return parts


def _read_parts(index: Path, suffix: str) -> dict[str, Tensor]:
    read = read_safetensors if suffix == Path(WEIGHTS).suffix else _read_bin
    parts = parts_of(index, suffix)
    if missing := [name for name in parts if not (index.parent / name).exists()]:
        raise ModelError(
            f"{index.parent} lacks {missing[0]}, one of the {len(parts)} files of its weights that {index.name} lists: "
            "download or copy it"
        )
    state: dict[str, Tensor] = {}
    for name, keys in parts.items():
        found = read(index.parent / name)
        if lacking := sorted(set(keys) - found.keys()):
            raise ModelError(f"{index.parent / name} lacks the tensor {lacking[0]}, which {index.name} lists. {_AGAIN}")
        if twice := sorted(found.keys() & state.keys()):
            raise ModelError(
                f"{index.parent / name} has the tensor {twice[0]}, which another of its files has. {_AGAIN}"
            )
        state |= found
    return state


def _no_weights(directory: Path, weights: str, bin_name: str) -> str:
    pickled = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth") for path in directory.glob(pattern))
    found = f", only {pickled[0]}" if pickled else ""
    return (
        f"{directory} has no {weights} and no {bin_name}{found}: save it as safetensors first, e.g. with transformers' "
        "or timm's own export"
    )


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file, floating tensors as float32.

    Raises:
        ModelError: It is damaged, or has a tensor of a type that torch lacks, or complex numbers.
    """
    from safetensors import safe_open

    state: dict[str, Tensor] = {}
    with reading(str(path), "a safetensors file", mend=_AGAIN, error=ModelError):
        require_regular(path)
        # the library checks that the tensors fill the file, and no more, before it gives any
        with safe_open(path, framework="pt", device="cpu") as file:
            for key in file.keys():  # noqa: SIM118 - not a dict
                tensor = file.get_tensor(key)
                _check_kind(key, tensor, path)
                # a copy: the file is memory-mapped, and its tensors change when it does
                state[key] = tensor.to(_kept(tensor), copy=True)
    return state


def _read_bin(path: Path) -> dict[str, Tensor]:
    return read_pickled(path, under="state_dict")[0]


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
    data = load_pickled(path, holds=f"its `{under}` alone")
    state = data.get(under, data) if isinstance(data, dict) else data
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and isinstance(tensor, Tensor) for key, tensor in state.items()
    ):
        raise ModelError(
            f"{path} must hold tensors by name, alone or under `{under}`, but holds something else instead"
        )
    for key, tensor in state.items():
        _check_kind(key, tensor, path)
    tensors = {key: tensor.detach().to(_kept(tensor)) for key, tensor in state.items()}
    return tensors, {} if state is data else {key: value for key, value in data.items() if key != under}


def load_pickled(path: Path, *, holds: str, on_meta: bool = False) -> Any:
    """Load what torch pickled: tensors and plain values, on the CPU, once it is clear that they fit into memory.

    Args:
        path: The file.
        holds: What of it to save, for the message about a file with more than tensors.
        on_meta: Leave the values of tensors in the file, and return their shapes on the meta device.

    Raises:
        ModelError: The file is damaged, is larger inside than outside, or needs code to be read.
    """
    with (
        reading(str(path), "a file that torch saved", mend=_AGAIN, error=ModelError),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # torch's, about how slow or unusual the file is
        require_regular(path)
        if not path.stat().st_size:
            raise ValueError("it is empty")
        _check_archive(path)
        try:
            # without values first: the shapes in a small file may ask for any amount of memory
            try:
                shapes = torch.load(path, map_location="meta", weights_only=True)
            except NotImplementedError as error:
                raise ValueError("it has a tensor that is no plain array, but sparse or quantized") from error
            _check_sizes(shapes, path)
            return shapes if on_meta else torch.load(path, map_location="cpu", weights_only=True)
        except UnpicklingError as error:
            raise ModelError(
                f"{path} is damaged, or holds more than tensors, which is never unpickled because that can run any "
                f"code: save {holds} with torch.save first"
            ) from error


def _check_archive(path: Path) -> None:
    """Check that the entries of a zip archive, which torch writes uncompressed, add up to no more than the file."""
    if not zipfile.is_zipfile(path):
        return  # the form of older versions of torch, or no file of torch at all
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except OSError as error:  # a place before the file's beginning
        raise ValueError("its table of contents is damaged") from error
    if any(entry.flag_bits & 1 for entry in entries):
        raise ValueError("it is encrypted")
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise ValueError("it is compressed, which torch never does")
    if sum(entry.file_size for entry in entries) > path.stat().st_size:
        raise ValueError("its entries state more bytes than the file has")


def _check_sizes(data: Any, path: Path) -> None:
    """Check that the tensors in what was loaded take no more than a few times the file's length."""
    waiting, seen, total, length = [data], set[int](), 0, path.stat().st_size
    while waiting:
        value = waiting.pop()
        if isinstance(value, Tensor):
            if value.layout is torch.strided:  # others are refused by name where tensors are used
                size = value.numel() * value.element_size()
                total += size
                if size > length or total > 4 * length + _OVERHEAD:
                    raise ValueError(f"a tensor of {list(value.shape)} is larger than the file")
        elif isinstance(value, Mapping | list | tuple | set) and id(value) not in seen:
            seen.add(id(value))
            waiting += value.values() if isinstance(value, Mapping) else value


def _check_kind(key: str, tensor: Tensor, path: Path) -> None:
    """Refuse tensors that are not plain arrays of real numbers."""
    kinds = (
        (tensor.layout is not torch.strided, f"sparse ({tensor.layout})"),
        (tensor.is_quantized, "quantized"),
        (tensor.device.type != "cpu", f"without values (on the device {tensor.device})"),
        (tensor.is_complex(), "complex"),
        (type(tensor) not in (Tensor, nn.Parameter), f"a {type(tensor).__name__}"),
    )
    if found := next((words for is_so, words in kinds if is_so), ""):
        raise ModelError(
            f"{path}: the tensor {key[:60]} must be a plain array of real numbers, but is {found} instead. Save it as "
            "a plain one."
        )


def _kept(tensor: Tensor) -> torch.dtype:
    return torch.float32 if tensor.is_floating_point() else tensor.dtype
