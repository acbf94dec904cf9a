"""What a model directory holds, whatever its layout."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ..errors import ModelError
from ..inputs import ImagePreprocessing
from ..models.vit import ViT, ViTConfig
from .state import load_into, read_tensors
from .table import KeyTable

CONFIG = "config.json"


@dataclass
class ModelBundle:
    """A model with all that is needed to use it on files."""

    task: str
    """What it does: `classify`."""

    model: ViT
    """In eval mode, float32, on the CPU when loaded."""

    preprocessing: ImagePreprocessing
    labels: tuple[str, ...]
    """A name for each score; empty for a model without a head."""

    source: str = ""
    """What was asked for: a task, a directory, a hub id."""

    layout: str = "multiattn"
    """The layout it was read from."""

    card: dict[str, Any] = field(default_factory=dict)
    """Facts about it that nothing is computed from: data, recipe, accuracy, origin."""


@dataclass(frozen=True)
class Layout:
    """A kind of model directory: how it is told apart, read and written."""

    name: str
    sign: str
    """What in `config.json` tells it apart, for messages."""

    recognises: Callable[[Mapping[str, Any]], bool]
    load: Callable[[Path, Mapping[str, Any]], ModelBundle]
    """From a directory and its `config.json`."""

    describe: Callable[[ModelBundle, torch.dtype], dict[str, dict[str, Any]]]
    """The JSON files that go with weights of that type on disk, by name."""

    table: KeyTable | None
    """Its keys against ours; None where they are ours."""


def build_vit(config: ViTConfig, directory: Path, *, table: KeyTable | None = None) -> ViT:
    """The model a directory describes, with its weights, in eval mode.

    Raises:
        ModelError: There can be no such model, or the weights do not fit it or are damaged.
    """
    try:
        with torch.device("meta"):  # nothing is initialised: the file has every value
            model = ViT(config)
    except (ValueError, ZeroDivisionError, RuntimeError) as error:
        raise ModelError(f"{directory / CONFIG} describes no model that can be built: {error}") from error
    load_into(model, read_tensors(directory), table=table, where=str(directory))
    return model.eval()


def check_labels(labels: tuple[str, ...], num_classes: int, *, where: str) -> tuple[str, ...]:
    """The labels, of which there must be one a class."""
    if len(labels) != num_classes:
        raise ModelError(f"{where} must have a label for each of {num_classes} classes, but has {len(labels)} instead")
    return labels


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        ModelError: It is missing, or holds something else.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(f"{path.parent} has no {path.name}: it is no model directory, or not all of one") from error
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read ({error})") from error
    if not isinstance(data, dict):
        raise ModelError(f"{path} must hold a JSON object, but holds a {type(data).__name__} instead")
    return data


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write an object so that a person can read it and a diff shows one change a line."""
    path.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
