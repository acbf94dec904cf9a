"""What a model directory holds, whatever its layout."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import ModelError
from ..inputs import ImagePreprocessing, Tokenizer
from ..models.captioner import Captioner, CaptionerConfig
from ..models.vit import ViT, ViTConfig
from .state import WEIGHTS, load_into, read_tensors, write_tensors
from .table import KeyTable

CONFIG = "config.json"
TOKENIZER = "tokenizer.json"


@dataclass
class ModelBundle:
    """A model with all that is needed to use it on files."""

    task: str
    """What it does: `classify` or `caption`."""

    model: ViT | Captioner
    """In eval mode, float32, on the CPU when loaded. `classifier` and `captioner` are this, of the kind they say."""

    preprocessing: ImagePreprocessing
    labels: tuple[str, ...] = ()
    """A name for each score of a classifier; empty for a model without a head."""

    tokenizer: Tokenizer | None = None
    """Of a model that writes; None for others."""

    decoding: dict[str, Any] = field(default_factory=dict)
    """How a model that writes does so where nobody says otherwise: the fields of `DecodingOptions` that it states, and
    `prompt`, the text that every caption goes on from. A field that is stated counts even at its default: `beams: 1` is
    greedy, while a model that says nothing is searched with as many as the pipeline likes."""

    source: str = ""
    """What was asked for: a task, a directory, a hub id."""

    layout: str = "multiattn"
    """The layout it was read from."""

    card: dict[str, Any] = field(default_factory=dict)
    """Facts about it that nothing is computed from: data, recipe, accuracy, origin."""

    @property
    def classifier(self) -> ViT:
        """The model, where it is one that classifies, or its body without a head.

        Raises:
            ModelError: It is one for another task.
        """
        if not isinstance(self.model, ViT):
            raise self._other("classify")
        return self.model

    @property
    def captioner(self) -> Captioner:
        """The model, where it is one that captions.

        Raises:
            ModelError: It is one for another task.
        """
        if not isinstance(self.model, Captioner):
            raise self._other("caption")
        return self.model

    def _other(self, task: str) -> ModelError:
        return ModelError(
            f"{self.source or 'the model'} must be a model for {task}, but is one for {self.task} instead: give another"
        )


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

    tasks: tuple[str, ...]
    """Those whose models it can hold."""

    weights: str = WEIGHTS
    """Name of the file they are written to."""

    write: Callable[[Mapping[str, Tensor], Path, torch.dtype], None] = write_tensors
    """Writes that file."""


def build_model(
    config: ViTConfig | CaptionerConfig,
    directory: Path,
    *,
    table: KeyTable | None = None,
    state: Mapping[str, Tensor] | None = None,
) -> ViT | Captioner:
    """The model a directory describes, with its weights, in eval mode.

    Args:
        config: What the model is made of.
        directory: Where it lies; for messages, and for the weights.
        table: The layout of the weights; our own where None.
        state: The weights, where they have been read already.

    Raises:
        ModelError: There can be no such model, or the weights do not fit it or are damaged.
    """
    try:
        with torch.device("meta"):  # nothing is initialised: the file has every value
            model = ViT(config) if isinstance(config, ViTConfig) else Captioner(config)
    except (ValueError, ZeroDivisionError, RuntimeError) as error:
        raise ModelError(f"{directory / CONFIG} describes no model that can be built: {error}") from error
    load_into(model, read_tensors(directory) if state is None else state, table=table, where=str(directory))
    return model.eval()


def check_bundle(bundle: ModelBundle) -> None:
    """Make sure that the parts of a bundle fit each other.

    Raises:
        ModelError: They do not; the message names the part.
    """
    if bundle.task == "caption":
        model = bundle.captioner
        if bundle.tokenizer is None:
            raise ModelError("`tokenizer` must be given for a model that writes, but is None instead")
        check_vocabulary(bundle.tokenizer, model.config.decoder.vocab_size, where="the bundle")
    else:
        check_labels(bundle.labels, bundle.classifier.config.num_classes, where="the bundle")


def check_vocabulary(tokenizer: Tokenizer, vocab_size: int, *, where: str) -> None:
    """Make sure that a vocabulary is the one that weights were made for, as far as the sizes tell.

    Weights may have a few rows more than there are entries: BLIP's files name two of its tokens nowhere, and others
    fill up to a round number.

    Raises:
        ModelError: It cannot be.
    """
    spare = 2 + vocab_size // 100
    if not vocab_size - spare <= tokenizer.vocab_size <= vocab_size:
        raise ModelError(
            f"{where} has a vocabulary of {tokenizer.vocab_size} entries, but its weights are made for {vocab_size}: "
            "put the model's own vocabulary beside them"
        )


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


def read_part(config: Mapping[str, Any], name: str, *, where: str) -> Mapping[str, Any]:
    """The object that stands in another one; empty where it is not stated.

    Args:
        config: The object that was read.
        name: The key of the part.
        where: The file it stands in, for messages.

    Raises:
        ModelError: There is something else.
    """
    part = config.get(name, {})
    if not isinstance(part, Mapping):
        raise ModelError(f"{where}: `{name}` must be an object, but is {short(part)} instead")
    return part


def short(value: Any) -> str:
    """A value as messages show it."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write an object so that a person can read it and a diff shows one change a line."""
    path.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
