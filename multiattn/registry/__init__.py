"""The tasks: what each is called, what it reads and writes, and where its parts are. Importing this imports no torch.

A task is one `TaskSpec`. Every module of this package holds one as `SPEC` and is found without being listed; another
package adds a task by calling `register`. A spec names its parts as "module:attribute"; `load_part` imports them when
they are needed. A value of a model's configuration is named by its path, such as "decoder.vocab_size"; `value_at`
reads it.
"""

import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, reduce
from importlib import import_module
from typing import Any, Literal, NamedTuple

from ..errors import ModelError


class ModelKind(NamedTuple):
    """A kind of model that does a task."""

    config: str
    """Its configuration, as "module:class": a frozen dataclass."""

    model: str
    """The `nn.Module` that is built from the configuration and keeps it as `config`, as "module:class"."""

    pipeline: str = ""
    """Its pipeline, as "module:class", where it is not that of the task."""


@dataclass(frozen=True)
class TaskSpec:
    """One task: everything that the rest of the package needs to know about it."""

    name: str
    """The command, the task's name in `multiattn.load`, and `task` in `config.json`."""

    summary: str
    """What the command does, for the list of commands; a line of it has at most 64 characters."""

    reads: Literal["image", "audio"]
    """What the model reads; decides the kind of preprocessing."""

    input: str
    """What the command is given, for examples: "PICTURE"."""

    output: str
    """The results of several inputs, for messages: "captions"."""

    doing: str
    """What a progress bar shows: "captioning"."""

    models: Mapping[str, ModelKind]
    """The kinds of model, by `kind` in `config.json`; a task with one kind does not state it there."""

    pipeline: str
    """"module:class" of the pipeline, which takes a `ModelBundle` and `device`."""

    command: str
    """The module of the command."""

    evaluator: str
    """The module whose class `Evaluator` measures models of this task; see `multiattn.cli.evaluate`."""

    published: str
    """The published layouts in words, for help texts: "timm or Hugging Face ViT"."""

    layouts: Mapping[str, str] = field(default_factory=dict)
    """The published layouts that can hold a model of this task, by name: the module that has each as `LAYOUT`."""

    num_labels: str = ""
    """Path of the configuration's number of labels, which `config.json` lists as `labels`: a name for each class, or
    the answers of a closed list. Empty for a task without labels."""

    label_noun: tuple[str, str] = ("class", "classes")
    """What a label names, singular and plural, for messages."""

    scores_labels: bool = False
    """Whether each label has a score by a `score_function` of its model, which `config.json` may state."""

    unique_labels: bool = False
    """Whether no two labels may be equal."""

    vocab_sizes: tuple[str, ...] = ()
    """Paths of the configuration's vocabulary sizes, which the tokenizer must fit; a part that a model lacks is
    skipped. Empty for a task whose models neither read nor write text: they have no tokenizer and no `decoding`."""

    num_mels: str = ""
    """Path of the configuration's number of mel bands, which the audio preprocessing must produce."""

    heads: Mapping[str, str] = field(default_factory=dict)
    """Lists of attention heads that `decoding` may hold, and the part of the configuration that has these heads."""

    other_decoding: tuple[str, ...] = ()
    """Keys of `decoding` that are neither in `heads` nor fields of `GenerationConfig`."""

    map_methods: tuple[str, ...] = ()
    """The map methods. "all" gives them in this order, behind the one that the model's pages show first."""

    default_map_method: str = ""
    """The map method that is used where none is asked for, and the model's directory states none."""

    explainer: str = ""
    """"module:class" that makes predictions which can be explained again, for `multiattn evaluate maps`; see
    `multiattn.pipelines.explained`. Empty for a task without maps."""

    @property
    def has_labels(self) -> bool:
        """Whether `config.json` has `labels`."""
        return bool(self.num_labels)

    @property
    def has_tokenizer(self) -> bool:
        """Whether the models read or write text, and so have a tokenizer and `decoding`."""
        return bool(self.vocab_sizes)

    shipped: str = ""
    """What the shipped model of this task has learned: "the ten spoken digits"; empty where none is shipped."""

    example_model: str = ""
    """A published model for this task, for messages that suggest one."""

    short_names: Mapping[str, str] = field(default_factory=dict)
    """Names for published models, with the hub id that each stands for: "tiny.en" for "openai/whisper-tiny.en"."""

    instead_of: Mapping[str, str] = field(default_factory=dict)
    """How a model of this task serves where one of another task is asked for, by that task's name: the mend in the
    message that refuses it."""

    details: str = ""
    """"module:function" that describes a `ModelBundle` of this task for `multiattn info`; see `multiattn.cli.info`."""

    decoding_files: Mapping[str, str] = field(default_factory=dict)
    """The published layouts whose directories can state `heads`, by name: the JSON file that does."""

    @property
    def not_generation(self) -> tuple[str, ...]:
        """The keys of `decoding` that are no fields of `GenerationConfig`."""
        return (*self.heads, *self.other_decoding)


_tasks: dict[str, TaskSpec] = {}

_ORDER = (
    "classify",
    "caption",
    "transcribe",
    "answer",
    "match",
)  # in help texts and messages; other tasks follow by name


def register(spec: TaskSpec) -> None:
    """Add a task.

    Raises:
        ModelError: Another task has this name.
    """
    known = _tasks.setdefault(spec.name, spec)
    if known != spec:
        raise ModelError(f"`name` must be that of a new task, but {spec.name!r} is registered already")


def unregister(name: str) -> None:
    """Remove a task; for tests."""
    _tasks.pop(name, None)


def tasks() -> dict[str, TaskSpec]:
    """Return all tasks by name, those of this package first."""
    _discover()
    order = {name: index for index, name in enumerate(_ORDER)}
    return {name: _tasks[name] for name in sorted(_tasks, key=lambda name: (order.get(name, len(order)), name))}


def task_spec(name: str) -> TaskSpec:
    """Return the task of this name.

    Raises:
        ModelError: There is none.
    """
    found = tasks()
    if name not in found:
        raise ModelError(f"`task` must be one of {', '.join(found)}, but is {name!r} instead")
    return found[name]


def layouts() -> dict[str, str]:
    """Return the published layouts of all tasks by name, with the module of each, in the order they are tried."""
    return {name: module for spec in tasks().values() for name, module in spec.layouts.items()}


def short_names() -> dict[str, str]:
    """Return the short names of published models of all tasks, with the hub id that each stands for."""
    return {name: model for spec in tasks().values() for name, model in spec.short_names.items()}


def model_kind(config: object) -> tuple[str, ModelKind]:
    """Return the kind of model that a configuration describes, and its name in `config.json`.

    Raises:
        ModelError: No task has a model with such a configuration.
    """
    for spec in tasks().values():
        for name, kind in spec.models.items():
            if load_part(kind.config) is type(config):
                return name, kind
    raise ModelError(f"`config` must be that of a registered task's model, but is a {type(config).__name__} instead")


def load_part(part: str) -> Any:
    """Import what "module:attribute" names, or the module where no attribute is named."""
    module, _, attribute = part.partition(":")
    found = import_module(module)
    return getattr(found, attribute) if attribute else found


def value_at(config: object, path: str) -> Any:
    """Read the value at a path such as "decoder.vocab_size"; None where a part on the way is missing or None."""
    return reduce(lambda part, name: getattr(part, name, None), path.split("."), config)


@cache
def _discover() -> None:
    for found in pkgutil.iter_modules(__path__):
        register(import_module(f"{__name__}.{found.name}").SPEC)
