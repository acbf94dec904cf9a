"""The models of a server: their names, and which of them are in memory.

A model is loaded when it is first used, or at the start. Where there is a budget, the one that was not used for longest
makes room for another; one that computes is waited for.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from ..errors import ModelError, MultiattnError
from ..registry import tasks
from .work import EMBED, TRANSLATE, CancelledWork, Served, UnavailableError, UnknownModelError

_FOR = {TRANSLATE: ("transcribe",), EMBED: ("match", "classify", "caption", "answer", "transcribe")}
"""The tasks of models that do what no task of models is called, best first."""

_LOOK = 0.5
"""Seconds after which what waits for room looks again whether anybody waits for it."""

_ALSO = {"classify": ("match",)}
"""The tasks of models that do another task, too, where they are named: labels of the caller's own."""


class Choice(NamedTuple):
    """A model that is to be served."""

    name: str
    task: str
    model: str
    """As `multiattn.load` takes it."""


def shipped_choices(only: Sequence[str] = ()) -> list[Choice]:
    """Return the models that come with the package, each under the name of its task.

    Args:
        only: The tasks; all where empty.
    """
    return [Choice(name, name, name) for name, spec in tasks().items() if spec.shipped and (not only or name in only)]


class Directory:
    """Which models are served, by which names; nothing of them is in memory here.

    Args:
        choices: The models; the first of each task is its default.

    Raises:
        ModelError: There are none, or two have the same name.
    """

    def __init__(self, choices: Sequence[Choice]) -> None:
        names = [one.name for one in choices]
        if not choices:
            raise ModelError("`models` must be at least one, but there are none: give --model or --task")
        for name in names:
            if names.count(name) > 1:
                raise ModelError(f"`models` must have different names, but {name} is there twice: give NAME=MODEL")
        self.choices = {one.name: one for one in choices}
        self._defaults: dict[str, str] = {}
        for one in choices:
            self._defaults.setdefault(one.task, one.name)
        self._created = int(time.time())

    def served(self, is_loaded: Callable[[str], bool] = lambda name: False) -> list[Served]:
        """Return the models in order."""
        return [self._served(name, is_loaded) for name in self.choices]

    def find(self, name: str | None, task: str, is_loaded: Callable[[str], bool] = lambda name: False) -> Served:
        """Return the model that a request is for; see `Engine.find`."""
        fitting = _FOR.get(task, (task,))
        found = self.choices.get(name) if name else None
        if found is not None and found.task in (*fitting, *_ALSO.get(task, ())):
            return self._served(found.name, is_loaded)
        default = next((self._defaults[one] for one in fitting if one in self._defaults), None)
        if found is None and default is not None and (not name or "transcribe" in fitting and task != EMBED):
            return self._served(default, is_loaded)
        usable = [one.name for one in self.choices.values() if one.task in (*fitting, *_ALSO.get(task, ()))]
        there_are = f"there are: {', '.join(usable)}" if usable else f"no model for {task} is served here"
        if found is not None:
            raise UnknownModelError(f"`model` must be one for {task}, but {name} is one for {found.task}; {there_are}")
        if name:
            raise UnknownModelError(f"`model` must be one that is served for {task}, but is {name!r}; {there_are}")
        raise UnknownModelError(f"`model` must be given for {task}; {there_are}")

    def _served(self, name: str, is_loaded: Callable[[str], bool]) -> Served:
        one = self.choices[name]
        is_default = self._defaults[one.task] == name
        return Served(name, one.task, one.model, is_loaded(name), is_default, self._created)


class _Loaded:
    """A model's pipeline, while it is in memory."""

    def __init__(self) -> None:
        self.pipeline: Any = None
        self.memory = 0
        self.users = 0
        self.used = 0.0


