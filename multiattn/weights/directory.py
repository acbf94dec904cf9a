"""Load and save model directories, whichever layout they are in."""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ..errors import ModelError
from . import blip, hf_blip, hf_vilt, hf_vit, hf_whisper, own, timm_vit, vit_gpt2, whisper
from .bundle import CONFIG, Layout, ModelBundle
from .checks import check_bundle, check_heads
from .hub import locate
from .json_files import read_json, write_json

_LAYOUTS: dict[str, Layout] = {
    room.NAME: room.LAYOUT for room in (own, timm_vit, hf_vit, hf_blip, blip, hf_vilt, vit_gpt2, hf_whisper, whisper)
}

_TOKENS = ("suppress", "suppress_first", "forced")  # of a decode: what without its vocabulary means something else

_ORIGINALS = {".pth": blip.NAME, ".pt": whisper.NAME}  # files that are models by themselves

LAYOUTS: tuple[str, ...] = tuple(_LAYOUTS)
"""The layouts that are read and written."""


def load_bundle(name: str | Path, *, revision: str | None = None, without: Sequence[str] = ()) -> ModelBundle:
    """Load a model with its preprocessing, and its labels or its vocabulary.

    Args:
        name: A task (the model shipped for it), a directory in any of `LAYOUTS`, a Hugging Face Hub id of one, a
            `.pth` file of the original BLIP, or a `.pt` file of the original Whisper.
        revision: Branch, tag or commit of a hub id.
        without: Of a recognizer: tensors of ours, such as those of `VOCABULARY`, that start anew as in a model that
            was never trained, to be trained again. They may be missing, and so may the vocabulary, which is not read.

    Raises:
        ModelError: It is not there, not of a known layout, not supported, or damaged.
    """
    directory = locate(name, revision=revision)
    config = read_json(directory / CONFIG) if directory.is_dir() else {"format": _ORIGINALS[directory.suffix]}
    for layout in _LAYOUTS.values():
        if layout.recognizes(config):
            try:
                bundle = _load(layout, directory, config, without)
            except ModelError:
                raise
            except (AttributeError, LookupError, TypeError, ValueError) as error:
                # published files come in more shapes than anyone can list: a value of another kind than it should be
                raise ModelError(
                    f"{directory}: a value in its {layout.name} files cannot be used ({error!r})"
                ) from error
            bundle.source, bundle.layout = str(name), layout.name
            if bundle.task in ("transcribe", "answer"):
                check_heads(bundle, where=str(directory))
            return bundle
    said = next((f' ("{key}": {config[key]!r})' for key in ("format", "model_type") if key in config), "")
    known = "; ".join(f"{layout.name} ({layout.sign})" for layout in _LAYOUTS.values())
    raise ModelError(f"{directory / CONFIG} is of a layout that is not known{said}; known are {known}")


def _load(layout: Layout, directory: Path, config: Mapping[str, Any], without: Sequence[str]) -> ModelBundle:
    if not without:
        return layout.load(directory, config)
    if layout.load_without is None:
        raise ModelError(f"`without` must be empty for the layout {layout.name}, but is {', '.join(without)} instead")
    bundle = layout.load_without(directory, config, without)
    bundle.decoding = {name: value for name, value in bundle.decoding.items() if name not in _TOKENS}
    return bundle


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
            chosen.write(bundle, state, parts[chosen.weights], dtype)
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
