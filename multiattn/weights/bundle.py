"""What a model directory holds, whatever its layout."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import ModelError
from ..inputs import AudioPreprocessing, ImagePreprocessing, Tokenizer
from ..models.captioner import Captioner, CaptionerConfig
from ..models.common import without_weights
from ..models.single_stream import SingleStream, SingleStreamConfig
from ..models.speech import SpeechConfig, SpeechRecognizer
from ..models.vit import ViT, ViTConfig
from ..models.vqa import VQA, VQAConfig
from .state import WEIGHTS, load_into, read_tensors, write_tensors
from .table import KeyTable

CONFIG = "config.json"
TOKENIZER = "tokenizer.json"

VOCABULARY = (
    "decoder.embedding.weight",
    "decoder.head.weight",
    "decoder.head_bias",
    "ctc_head.weight",
    "ctc_head.bias",
)
"""The tensors of a model that writes with a row for each token, of those that it has."""

Model = ViT | Captioner | SpeechRecognizer | VQA | SingleStream
"""What a directory can hold."""

Config = ViTConfig | CaptionerConfig | SpeechConfig | VQAConfig | SingleStreamConfig
"""What such a model is made of."""


@dataclass
class ModelBundle:
    """A model with all that is needed to use it on files."""

    task: str
    """What it does: `classify`, `caption`, `transcribe` or `answer`."""

    model: Model
    """In eval mode, float32, on the CPU when loaded. `classifier`, `captioner`, `speech` and `answerer` are this, of
    the kind they say."""

    preprocessing: ImagePreprocessing | AudioPreprocessing
    """Of what it reads. `pictures` and `sound` are this, of the kind they say."""

    labels: tuple[str, ...] = ()
    """A name for each score of a classifier, empty for a model without a head; the closed list of one that answers out
    of one."""

    tokenizer: Tokenizer | None = None
    """Of a model that writes, or reads questions; None for others, and where it was loaded without."""

    decoding: dict[str, Any] = field(default_factory=dict)
    """How a model that writes does so where nobody says otherwise: the fields of `GenerationConfig` that it states;
    `prompt`, the text that every caption goes on from; `alignment_heads`, pairs of a decoder block and one of its
    heads, whose cross-attention follows the speech; `pointing_heads`, such pairs of the question encoder, whose
    cross-attention finds what a question is about; and `ctc_weight`, how much a recognizer's CTC head counts. A field
    that is stated counts even at its default: `num_beams: 1` is greedy, while a model that says nothing is searched with as
    many as the pipeline likes."""

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

    @property
    def speech(self) -> SpeechRecognizer:
        """The model, where it is one that transcribes.

        Raises:
            ModelError: It is one for another task.
        """
        if not isinstance(self.model, SpeechRecognizer):
            raise self._other("transcribe")
        return self.model

    @property
    def answerer(self) -> VQA | SingleStream:
        """The model, where it is one that answers questions about pictures.

        Raises:
            ModelError: It is one for another task.
        """
        if not isinstance(self.model, VQA | SingleStream):
            raise self._other("answer")
        return self.model

    @property
    def pictures(self) -> ImagePreprocessing:
        """What is done to a picture.

        Raises:
            ModelError: The model reads something else.
        """
        if not isinstance(self.preprocessing, ImagePreprocessing):
            raise ModelError(f"{self._named} must be a model that reads pictures, but reads recordings: give another")
        return self.preprocessing

    @property
    def sound(self) -> AudioPreprocessing:
        """What is done to a recording.

        Raises:
            ModelError: The model reads something else.
        """
        if not isinstance(self.preprocessing, AudioPreprocessing):
            raise ModelError(f"{self._named} must be a model that reads recordings, but reads pictures: give another")
        return self.preprocessing

    @property
    def _named(self) -> str:
        return self.source or "the model"

    def _other(self, task: str) -> ModelError:
        return ModelError(f"{self._named} must be a model for {task}, but is one for {self.task} instead: give another")


def write_safetensors(bundle: ModelBundle, state: Mapping[str, Tensor], path: Path, dtype: torch.dtype) -> None:
    """As `write_tensors`, for a layout whose file has nothing but tensors."""
    del bundle
    write_tensors(state, path, dtype)


@dataclass(frozen=True)
class Layout:
    """A kind of model directory: how it is told apart, read and written."""

    name: str
    sign: str
    """What in `config.json` tells it apart, for messages."""

    recognizes: Callable[[Mapping[str, Any]], bool]
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

    write: Callable[[ModelBundle, Mapping[str, Tensor], Path, torch.dtype], None] = write_safetensors
    """Writes that file: these tensors, under its keys, of that bundle."""

    load_without: Callable[[Path, Mapping[str, Any], Sequence[str]], ModelBundle] | None = None
    """As `load`, with these tensors of ours new and without a vocabulary; None where no such model is gone on with."""


_KINDS: dict[type, Callable[[Any], Model]] = {
    ViTConfig: ViT,
    CaptionerConfig: Captioner,
    SpeechConfig: SpeechRecognizer,
    VQAConfig: VQA,
    SingleStreamConfig: SingleStream,
}


def build_model(
    config: Config,
    directory: Path,
    *,
    table: KeyTable | None = None,
    state: Mapping[str, Tensor] | None = None,
    without: Sequence[str] = (),
) -> Model:
    """The model a directory describes, with its weights, in eval mode.

    Args:
        config: What the model is made of.
        directory: Where it lies; for messages, and for the weights.
        table: The layout of the weights; our own where None.
        state: The weights, where they have been read already.
        without: Tensors of ours that start as those of a new model do, whether they are among the weights or not.

    Raises:
        ModelError: There can be no such model, or the weights do not fit it or are damaged.
    """
    try:
        # on the meta device nothing is initialized, where the file has every value
        with nullcontext() if without else without_weights():
            model = _KINDS[type(config)](config)
    except (ValueError, ZeroDivisionError, RuntimeError) as error:
        raise ModelError(f"{directory / CONFIG} describes no model that can be built: {error}") from error
    state = read_tensors(directory) if state is None else state
    if without:
        new = {key: tensor for key, tensor in model.state_dict().items() if key in without}
        state = {**state, **(new if table is None else table.to_theirs(new))}
    load_into(model, state, table=table, where=str(directory))
    return model.eval()
