"""Our own layout: `config.json` says what the model is, `model.safetensors` holds it under our keys."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

import torch

from ..checks import fits, name_of
from ..errors import ModelError
from ..inputs import AudioPreprocessing, ImagePreprocessing, Tokenizer
from ..models.captioner import CaptionerConfig
from ..models.single_stream import SingleStreamConfig
from ..models.speech import SpeechConfig, SpeechEncoderConfig
from ..models.text_stack import TextConfig
from ..models.vit import ViTConfig
from ..models.vqa import VQAConfig
from .bundle import CONFIG, TOKENIZER, Config, Layout, ModelBundle, build_model
from .checks import check_answers, check_labels, check_vocabulary, vocabularies
from .json_files import read_part, short

NAME = "multiattn"
_VERSION = 1
_KEYS = {"format", "version", "task", "architecture", "preprocessing", "card"}
# the tasks, and for each what else stands in its file
_TASKS = {
    "classify": {"labels"},
    "caption": {"decoding"},
    "transcribe": {"decoding"},
    "answer": {"kind", "labels", "decoding"},
}
# the kinds of model that answer, by what stands in their file
_ANSWERERS: dict[str, type[VQAConfig | SingleStreamConfig]] = {"vqa": VQAConfig, "single_stream": SingleStreamConfig}
# names in `decoding` of directories that were written before November 2026, and what they are called now
_FORMER_NAMES = {
    "beams": "num_beams",
    "candidates": "num_return_sequences",
    "renormalise": "renormalize",
    "compression_ratio_limit": "compression_ratio_threshold",
    "log_prob_limit": "log_prob_threshold",
    "no_speech_limit": "no_speech_threshold",
}
_Config = TypeVar("_Config", bound=Config | TextConfig | SpeechEncoderConfig)


def recognizes(config: Mapping[str, Any]) -> bool:
    """Whether a `config.json` is of this layout."""
    return config.get("format") == NAME


def load(directory: Path, config: Mapping[str, Any]) -> ModelBundle:
    """Read a directory of ours.

    Raises:
        ModelError: Anything in it is not as we write it.
    """
    return _load(directory, config, ())


def load_without(directory: Path, config: Mapping[str, Any], without: Sequence[str]) -> ModelBundle:
    """Read a directory of ours that holds a recognizer, but for these tensors and the vocabulary.

    Raises:
        ModelError: As `load`; or it holds another model.
    """
    if config.get("task") != "transcribe":
        raise ModelError(f"{directory} must hold a model for transcribe, but is for {config.get('task')} instead")
    return _load(directory, config, without)


def _load(directory: Path, config: Mapping[str, Any], without: Sequence[str]) -> ModelBundle:
    path = directory / CONFIG
    if config.get("version") != _VERSION:
        raise ModelError(
            f"{path}: `version` must be {_VERSION}, but is {config.get('version')!r} instead: "
            "install the multiattn that wrote it"
        )
    task = config.get("task")
    if task not in _TASKS:
        raise ModelError(f"{path}: `task` must be one of {', '.join(_TASKS)}, but is {task!r} instead")
    if config.keys() != (keys := _KEYS | _TASKS[task]):
        raise ModelError(
            f"{path} must have the keys {', '.join(sorted(keys))}, but has {', '.join(sorted(config))} instead"
        )
    card = dict(read_part(config, "card", where=str(path)))
    kind = AudioPreprocessing if task == "transcribe" else ImagePreprocessing
    try:
        preprocessing = kind.from_dict(read_part(config, "preprocessing", where=str(path)))
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: `preprocessing` cannot be used ({error})") from error
    if task == "classify":
        bundle = _read_classifier(directory, config, preprocessing)
    elif task == "answer":
        bundle = _read_answerer(directory, config, preprocessing)
    else:
        bundle = _read_writer(directory, config, preprocessing, without)
    bundle.card = card
    return bundle


def _read_classifier(
    directory: Path, config: Mapping[str, Any], preprocessing: ImagePreprocessing | AudioPreprocessing
) -> ModelBundle:
    where = str(directory / CONFIG)
    labels = _read_labels(config, where=where)
    architecture = read_architecture(config["architecture"], ViTConfig, where=where)
    return ModelBundle(
        task="classify",
        model=build_model(architecture, directory),
        preprocessing=preprocessing,
        labels=check_labels(labels, architecture.num_classes, where=where),
    )


def _read_labels(config: Mapping[str, Any], *, where: str) -> tuple[str, ...]:
    labels = config["labels"]
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise ModelError(f"{where}: `labels` must be a list of names, but is {short(labels)} instead")
    return tuple(labels)


def _read_answerer(
    directory: Path, config: Mapping[str, Any], preprocessing: ImagePreprocessing | AudioPreprocessing
) -> ModelBundle:
    where = str(directory / CONFIG)
    labels, decoding = _read_labels(config, where=where), read_part(config, "decoding", where=where)
    if (kind := config["kind"]) not in _ANSWERERS:
        raise ModelError(f"{where}: `kind` must be one of {', '.join(_ANSWERERS)}, but is {short(kind)} instead")
    architecture = read_architecture(config["architecture"], _ANSWERERS[kind], where=where)
    tokenizer = Tokenizer.load(directory)
    for vocab_size in vocabularies(architecture):
        check_vocabulary(tokenizer, vocab_size, where=str(directory))
    return ModelBundle(
        task="answer",
        model=build_model(architecture, directory),
        preprocessing=preprocessing,
        labels=check_answers(labels, architecture.answers, where=where),
        tokenizer=tokenizer,
        decoding=read_decoding(decoding),
    )


def _read_writer(
    directory: Path,
    config: Mapping[str, Any],
    preprocessing: ImagePreprocessing | AudioPreprocessing,
    without: Sequence[str],
) -> ModelBundle:
    where, task = str(directory / CONFIG), config["task"]
    decoding = read_part(config, "decoding", where=where)
    kind: type[CaptionerConfig | SpeechConfig] = CaptionerConfig if task == "caption" else SpeechConfig
    architecture = read_architecture(config["architecture"], kind, where=where)
    tokenizer = None
    if not without:
        tokenizer = Tokenizer.load(directory)
        check_vocabulary(tokenizer, architecture.decoder.vocab_size, where=str(directory))
    return ModelBundle(
        task=task,
        model=build_model(architecture, directory, without=without),
        preprocessing=preprocessing,
        tokenizer=tokenizer,
        decoding=read_decoding(decoding),
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
    }
    files = {CONFIG: config}
    if bundle.task == "answer":
        config["kind"] = next(name for name, kind in _ANSWERERS.items() if isinstance(bundle.model.config, kind))
    if "labels" in _TASKS[bundle.task]:
        config["labels"] = list(bundle.labels)
    if bundle.tokenizer is not None:
        config["decoding"] = bundle.decoding
        files[TOKENIZER] = json.loads(bundle.tokenizer.to_json())
    config["card"] = bundle.card
    return files


def read_architecture(data: Any, kind: type[_Config], *, where: str, name: str = "architecture") -> _Config:
    """A configuration from JSON. A field that is not given has its default; one that is not known is refused.

    Args:
        data: The object that was read.
        kind: The dataclass that is wanted.
        where: The file it stands in, for messages.
        name: What the object is called there.

    Raises:
        ModelError: A field is unknown, of another kind, or missing where it has no default.
    """
    if not isinstance(data, dict):
        raise ModelError(f"{where}: `{name}` must be an object, but is {short(data)} instead")
    kinds, known = get_type_hints(kind), {field.name: field for field in fields(kind)}
    if unknown := sorted(data.keys() - known.keys()):
        raise ModelError(f"{where}: `{name}` has no field {unknown[0]}; the fields are {', '.join(known)}")
    values: dict[str, Any] = {}
    for field_name, value in data.items():
        wanted = kinds[field_name]
        if (part := _dataclass_in(wanted)) is not None and (value is not None or part is wanted):
            values[field_name] = read_architecture(value, part, where=where, name=field_name)
        elif fits(value, wanted):
            values[field_name] = tuples(value)
        else:
            raise ModelError(f"{where}: `{field_name}` must be {name_of(wanted)}, but is {short(value)} instead")
    for field_name, field in known.items():
        if field_name not in values and field.default is MISSING:
            raise ModelError(f"{where}: `{name}` must have `{field_name}`, but lacks it instead")
    try:
        return kind(**values)
    except ValueError as error:
        raise ModelError(f"{where}: {error}") from error


def _dataclass_in(kind: Any) -> type[Any] | None:
    """The dataclass that a field holds, perhaps or always."""
    return next((part for part in (kind, *get_args(kind)) if isinstance(part, type) and is_dataclass(part)), None)


def read_decoding(values: Mapping[str, Any]) -> dict[str, Any]:
    """The `decoding` of a model directory, under the names of now."""
    return {_FORMER_NAMES.get(name, name): tuples(value) for name, value in values.items()}


def tuples(value: Any) -> Any:
    """Lists, which is what JSON has for them, as tuples again."""
    return tuple(tuples(item) for item in value) if isinstance(value, list | tuple) else value


LAYOUT = Layout(
    NAME,
    f'"format": "{NAME}"',
    recognizes,
    load,
    describe,
    table=None,
    tasks=tuple(_TASKS),
    load_without=load_without,
)
