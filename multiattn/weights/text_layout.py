"""`TextLayout`: how a directory holds a model of texts alone, for which there is no task; and how one is written."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..inputs import Tokenizer
from ..writing import whole_file, whole_folder, write_json
from .bundle import CONFIG
from .model_files import ModelFiles
from .state import write_tensors
from .tensor_files import WEIGHTS


@dataclass(frozen=True)
class TextLayout:
    """A published layout of a text encoder, a text decoder, or both."""

    name: str
    model_type: str
    """What `config.json` states."""

    kinds: tuple[type[nn.Module], ...]
    """The classes of ours that it holds."""

    read: Callable[[ModelFiles, Mapping[str, Any]], tuple[nn.Module, Tokenizer]]
    """Reads a model, in eval mode, and its vocabulary out of the files, given with their `config.json`."""

    describe: Callable[[Any, Tokenizer], tuple[dict[str, Tensor], dict[str, Any]]]
    """Returns the tensors of a model and its vocabulary under the layout's keys, and the JSON files beside them."""

    fits: Callable[[Any], bool] = lambda model: True
    """Whether a model of these classes is to be saved in this layout, where several hold them."""


def write_directory(directory: str | Path, state: Mapping[str, Tensor], files: Mapping[str, Any]) -> None:
    """Write tensors and JSON files as a directory, which is made where it does not exist.

    Raises:
        ModelError: The tensors have values that cannot be saved.
    """
    with whole_folder(Path(directory), last=CONFIG) as part:
        with whole_file(part / WEIGHTS) as weights:
            write_tensors(state, weights, torch.float32)
        for name, data in files.items():
            write_json(part / name, data)