class Memory:
    """The pipelines in memory, within a budget. Safe in several threads.

    Args:
        choices: The models.
        load: Makes the pipeline of a model.
        budget: The most bytes of weights; None for no limit.
    """

    def __init__(self, choices: Sequence[Choice], load: Callable[[str], Any], *, budget: int | None) -> None:
        self._choices, self._load, self._budget = {one.name: one for one in choices}, load, budget
        self._all = {one.name: _Loaded() for one in choices}
        self._known: dict[str, int] = {}  # bytes of each that was in memory once
        self._changed = threading.Condition()
        self._loading = threading.Lock()

    def is_loaded(self, name: str) -> bool:
        """Whether a model is in memory."""
        return self._all[name].pipeline is not None

    def memory(self, name: str) -> int:
        """Return the bytes of a model's weights in memory."""
        return self._all[name].memory

    @contextmanager
    def using(self, name: str, cancelled: threading.Event | None = None) -> Iterator[Any]:
        """Give the pipeline of a model, which stays in memory in the body.

        Args:
            name: The model.
            cancelled: Once set, room is waited for no longer.

        Raises:
            UnavailableError: It cannot be loaded, or is larger than the budget.
            CancelledWork: `cancelled` was set before there was room.
        """
        one = self._all[name]
        with self._changed:
            one.users += 1
        try:
            if one.pipeline is None:
                self._into_memory(name, cancelled or threading.Event())
            one.used = time.monotonic()
            yield one.pipeline
        finally:
            with self._changed:
                one.users -= 1
                self._changed.notify_all()

    def _into_memory(self, name: str, cancelled: threading.Event) -> None:
        one = self._all[name]
        with self._turn(cancelled):
            if one.pipeline is not None:  # another thread was quicker
                return
            self._make_room(self._known.get(name, 0), name, cancelled)
            try:
                pipeline = self._load(self._choices[name].model)
            except MultiattnError as error:
                raise UnavailableError(f"the model {name} cannot be loaded: {error}") from error
            memory = memory_of(pipeline)
            self._known[name] = memory
            if self._budget is not None and memory > self._budget:
                raise UnavailableError(
                    f"--memory must be at least {memory / 1e9:.3g} for {name}, but is {self._budget / 1e9:.3g} instead"
                )
            self._make_room(memory, name, cancelled)
            one.memory, one.pipeline = memory, pipeline

    @contextmanager
    def _turn(self, cancelled: threading.Event) -> Iterator[None]:
        """Load in the body, while no other thread does."""
        while not self._loading.acquire(timeout=_LOOK):
            _check(cancelled)
        try:
            yield
        finally:
            self._loading.release()

    def _make_room(self, needed: int, but: str, cancelled: threading.Event) -> None:
        """Forget the models that were not used for longest, until there is room; wait for those that are used."""
        if self._budget is None:
            return
        with self._changed:
            while sum(one.memory for one in self._all.values()) + needed > self._budget:
                held = [one for name, one in self._all.items() if one.pipeline is not None and name != but]
                if not held:
                    return
                idle = [one for one in held if not one.users]
                if not idle:
                    _check(cancelled)
                    self._changed.wait(_LOOK)
                    continue
                oldest = min(idle, key=lambda one: one.used)
                oldest.pipeline, oldest.memory = None, 0


def _check(cancelled: threading.Event) -> None:
    """Raise CancelledWork where nobody waits for the model any more."""
    if cancelled.is_set():
        raise CancelledWork("the caller has gone, or the time is over, before there was room for the model")


def memory_of(pipeline: Any) -> int:
    """Return the bytes of a pipeline's weights."""
    model = pipeline.bundle.model
    tensors = {one.data_ptr(): one for one in (*model.parameters(), *model.buffers())}
    return sum(one.numel() * one.element_size() for one in tensors.values())


def chosen(spelled: str) -> Choice:
    """Return the model that `[NAME=]MODEL` names, with the task that its `config.json` states.

    Raises:
        ModelError: It is not there, or of no layout that is known.
    """
    from ..weights import locate, recognize

    name, equals, model = spelled.partition("=")
    if not equals:
        name, model = spelled, spelled
    if not name or not model:
        raise ModelError(f"--model must be MODEL or NAME=MODEL, but is {spelled!r} instead")
    if model in tasks():
        return Choice(name, model, model)
    directory = locate(model)
    if directory.is_file():  # of the original BLIP or Whisper: what it is for, only loading tells
        from ..weights import load_bundle

        return Choice(name, load_bundle(model).task, model)
    found = recognize(directory)
    if found is None:
        from ..weights import load_bundle

        return Choice(name, load_bundle(model).task, model)  # which says what is wrong with it
    if len(found[1]) > 1:
        from ..weights import load_bundle

        return Choice(name, load_bundle(model).task, model)
    return Choice(name, found[1][0], model)
