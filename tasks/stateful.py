"""What a state of a training knows beside its weights, how it is taken back, and when it is refused.

Under `facts` a state has what its model was built from (`contracts.Facts`), under `trained` the models that it started
from (`trained`), and under `identity` how its training read the data (`identity`).
"""

import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import lightning.pytorch as pl
from torch import nn

from multiattn.errors import ModelError
from multiattn.inputs import AudioPreprocessing, ImagePreprocessing, Tokenizer
from multiattn.weights.state import difference
from multiattn.weights.tensor_files import load_pickled

from . import identity
from .contracts import Facts
from .loading.datamodule import data_of
from .trained import KEY, TrainedModels


class StatefulTask(pl.LightningModule, ABC):
    """A task whose model is built from facts: those of the data, or those of a state."""

    model: nn.Module
    """The model; None before it is built."""

    preprocessing: ImagePreprocessing | AudioPreprocessing
    """How a file becomes the model's input."""

    facts_type: ClassVar[type[Facts] | None] = None
    """The class of the facts where a state keeps them, for `load_from_checkpoint`."""

    _models_of_state: ClassVar[TrainedModels | None] = None  # in `load_from_checkpoint`, of the class that it makes

    def __init__(self) -> None:
        super().__init__()
        self.register_module("model", None)
        self._adopted: Facts | None = None  # the facts of the state that is used, before the model is built
        self._facts: dict[str, Any] = {}  # what the model was built from, as a state keeps it
        self._state_groups: list[int] = []  # parameters in each group of the state's optimizer
        self._needs_loss = False  # whether the model was built from a state, whose facts do for the weights only

    @cached_property
    def trained_models(self) -> TrainedModels:
        """Reads what the options of a task name."""
        return self._models_of_state or TrainedModels({}, None)

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: Any, *args: Any, **options: Any) -> Any:
        """Load a task from a state, as Lightning does; trained models that its options name are not read again."""
        make = super().load_from_checkpoint
        if not isinstance(checkpoint_path, str | Path) or not Path(checkpoint_path).is_file():
            return make(checkpoint_path, *args, **options)
        state = load_pickled(Path(checkpoint_path), holds="a state of Lightning alone", on_meta=True)
        facts = state.get("facts") or {}
        tokenizer = Tokenizer.from_json(facts["tokenizer"]) if "tokenizer" in facts else None
        models = TrainedModels(state.get(KEY, {}), tokenizer)
        # a class of its own, as the constructor has the arguments of the state alone
        names = {"_models_of_state": models, "__module__": cls.__module__, "__doc__": cls.__doc__}
        loading: Any = type(cls.__name__, (cls,), names)
        task = super(StatefulTask, loading).load_from_checkpoint(checkpoint_path, *args, **options)
        task.__class__ = cls
        return task

    @abstractmethod
    def build(self, facts: Any) -> None:
        """Build the model, and keep its facts."""

    def adopt(self, state: Mapping[str, Any]) -> None:
        """Take from a state what the data would decide otherwise: labels and vocabulary. The model is not built yet.

        Args:
            state: The state, as it was saved; nothing is taken from one without facts.
        """
        known = state.get("facts")
        self._adopted = self.facts_type.from_state(known) if known and self.facts_type is not None else None

    def vocabulary_options(self) -> dict[str, Any] | None:
        """The options by which the vocabulary was learned; None where it was not."""
        return None

    def identity(self) -> dict[str, Any]:
        """What a state knows of how the data was read, as `multiattn.tasks.identity` describes it."""
        data = getattr(self._trainer, "datamodule", None)  # there is no trainer where a model is used by itself
        return {
            "preprocessing": identity.plain(self.preprocessing),
            "vocabulary": self.vocabulary_options(),
            "data": {} if data is None else data.fingerprints(),
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what the model was built from, and how the data was read."""
        checkpoint[identity.KEY] = self.identity()
        if self._facts:
            checkpoint["facts"] = self._facts
        if models := self.trained_models.to_state(getattr(self, "tokenizer", None)):
            checkpoint[KEY] = models

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Check that the weights of a state mean the same here, and tell where its data was another.

        In `load_from_checkpoint` there is no model yet: it is built.

        Raises:
            ModelError: Labels, vocabulary or preprocessing differ, or the state does not have what the model was built
                from.
        """
        if self._modules["model"] is None:
            self._build_from(checkpoint)
            return
        for state in checkpoint.get("optimizer_states", []):
            self._state_groups = [len(group["params"]) for group in state["param_groups"]]
        if self.facts_type is not None and self._facts and checkpoint.get("facts"):
            known = self.facts_type.from_state
            known(checkpoint["facts"]).require_same(known(self._facts))
        before, now = checkpoint.get(identity.KEY, {}), self.identity()
        identity.check(before, now)
        kind = data_of(self.trainer).kind if now["data"] else ""
        if (changed := identity.changed_data(before, now, kind=kind)) and self.global_rank == 0:
            print(f"The data has changed since this state: {changed}.", file=sys.stderr, flush=True)

    def _build_from(self, checkpoint: Mapping[str, Any]) -> None:
        """Build the model from a state alone."""
        if self.facts_type is None or not checkpoint.get("facts"):
            raise ModelError(
                "the state must have `facts`, from which the model is built without its data, but has none instead: it "
                "is of an earlier version. Resume the training with it, or load the model's directory by "
                "`multiattn.load`."
            )
        self.build(self.facts_type.from_state(checkpoint["facts"]))
        self._needs_loss = True

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load the weights of a state.

        Raises:
            ModelError: They are those of another model, with a diff.
        """
        if strict and (diff := difference(self.state_dict(), state_dict)):
            first = "the state must be of a training of this model, but is of another (- needed, + found):"
            raise ModelError("\n".join([first, *diff]))
        return super().load_state_dict(state_dict, strict=strict, assign=assign)
