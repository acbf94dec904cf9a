"""Load, save and convert model directories, whichever layout they are in.

The way of a model: `locate` finds its directory, the `Layout` that recognizes `config.json` reads it into a
`ModelBundle`, and `save_bundle` writes that in the same or another layout.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from .. import registry
from ..blocks.int8 import Kernels
from ..checks import require
from ..errors import ModelError, brief, reading
from ..models.int8 import is_int8, quantize
from ..writing import whole_file, whole_folder, write_json
from . import own
from .bundle import CONFIG, Layout, ModelBundle
from .domain_file import DOMAIN, write_domain
from .hub import ORIGINALS, config_in, locate
from .json_files import read_json, short
from .model_files import ModelFiles
from .nearest import nearest_of
from .state import MISFIT, narrowed, write_tensors
from .tensor_files import WEIGHTS, tensor_names
from .unsupported import refuse

_ON_DISK = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

_TOKENS = ("suppress", "suppress_first", "forced")  # `GenerationConfig` fields that name tokens of one vocabulary


def known_layouts() -> Iterator[Layout]:
    """Import one layout after the other, our own first."""
    yield own.LAYOUT
    for module in registry.layouts().values():
        yield registry.load_part(f"{module}:LAYOUT")


def layout_names() -> tuple[str, ...]:
    """Return the names of the layouts that are read and written."""
    return (own.NAME, *registry.layouts())


def layout_of(config: Mapping[str, Any]) -> Layout | None:
    """Return the layout that recognizes a `config.json`; None where none does."""
    return next((layout for layout in known_layouts() if layout.recognizes(config)), None)


def recognize(directory: Path) -> tuple[str, tuple[str, ...]] | None:
    """Return the layout of a model directory and the tasks that its model may do, by its `config.json` alone.

    Args:
        directory: The directory.

    Returns:
        None where the file cannot be read or is of no layout that is known.
    """
    try:
        config = read_json(directory / config_in(directory))
        layout = layout_of(config)
    except ModelError:
        return None
    if layout is None:
        return None
    if layout.table is None:
        return layout.name, (str(config.get("task")),)
    fitting = tuple(spec.name for spec in registry.tasks().values() if layout.name in spec.layouts)
    stated = [layout.tasks[name] for name in config.get("architectures") or () if name in layout.tasks]
    return layout.name, tuple(stated) or fitting


def load_bundle(
    name: str | Path, *, revision: str | None = None, without: Sequence[str] = (), as_stored: bool = False
) -> ModelBundle:
    """Load a model with its preprocessing, and its labels or its vocabulary.

    Args:
        name: A task (the model shipped for it), a directory in any layout of `layout_names()`, a Hugging Face Hub id of
            one or its short name, a `.pth` file of the original BLIP, or a `.pt` file of the original Whisper.
        revision: Branch, tag or commit of a hub id.
        without: Tensors of ours, such as those of `VOCABULARY`, that start as in a new model, to be trained again. They
            may be missing, and so may the vocabulary, which is not read. For our own layout and those of Whisper.
        as_stored: Whether a model whose weights are in int8 is to compute in int8, on a CPU and without training; else
            its weights are widened to fp32.

    Raises:
        ModelError: It is not there, not of a known layout, not supported, or damaged.
    """
    directory = locate(name, revision=revision)
    config = (
        read_json(directory / config_in(directory)) if directory.is_dir() else {"format": ORIGINALS[directory.suffix]}
    )
    layout = layout_of(config)
    if layout is None:
        refuse(config.get("model_type"), where=str(directory))
        raise ModelError(_unknown(directory, config))
    if without and not layout.renews:
        raise ModelError(f"`without` must be empty for the layout {layout.name}, but is {', '.join(without)} instead")
    try:
        with reading(str(directory), f"a model in the layout {layout.name}", error=ModelError):
            files = ModelFiles(directory)
            files.as_stored = as_stored
            bundle = layout.load(files, config, without) if without else layout.load(files, config)
            bundle.check(str(directory))
    except ModelError as error:
        message = str(error) if MISFIT in str(error) else brief(str(error))
        if str(directory) not in message:  # of a part that does not know where it was read
            message = f"{directory}: {message}"
        if message == str(error):
            raise
        raise ModelError(message) from error
    if without:
        bundle.decoding = {name: value for name, value in bundle.decoding.items() if name not in _TOKENS}
    bundle.source, bundle.layout = str(name), layout.name
    return bundle


def _unknown(directory: Path, config: Mapping[str, Any]) -> str:
    """Return the message about a directory of no layout: the nearest, and the first tensor that is not in it."""
    if str(config.get("format")).startswith("multiattn-"):  # written by `multiattn export`, without weights to load
        how = "run it with --runtime onnxruntime" if config["format"] == "multiattn-onnx" else "use torch.export.load"
        return f"{directory / CONFIG} is that of an exported model, not of one with weights: {how}"
    said = next((f' ("{key}": {short(config[key])})' for key in ("format", "model_type") if key in config), "")
    keys = tensor_names(directory)
    near = f": {nearest_of(keys, known_layouts()).describe(len(keys))}" if keys else ""
    known = "; ".join(f"{layout.name} ({layout.sign})" for layout in known_layouts())
    return f"{directory / CONFIG} is of a layout that is not known{said}{near}; known are {known}"


def save_bundle(
    bundle: ModelBundle, directory: str | Path, *, layout: str = own.NAME, dtype: torch.dtype = torch.float32
) -> None:
    """Write a model as a directory, which is made where it does not exist.

    A model in int8 is written in int8, in our own layout alone: its numbers, and what else it has in float32, or in
    float16 where that changes nothing.

    Args:
        bundle: What to write.
        directory: Where to; a model that lies there already is replaced once all of the new one is on disk. A process
            that is killed while it replaces the files leaves a directory without `config.json`, which is not loaded.
        layout: One of `layout_names()`.
        dtype: Of the weights on disk: float32, or float16 or bfloat16 for half the size (they load as float32 again).
            Not used for a model in int8.

    Raises:
        ModelError: The layout cannot express the model, or the weights have values that `dtype` cannot hold.
    """
    require(layout in layout_names(), "layout", must=f"one of {', '.join(layout_names())}", value=layout)
    spec, directory = registry.task_spec(bundle.task), Path(directory)
    if layout not in (fitting := (own.NAME, *spec.layouts)):
        others = [other.name for other in registry.tasks().values() if layout in other.layouts]
        raise ModelError(
            f"`layout` must be one for {bundle.task} ({', '.join(fitting)}), but {layout} is one for "
            f"{', '.join(others)} instead"
        )
    if spec.has_tokenizer and bundle.tokenizer is None:
        raise ModelError("`tokenizer` must be given for a model that reads or writes text, but is None instead")
    bundle.check()
    chosen = next(known for known in known_layouts() if known.name == layout)
    in_int8 = is_int8(bundle.model)
    if in_int8 and layout != own.NAME:
        raise ModelError(f"`layout` must be {own.NAME} for a model in int8, but is {layout} instead")
    files = chosen.describe(bundle)
    if chosen.states_dtype:
        files[chosen.config]["dtype"] = str(dtype).removeprefix("torch.")
    state = bundle.model.state_dict()
    if (table := chosen.table_of(files[chosen.config])) is not None:
        state = table.to_theirs(state)
    domain = bundle.domain if layout == own.NAME else None
    try:
        # the configuration of another layout would be read in its place
        replaced = (DOMAIN,) if chosen.config == CONFIG else (DOMAIN, CONFIG, WEIGHTS)
        with whole_folder(directory, last=chosen.config, optional=replaced) as part:
            with whole_file(part / chosen.weights) as weights:
                if in_int8:
                    write_tensors(narrowed(state), weights, None)
                else:
                    chosen.write(bundle, state, weights, dtype)
            if domain is not None:
                with whole_file(part / DOMAIN) as statistics:
                    write_domain(domain, statistics)
            for name, data in files.items():
                write_json(part / name, data)
    except OSError as error:
        raise ModelError(
            f"{error.filename or directory} cannot be written ({error.strerror or error}): choose another directory"
        ) from error


def convert(source: str | Path, directory: str | Path, *, to: str, precision: str = "fp32") -> ModelBundle:
    """Write any model that `load_bundle` loads as a directory in another layout.

    Args:
        source: What `load_bundle` takes.
        directory: Where to write; must not be the source, nor the directory of a file that is.
        to: One of `layout_names()`.
        precision: Of the weights on disk: "fp32", "bf16", "fp16", or "int8", which only our own layout has and which
            needs a machine with kernels for it.

    Returns:
        The model that was written.

    Raises:
        ModelError: As `load_bundle` and `save_bundle`; or there is no such precision, or not here.
    """
    known = ("int8", *_ON_DISK)
    require(precision in known, "precision", must=f"one of {', '.join(known)}", value=precision)
    kernels = Kernels.find() if precision == "int8" else None
    if precision == "int8" and to != own.NAME:
        raise ModelError(f"`to` must be {own.NAME} for int8, which no other layout has, but is {to} instead")
    if precision == "int8" and kernels is None:
        raise ModelError(f"`precision` must not be int8 here, for torch {torch.__version__} has no kernels for it")
    bundle = load_bundle(source, as_stored=precision == "int8")
    path = Path(source).expanduser()
    if path.exists() and Path(directory).resolve() == (path.parent if path.is_file() else path).resolve():
        raise ModelError(f"the directory to write must not be the source, but is that of {source}: give another")
    if kernels is not None:
        quantize(bundle.model, kernels)
    save_bundle(bundle, directory, layout=to, dtype=_ON_DISK.get(precision, torch.float32))
    return bundle
