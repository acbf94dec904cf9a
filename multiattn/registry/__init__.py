"""The tasks: what each is called, reads and writes, and where its parts are. Importing this imports no torch.

A task is one `TaskSpec`. The modules of this package each hold one as `SPEC` and are found by themselves; a package
that adds a task calls `register`. Parts are named by "module:attribute" and imported by `load_part` when needed.
"""

import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import Any, Literal, NamedTuple

from ..errors import ModelError


class ModelKind(NamedTuple):
    """A kind of model that does a task."""

    config: str
    """Its configuration, as "module:class": a frozen dataclass."""

    model: str
    """What is built from that, as "module:class"."""


@dataclass(frozen=True)
class TaskSpec:
    """One task: everything about it that other parts of the package ask for by its name."""

    name: str
    """The command, the task's name in `multiattn.load`, and `task` in `config.json`."""

    summary: str
    """What the command does, for the list of commands; a line of it has at most 64 characters."""

    reads: Literal["image", "audio"]
    """What the model reads, which decides about its preprocessing."""

    input: str
    """What the command is given, for examples: "PICTURE"."""

    output: str
    """What the model makes of several inputs, for messages: "captions"."""

    doing: str
    """What a progress bar says is going on: "captioning"."""

    models: Mapping[str, ModelKind]
    """The kinds of model by `kind` in `config.json`; a task with one kind does not state it there."""

    pipeline: str
    """"module:class" of the pipeline; it takes a `ModelBundle` and `device`."""

    command: str
    """The module of the command."""

    evaluator: str
    """The module whose class `Evaluator` measures models of this task; see `multiattn.cli.evaluate`."""

    published: str
    """The published layouts it is read from, for help texts: "timm or Hugging Face ViT"."""

    layouts: Mapping[str, str] = field(default_factory=dict)
    """The published layouts that hold its models, by name: the module of each."""

    has_labels: bool = False
    """Whether `config.json` has `labels`: a name for each score, or a closed list of answers."""

    has_tokenizer: bool = False
    """Whether the model reads or writes text, and so has a vocabulary and `decoding`."""

    heads: Mapping[str, str] = field(default_factory=dict)
    """Names of attention heads that `decoding` may state, and the part of the configuration that has these heads."""

    other_decoding: tuple[str, ...] = ()
    """What `decoding` may hold beside `heads` that is no field of `GenerationConfig`."""

    map_methods: tuple[str, ...] = ()
    """The map methods, in the order in which "all" gives them."""

    default_map_method: str = ""
    """The one that is drawn where none is asked for."""

    shipped: str = ""
    """What the shipped model of this task has learned: "the ten spoken digits"; empty where none is shipped."""

    example_model: str = ""
    """A published model for this task, for messages that suggest one."""

    details: str = ""
    """"module:function" that describes a `ModelBundle` of this task for `multiattn info`; see `multiattn.cli.info`."""

    decoding_files: Mapping[str, str] = field(default_factory=dict)
    """The published layouts whose directories can state `heads`, by name: the JSON file that does."""

    @property
    def not_generation(self) -> tuple[str, ...]:
        """What `decoding` may hold that is no field of `GenerationConfig`."""
        return (*self.heads, *self.other_decoding)


_tasks: dict[str, TaskSpec] = {}

_ORDER = ("classify", "caption", "transcribe", "answer")  # in help texts and messages; others follow by name


def register(spec: TaskSpec) -> None:
    """Add a task.

    Raises:
        ModelError: There is another one of this name.
    """
    known = _tasks.setdefault(spec.name, spec)
    if known != spec:
        raise ModelError(f"`name` must be that of a new task, but {spec.name!r} is registered already")


def unregister(name: str) -> None:
    """Take a task out again, for tests."""
    _tasks.pop(name, None)


def tasks() -> dict[str, TaskSpec]:
    """All tasks by name, those of this package first."""
    _discover()
    order = {name: place for place, name in enumerate(_ORDER)}
    return {name: _tasks[name] for name in sorted(_tasks, key=lambda name: (order.get(name, len(order)), name))}


def task_spec(name: str) -> TaskSpec:
    """The task of this name.

    Raises:
        ModelError: There is none.
    """
    found = tasks()
    if name not in found:
        raise ModelError(f"`task` must be one of {', '.join(found)}, but is {name!r} instead")
    return found[name]


def layouts() -> dict[str, str]:
    """The published layouts of all tasks, by name: the module of each, in the order in which they are tried."""
    return {name: module for spec in tasks().values() for name, module in spec.layouts.items()}


def load_part(part: str) -> Any:
    """What "module:attribute" names, or the module where no attribute is named."""
    module, _, attribute = part.partition(":")
    found = import_module(module)
    return getattr(found, attribute) if attribute else found


@cache
def _discover() -> None:
    for found in pkgutil.iter_modules(__path__):
        register(import_module(f"{__name__}.{found.name}").SPEC)
