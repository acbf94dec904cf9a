"""Our own layout: `config.json` says what the model is, `model.safetensors` holds it under our keys."""

from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import torch

from ..errors import ModelError
from ..inputs import ImagePreprocessing
from ..models.vit import ViTConfig
from .bundle import CONFIG, Layout, ModelBundle, build_vit, check_labels

NAME = "multiattn"
_VERSION = 1
_KEYS = {"format", "version", "task", "architecture", "preprocessing", "labels", "card"}


def recognises(config: Mapping[str, Any]) -> bool:
    """Whether a `config.json` is of this layout."""
    return config.get("format") == NAME


def load(directory: Path, config: Mapping[str, Any]) -> ModelBundle:
    """Read a directory of ours.

    Raises:
        ModelError: Anything in it is not as we write it.
    """
    path = directory / CONFIG
    if config.get("version") != _VERSION:
        raise ModelError(
            f"{path}: `version` must be {_VERSION}, but is {config.get('version')!r} instead: "
            "install the multiattn that wrote it"
        )
    if config.keys() != _KEYS:
        raise ModelError(
            f"{path} must have the keys {', '.join(sorted(_KEYS))}, but has {', '.join(sorted(config))} instead"
        )
    if config["task"] != "classify":
        raise ModelError(f"{path}: `task` must be 'classify', but is {config['task']!r} instead")
    labels, card = config["labels"], config["card"]
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise ModelError(f"{path}: `labels` must be a list of names, but is {_short(labels)} instead")
    if not isinstance(card, dict):
        raise ModelError(f"{path}: `card` must be an object, but is {_short(card)} instead")
    architecture = read_architecture(config["architecture"], where=str(path))
    try:
        preprocessing = ImagePreprocessing.from_dict(config["preprocessing"])
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: `preprocessing` cannot be used ({error})") from error
    return ModelBundle(
        task="classify",
        model=build_vit(architecture, directory),
        preprocessing=preprocessing,
        labels=check_labels(tuple(labels), architecture.num_classes, where=str(path)),
        card=card,
    )


def describe(bundle: ModelBundle, dtype: torch.dtype) -> dict[str, dict[str, Any]]:
    """The JSON files of a bundle in this layout."""
    del dtype  # the weights say it themselves
    config = {
        "format": NAME,
        "version": _VERSION,
        "task": bundle.task,
        "architecture": asdict(bundle.model.config),
        "preprocessing": bundle.preprocessing.to_dict(),
        "labels": list(bundle.labels),
        "card": bundle.card,
    }
    return {CONFIG: config}


def read_architecture(data: Any, *, where: str) -> ViTConfig:
    """A `ViTConfig` from JSON. A field that is not given has its default; one that is not known is refused.

    Raises:
        ModelError: A field is unknown or of another kind.
    """
    if not isinstance(data, dict):
        raise ModelError(f"{where}: `architecture` must be an object, but is {_short(data)} instead")
    kinds = get_type_hints(ViTConfig)
    known = [field.name for field in fields(ViTConfig)]
    if unknown := sorted(data.keys() - set(known)):
        raise ModelError(f"{where}: `architecture` has no field {unknown[0]}; the fields are {', '.join(known)}")
    for name, value in data.items():
        if not _fits(value, kinds[name]):
            kind = getattr(kinds[name], "__name__", "") if isinstance(kinds[name], type) else ""
            wanted = kind or str(kinds[name]).replace("typing.", "")
            raise ModelError(f"{where}: `{name}` must be {wanted}, but is {_short(value)} instead")
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in data.items()}
    try:
        return ViTConfig(**values)
    except ValueError as error:
        raise ModelError(f"{where}: {error}") from error


def _fits(value: Any, kind: Any) -> bool:
    """Whether a JSON value is of a field's kind, among those that a configuration uses."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Literal:
        return value in parts
    if origin in (Union, UnionType):
        return any(_fits(value, part) for part in parts)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            return False
        if parts[-1] is not Ellipsis and len(value) != len(parts):
            return False
        return all(_fits(item, parts[0]) for item in value)
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, kind)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


LAYOUT = Layout(NAME, f'"format": "{NAME}"', recognises, load, describe, table=None)
