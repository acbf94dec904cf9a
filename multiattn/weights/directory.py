"""Load and save model directories, whichever layout they are in."""

import os
import shutil
from pathlib import Path

import torch

from ..errors import ModelError
from . import blip, hf_blip, hf_vit, own, timm_vit, vit_gpt2
from .bundle import CONFIG, Layout, ModelBundle, check_bundle, read_json, write_json
from .hub import locate

_LAYOUTS: dict[str, Layout] = {room.NAME: room.LAYOUT for room in (own, timm_vit, hf_vit, hf_blip, blip, vit_gpt2)}

LAYOUTS: tuple[str, ...] = tuple(_LAYOUTS)
"""The layouts that are read and written."""


def load_bundle(name: str | Path, *, revision: str | None = None) -> ModelBundle:
    """Load a model with its preprocessing, and its labels or its vocabulary.

    Args:
        name: A task (the model shipped for it), a directory in any of `LAYOUTS`, a Hugging Face Hub id of one, or a
            `.pth` file of the original BLIP.
        revision: Branch, tag or commit of a hub id.

    Raises:
        ModelError: It is not there, not of a known layout, not supported, or damaged.
    """
    directory = locate(name, revision=revision)
    config = read_json(directory / CONFIG) if directory.is_dir() else {"format": blip.NAME}
    for layout in _LAYOUTS.values():
        if layout.recognises(config):
            try:
                bundle = layout.load(directory, config)
            except ModelError:
                raise
            except (AttributeError, LookupError, TypeError, ValueError) as error:
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
    if bundle.task not in chosen.tasks:
        fitting = ", ".join(name for name, other in _LAYOUTS.items() if bundle.task in other.tasks)
        raise ModelError(
            f"`layout` must be one for {bundle.task} ({fitting}), but {layout} is one for "
            f"{', '.join(chosen.tasks)} instead"
        )
    check_bundle(bundle)
    files = chosen.describe(bundle, dtype)
    state = bundle.model.state_dict()
    if chosen.table is not None:
        state = chosen.table.to_theirs(state)
    parts = {name: directory / f".{name}.{os.getpid()}.part" for name in (chosen.weights, *files)}
    try:
        directory.mkdir(parents=True, exist_ok=True)
        try:
            chosen.write(state, parts[chosen.weights], dtype)
            for name, data in files.items():
                write_json(parts[name], data)
            shutil.copymode(
                parts[next(iter(files))], parts[chosen.weights]
            )  # safetensors makes files that only their owner can read
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
        directory: Where to write; must not be the source, nor the directory of a file that is.
        to: One of `LAYOUTS`.

    Returns:
        What was written.

    Raises:
        ModelError: As `load_bundle` and `save_bundle`.
    """
    bundle = load_bundle(source)
    path = Path(source).expanduser()
    if path.exists() and Path(directory).resolve() == (path.parent if path.is_file() else path).resolve():
        raise ModelError(f"the directory to write must not be the source, but is that of {source}: give another")
    save_bundle(bundle, directory, layout=to)
    return bundle
