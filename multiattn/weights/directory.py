"""Load and save model directories, whichever layout they are in."""

import os
import shutil
from pathlib import Path

import torch

from ..errors import ModelError
from . import hf_vit, own, timm_vit
from .bundle import CONFIG, Layout, ModelBundle, check_labels, read_json, write_json
from .hub import locate
from .state import WEIGHTS, write_tensors

_LAYOUTS: dict[str, Layout] = {layout.name: layout for layout in (own.LAYOUT, timm_vit.LAYOUT, hf_vit.LAYOUT)}

LAYOUTS: tuple[str, ...] = tuple(_LAYOUTS)
"""The layouts that are read and written."""


def load_bundle(name: str | Path, *, revision: str | None = None) -> ModelBundle:
    """Load a model with its preprocessing and labels.

    Args:
        name: A task (the model shipped for it), a directory in any of `LAYOUTS`, or a Hugging Face Hub id of one.
        revision: Branch, tag or commit of a hub id.

    Raises:
        ModelError: It is not there, not of a known layout, not supported, or damaged.
    """
    directory = locate(name, revision=revision)
    config = read_json(directory / CONFIG)
    for layout in _LAYOUTS.values():
        if layout.recognises(config):
            try:
                bundle = layout.load(directory, config)
            except ModelError:
                raise
            except (KeyError, TypeError, ValueError) as error:
                # published files come in more shapes than anyone can list: a value of another kind than it should be
                raise ModelError(
                    f"{directory}: a value in its {layout.name} files cannot be used ({error!r})"
                ) from error
            bundle.source, bundle.layout = str(name), layout.name
            return bundle
    said = next((f' ("{key}": {config[key]!r})' for key in ("format", "model_type") if key in config), "")
    known = "; ".join(f"{layout.name} ({layout.sign})" for layout in _LAYOUTS.values())
    raise ModelError(f"{directory / CONFIG} is of a layout that is not known{said}; known are {known}")


def save_bundle(
    bundle: ModelBundle, directory: str | Path, *, layout: str = own.NAME, dtype: torch.dtype = torch.float32
) -> None:
    """Write a model as a directory, which is made where it does not exist.

    Args:
        bundle: What to write.
        directory: Where to; a model that lies there already is replaced once all of the new one is on disk.
        layout: One of `LAYOUTS`.
        dtype: Of the weights on disk: float32, or float16 for half the size (loads as float32 again).

    Raises:
        ModelError: The layout cannot express the model, or the weights have values that `dtype` cannot hold.
    """
    if layout not in _LAYOUTS:
        raise ModelError(f"`layout` must be one of {', '.join(LAYOUTS)}, but is {layout!r} instead")
    chosen, directory = _LAYOUTS[layout], Path(directory)
    check_labels(bundle.labels, bundle.model.config.num_classes, where="the bundle")
    files = chosen.describe(bundle, dtype)
    state = bundle.model.state_dict()
    if chosen.table is not None:
        state = chosen.table.to_theirs(state)
    parts = {name: directory / f".{name}.{os.getpid()}.part" for name in (WEIGHTS, *files)}
    try:
        directory.mkdir(parents=True, exist_ok=True)
        try:
            write_tensors(state, parts[WEIGHTS], dtype=dtype)
            for name, data in files.items():
                write_json(parts[name], data)
            shutil.copymode(parts[CONFIG], parts[WEIGHTS])  # safetensors makes files that only their owner can read
            for name, part in parts.items():  # only now that all are whole
                part.replace(directory / name)
        finally:
            for part in parts.values():
                part.unlink(missing_ok=True)
    except OSError as error:
        raise ModelError(
            f"{directory} cannot be written ({error.strerror or error}): choose another directory"
        ) from error


def convert(source: str | Path, directory: str | Path, *, to: str) -> ModelBundle:
    """Write any model that `load_bundle` loads as a directory in another layout.

    Args:
        source: What `load_bundle` takes.
        directory: Where to write; must not be the source.
        to: One of `LAYOUTS`.

    Returns:
        What was written.

    Raises:
        ModelError: As `load_bundle` and `save_bundle`.
    """
    bundle = load_bundle(source)
    if Path(source).is_dir() and Path(directory).resolve() == Path(source).resolve():
        raise ModelError(f"the directory to write must not be the source, but both are {source}")
    save_bundle(bundle, directory, layout=to)
    return bundle
