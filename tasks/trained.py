"""The trained models that a task's options name. A state describes them, so that none is read again to load the state.

Under `trained` a state has, by the name of each: `config`, as the model's directory has it (of a text encoder, its
fields), and `tokenizer`, where it is another than that of the training (`contracts.TextFacts`).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from multiattn.inputs import Tokenizer
from multiattn.models.text_encoder import TextEncoder, TextEncoderConfig
from multiattn.registry import load_part, task_spec
from multiattn.weights import ModelBundle, load_bundle, load_text_encoder, own
from multiattn.weights.bundle import CONFIG
from multiattn.weights.json_files import read_architecture
from multiattn.weights.model_files import ModelFiles
from multiattn.weights.tensor_files import PICKLED, WEIGHTS

KEY = "trained"
"""The key of the descriptions in a state."""


class TrainedModels:
    """Reads trained models by their names, or makes them of their descriptions, with weights that are drawn."""

    def __init__(self, described: Mapping[str, Any], tokenizer: Tokenizer | None) -> None:
        """Take the descriptions of a state; both are empty where there is none.

        Args:
            described: By the names of the models.
            tokenizer: That of the state's training.
        """
        self._described, self._tokenizer = described, tokenizer
        self._read: dict[str, tuple[dict[str, Any], Tokenizer | None]] = {}

    def bundle(self, name: str, *, without: Sequence[str] = ()) -> ModelBundle:
        """Load a model; see `load_bundle`."""
        if (description := self._described.get(name)) is not None:
            files = _Described(description["config"], self._tokenizer_of(description))
            found = own.load(files, description["config"], without)
        else:
            found = load_bundle(name, without=without)
        self._read[name] = own.describe(found)[CONFIG], found.tokenizer
        return found

    def text_encoder(self, name: str) -> tuple[TextEncoder, Tokenizer]:
        """Load a text encoder and its vocabulary; see `load_text_encoder`."""
        if (description := self._described.get(name)) is not None:
            tokenizer = self._tokenizer_of(description)
            assert tokenizer is not None
            found = TextEncoder(TextEncoderConfig(**description["config"])), tokenizer
        else:
            found = load_text_encoder(name)
        self._read[name] = asdict(found[0].config), found[1]
        return found

    def to_state(self, tokenizer: Tokenizer | None) -> dict[str, Any]:
        """Describe what was read, in plain values.

        Args:
            tokenizer: That of the training.
        """
        found: dict[str, Any] = {}
        known = None if tokenizer is None else tokenizer.to_json()
        for name, (config, own_tokenizer) in self._read.items():
            found[name] = {"config": json.loads(json.dumps(config))}  # lists for tuples
            if own_tokenizer is not None and (text := own_tokenizer.to_json()) != known:
                found[name]["tokenizer"] = text
        return found

    def _tokenizer_of(self, description: Mapping[str, Any]) -> Tokenizer | None:
        text = description.get("tokenizer")
        return self._tokenizer if text is None else Tokenizer.from_json(text)


class _Described(ModelFiles):
    """Stands for the files of a model: the weights are drawn, and those of the state replace them."""

    def __init__(self, config: Mapping[str, Any], tokenizer: Tokenizer | None) -> None:
        super().__init__(Path("the state"))
        self._config, self._tokenizer = config, tokenizer

    def tensors(self, weights: str = WEIGHTS, pickled: str = PICKLED) -> dict[str, Tensor]:
        """Draw them."""
        spec = task_spec(self._config["task"])
        kind = spec.models[self._config.get("kind", next(iter(spec.models)))]
        architecture = read_architecture(self._config["architecture"], load_part(kind.config), where="the state")
        state: dict[str, Tensor] = load_part(kind.model)(architecture).state_dict()
        return state

    def tokenizer(self) -> Tokenizer:
        """Give that of the state."""
        assert self._tokenizer is not None
        return self._tokenizer
