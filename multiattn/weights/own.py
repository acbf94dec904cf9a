"""Our own layout: `config.json` describes the model, `model.safetensors` holds it under our keys.

`domain.safetensors`, where there is one, says what it was trained on (`domain_file`).

Which keys `config.json` has beside the architecture follows from the `TaskSpec`: labels, decoding, the kind of model.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ..blocks.int8 import Kernels
from ..errors import ModelError
from ..inputs import AudioPreprocessing, ImagePreprocessing
from ..models import int8
from ..models.scores import SCORE_FUNCTIONS
from ..models.vit import ViTConfig
from ..registry import TaskSpec, load_part, model_kind, task_spec, tasks
from .bundle import CONFIG, TOKENIZER, Layout, ModelBundle, build_model, states
from .domain_file import read_domain
from .json_files import check_value, read_architecture, read_part, short, tuples
from .model_files import ModelFiles

NAME = "multiattn"
_VERSION = 1
# keys of `decoding` in directories that were written before November 2026, and their names since
_FORMER_NAMES = {
    "beams": "num_beams",
    "candidates": "num_return_sequences",
    "renormalise": "renormalize",
    "compression_ratio_limit": "compression_ratio_threshold",
    "log_prob_limit": "log_prob_threshold",
    "no_speech_limit": "no_speech_threshold",
}


_STORED = ("fp32", "int8")
"""What the weights of a directory may be meant for. Those for fp32 may be stored in half precision."""

_LATER = {"text": None, "pairs": 0, "summary": False}
"""Fields of an architecture that came later, with their defaults, at which they are left out, as in directories without
them."""


def _keys(spec: TaskSpec) -> set[str]:
    """Return the keys of `config.json` for a model of this task."""
    keys = {"format", "version", "task", "architecture", "preprocessing", "card"}
    optional = {"kind": len(spec.models) > 1, "labels": spec.has_labels, "decoding": spec.has_tokenizer}
    return keys | {name for name, is_there in optional.items() if is_there}


def _stated(spec: TaskSpec) -> set[str]:
    """Return the keys that are stated only where they are not at their defaults: a directory without them is older."""
    optional = {"score_function": spec.scores_labels, "maps": bool(spec.map_methods), "precision": True}
    return {name for name, is_there in optional.items() if is_there}


def load(files: ModelFiles, config: Mapping[str, Any], without: Sequence[str] = ()) -> ModelBundle:
    """Read a directory of ours.

    Args:
        files: The directory's files.
        config: Its `config.json`.
        without: Tensors that start as in a new model; the vocabulary is then not read.

    Raises:
        ModelError: Something in it is not as we write it.
    """
    where = files.where(CONFIG)
    if config.get("version") != _VERSION:
        raise ModelError(
            f"{where}: `version` must be {_VERSION}, but is {config.get('version')!r} instead: "
            "install the multiattn that wrote it"
        )
    if (task := config.get("task")) not in tasks():
        raise ModelError(f"{where}: `task` must be one of {', '.join(tasks())}, but is {task!r} instead")
    spec = task_spec(task)
    if config.keys() - _stated(spec) - {"kind"} != (keys := _keys(spec)) - {"kind"}:
        raise ModelError(
            f"{where} must have the keys {', '.join(sorted(keys))}, but has {', '.join(sorted(config))} instead"
        )
    labels, kind = config.get("labels", []), config.get("kind", next(iter(spec.models)))
    are_names = isinstance(labels, list) and all(isinstance(label, str) for label in labels)
    check_value(are_names, "labels", must="a list of names", value=short(labels), where=where)
    check_value(kind in spec.models, "kind", must=f"one of {', '.join(spec.models)}", value=short(kind), where=where)
    function = config.get("score_function", "softmax")
    known = function in SCORE_FUNCTIONS
    check_value(
        known, "score_function", must=f"one of {', '.join(SCORE_FUNCTIONS)}", value=short(function), where=where
    )
    decoding, card, maps = (read_part(config, name, where=where) for name in ("decoding", "card", "maps"))
    first, methods = maps.get("first", spec.default_map_method), (*spec.map_methods, "")
    check_value(
        first in methods, "maps.first", must=f"one of {', '.join(methods[:-1])}", value=short(first), where=where
    )
    precision = config.get("precision", "fp32")
    check_value(precision in _STORED, "precision", must=" or ".join(_STORED), value=short(precision), where=where)
    preprocessing = AudioPreprocessing if spec.reads == "audio" else ImagePreprocessing
    try:
        prepared = preprocessing.from_dict(read_part(config, "preprocessing", where=where))
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise ModelError(f"{where}: `preprocessing` cannot be used ({error})") from error
    architecture = read_architecture(config["architecture"], load_part(spec.models[kind].config), where=where)
    is_int8 = precision == "int8"
    kernels = Kernels.find() if is_int8 and files.as_stored and not without else None
    state = int8.widened(files.tensors()) if is_int8 and kernels is None else None
    return ModelBundle(
        task=task,
        tokenizer=files.tokenizer() if spec.has_tokenizer and not without else None,
        model=build_model(architecture, files, state=state, without=without, kernels=kernels),
        preprocessing=prepared,
        labels=tuple(labels),
        score_function=function,
        decoding=read_decoding(decoding),
        card=dict(card),
        maps=dict(maps),
        domain=read_domain(files.directory, dim=_token_dim(architecture)),
    )


def _token_dim(architecture: Any) -> int | None:
    """Return the width of what a domain knows: what the head of a classifier reads, or a picture encoder's tokens."""
    if isinstance(architecture, ViTConfig):
        return architecture.pooled_dim
    encoder = getattr(architecture, "encoder", None)
    return encoder.dim if isinstance(encoder, ViTConfig) else None


def read_decoding(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `decoding` of a model directory under the present names."""
    return {_FORMER_NAMES.get(name, name): tuples(value) for name, value in values.items()}


def _stated_fields(items: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the fields of a configuration as `config.json` has them."""
    return {name: value for name, value in items if name not in _LATER or value != _LATER[name]}


def describe(bundle: ModelBundle) -> dict[str, dict[str, Any]]:
    """Return the JSON files of a bundle in this layout."""
    config = {
        "format": NAME,
        "version": _VERSION,
        "task": bundle.task,
        "architecture": asdict(bundle.config, dict_factory=_stated_fields),
        "preprocessing": bundle.preprocessing.to_dict(),
        "kind": model_kind(bundle.config)[0],
        "labels": list(bundle.labels),
        "decoding": bundle.decoding,
        "card": bundle.card,
    }
    keys = _keys(task_spec(bundle.task))
    files = {CONFIG: {name: value for name, value in config.items() if name in keys}}
    if bundle.score_function != "softmax" and "score_function" in _stated(task_spec(bundle.task)):
        files[CONFIG]["score_function"] = bundle.score_function
    if bundle.maps:
        files[CONFIG]["maps"] = bundle.maps
    if int8.is_int8(bundle.model):
        files[CONFIG]["precision"] = "int8"
    if bundle.tokenizer is not None:
        files[TOKENIZER] = json.loads(bundle.tokenizer.to_json())
    return files


LAYOUT = Layout(NAME, f'"format": "{NAME}"', states("format", NAME), load, describe, table=None, renews=True)
