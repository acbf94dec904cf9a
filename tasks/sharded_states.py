"""A state in parts: a folder into which each process wrote its own, by torch's distributed checkpoint.

step-000000007.ckpt/meta.pt         what is no tensor, as Lightning saves it
step-000000007.ckpt/.metadata       an index: the tensors, and where in which file their pieces are
step-000000007.ckpt/__0_0.distcp    the pieces of process 0, each as torch saves a tensor
"""

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint import filesystem, metadata
from torch.distributed.checkpoint.metadata import Metadata

from multiattn.errors import ModelError, reading
from multiattn.weights.tensor_files import load_pickled

_INDEX = ".metadata"
REST = "meta.pt"
"""The file that has what is no tensor; Lightning's name."""

_PLAIN = (torch.Size, torch.dtype, torch.layout)
_CLASSES = {
    **{("torch.distributed.checkpoint.metadata", name): getattr(metadata, name) for name in metadata.__all__},
    ("torch.distributed.checkpoint.metadata", "_MEM_FORMAT_ENCODING"): metadata._MEM_FORMAT_ENCODING,
    ("torch.distributed.checkpoint.filesystem", "_StorageInfo"): filesystem._StorageInfo,
    ("torch.serialization", "_get_layout"): torch.serialization._get_layout,
    ("pathlib", "PosixPath"): Path,
    ("pathlib", "WindowsPath"): Path,
    ("pathlib", "Path"): Path,
}


class _IndexReader(pickle.Unpickler):
    """Reads an index, and nothing that could run code: torch itself unpickles whatever is there."""

    def find_class(self, module: str, name: str) -> Any:
        """Give the classes of an index alone."""
        if (module, name) in _CLASSES:
            return _CLASSES[module, name]
        found = getattr(torch, name, None) if module == "torch" else None
        if isinstance(found, _PLAIN) or found is torch.Size:
            return found
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no index needs")


def read_folder(folder: Path, *, thorough: bool) -> dict[str, Any]:
    """Read a state in parts but for the values of its tensors.

    Args:
        folder: The folder.
        thorough: Compare the tensors with their checksums, too, which takes the time to read all files.

    Returns:
        What Lightning saved, with weights on the meta device, and `optimizer_states` by the names of their values.

    Raises:
        ModelError: A file is missing or damaged, or the index needs code to be read.
    """
    with reading(str(folder), "a whole state in parts", error=ModelError):
        for name in (_INDEX, REST):  # the last that are written
            if not (folder / name).is_file():
                raise ValueError(f"it lacks {name}, so that it was not written to its end")
        with (folder / _INDEX).open("rb") as file:
            index = _IndexReader(file).load()
        if not isinstance(index, Metadata) or not isinstance(index.storage_data, dict):
            raise ValueError(f"{_INDEX} is no index")
        for piece in index.storage_data.values():
            _check_piece(folder, piece, thorough=thorough)
    state = load_pickled(folder / REST, holds="a state of Lightning alone", on_meta=True)
    if not isinstance(state, dict):
        return {}
    weights, optimizers = {}, set()
    for key, value in index.state_dict_metadata.items():
        part, _, name = key.partition(".")
        if part == "state_dict" and isinstance(value, metadata.TensorStorageMetadata):
            weights[name] = torch.empty(value.size, dtype=value.properties.dtype, device="meta")
        elif part.startswith("optimizer_"):
            optimizers.add(part)
    return {**state, "state_dict": weights, **({"optimizer_states": sorted(optimizers)} if optimizers else {})}


def _check_piece(folder: Path, piece: Any, *, thorough: bool) -> None:
    """Raise ValueError where a piece of a tensor is not whole."""
    path = folder / Path(piece.relative_path).name
    if not path.is_file() or path.stat().st_size < piece.offset + piece.length:
        raise ValueError(f"{path.name} is missing or ends early")
    if not thorough:
        return
    with path.open("rb") as file:
        file.seek(piece.offset)
        content = io.BytesIO(file.read(piece.length))
    with zipfile.ZipFile(content) as archive:
        if damaged := archive.testzip():
            raise ValueError(f"the checksum of {damaged} in {path.name} does not fit its content")
