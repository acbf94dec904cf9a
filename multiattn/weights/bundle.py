"""`ModelBundle`: a model with all that is needed to use it on files, and `Layout`: how a directory holds one.

Nothing here knows a task by name: what a bundle must have is read from the task's `TaskSpec`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, overload

import torch
from torch import Tensor, nn

from ..blocks.int8 import Kernels
from ..errors import ModelError
from ..inputs import AudioPreprocessing, ImagePreprocessing, Tokenizer
from ..models.common import without_weights
from ..models.domain import Domain
from ..models.scores import ScoreFunction
from ..registry import load_part, model_kind, task_spec, tasks, value_at
from .json_files import short
from .model_files import ModelFiles
from .sizes import MOST_FRESH, check_sizes
from .state import check_fit, load_int8_into, load_into, write_tensors
from .table import KeyTable
from .tensor_files import WEIGHTS

CONFIG = "config.json"
TOKENIZER = "tokenizer.json"

VOCABULARY = (
    "decoder.embedding.weight",
    "decoder.head.weight",
    "decoder.head_bias",
    "ctc_head.weight",
    "ctc_head.bias",
)
"""The tensors with one row for each token of the vocabulary; a model has some of them."""

_Model = TypeVar("_Model", bound=nn.Module)
_Other = TypeVar("_Other", bound=nn.Module)


@dataclass
class ModelBundle:
    """A model with all that is needed to use it on files."""

    task: str
    """The name of a registered task, such as `classify`."""

    model: nn.Module
    """In eval mode, float32 or int8, on the CPU when loaded; `require` returns it under its own type."""

    preprocessing: ImagePreprocessing | AudioPreprocessing
    """How a file becomes the model's input; `pictures` and `sound` return it under its own type."""

    labels: tuple[str, ...] = ()
    """A name for each score of a classifier, empty for a model without a head; or the closed list of answers."""

    score_function: ScoreFunction = "softmax"
    """How the outputs of a classifier become scores. With one label, a softmax, which would be 1 for every picture, is
    replaced by a sigmoid, as transformers does. Not used by a model without a head, or of another task."""

    tokenizer: Tokenizer | None = None
    """For a model that reads or writes text; None for others, and for a model that was loaded without it."""

    decoding: dict[str, Any] = field(default_factory=dict)
    """How the model writes unless the caller asks for something else: some fields of `GenerationConfig`, and keys that
    the task adds. `prompt`: the text that every caption continues. `alignment_heads`: pairs of a decoder block and one
    of its heads whose cross-attention follows the speech. `pointing_heads`: such pairs of the question encoder, whose
    cross-attention finds what a question is about. `ctc_weight`: the share of the CTC head in the search. A field that
    is stated counts even at its default: `num_beams: 1` is greedy, while for a model that states nothing the pipeline
    chooses."""

    domain: Domain | None = None
    """What is known of the pictures and questions that it was trained on; None where they are not checked. Only our own
    layout keeps it."""

    maps: dict[str, Any] = field(default_factory=dict)
    """Which map method is shown first: `first`, with the figures by which `multiattn evaluate maps --keep` chose it.
    Empty where that was not measured. Only our own layout keeps it."""

    source: str = ""
    """What was asked for: a task, a directory, a hub id."""

    layout: str = "multiattn"
    """The layout that it was read from."""

    card: dict[str, Any] = field(default_factory=dict)
    """Facts about the model that nothing is computed from: data, recipe, accuracy, origin."""

    def __post_init__(self) -> None:
        """Replace the softmax over a single output."""
        if self.score_function == "softmax" and len(self.labels) == 1:
            self.score_function = "sigmoid"

    @property
    def config(self) -> Any:
        """The model's configuration, a frozen dataclass."""
        return self.model.config

    @overload
    def require(self, kind: type[_Model], /) -> _Model: ...

    @overload
    def require(self, kind: type[_Model], other: type[_Other], /) -> _Model | _Other: ...

    def require(self, *kinds: type[nn.Module]) -> nn.Module:
        """Return the model, which must be of one of these classes.

        Raises:
            ModelError: It is a model for another task.
        """
        if isinstance(self.model, kinds):
            return self.model
        models = {load_part(kind.model): spec.name for spec in tasks().values() for kind in spec.models.values()}
        wanted = models.get(kinds[0], kinds[0].__name__)
        mend = task_spec(self.task).instead_of.get(wanted, "give another")
        raise ModelError(f"{self._named} must be a model for {wanted}, but is one for {self.task} instead: {mend}")

    @property
    def first_map_method(self) -> str:
        """The map method that is used where none is asked for, and shown first: the one measured, or the task's."""
        return str(self.maps.get("first", task_spec(self.task).default_map_method))

    @property
    def pictures(self) -> ImagePreprocessing:
        """The preprocessing of a picture.

        Raises:
            ModelError: The model reads recordings.
        """
        if not isinstance(self.preprocessing, ImagePreprocessing):
            raise ModelError(f"{self._named} must be a model that reads pictures, but reads recordings: give another")
        return self.preprocessing

    @property
    def sound(self) -> AudioPreprocessing:
        """The preprocessing of a recording.

        Raises:
            ModelError: The model reads pictures.
        """
        if not isinstance(self.preprocessing, AudioPreprocessing):
            raise ModelError(f"{self._named} must be a model that reads recordings, but reads pictures: give another")
        return self.preprocessing

    @property
    def vocabulary(self) -> Tokenizer:
        """The tokenizer of a model that reads or writes text."""
        assert self.tokenizer is not None  # checked by `save_bundle`
        return self.tokenizer

    @property
    def _named(self) -> str:
        return self.source or "the model"

    def check(self, where: str = "the bundle") -> None:
        """Check that model, labels, vocabulary, preprocessing and `decoding` fit each other.

        Args:
            where: What the parts were read from, for messages.

        Raises:
            ModelError: They do not; the message names the part.
        """
        spec = task_spec(self.task)
        one, many = spec.label_noun
        if spec.num_labels and len(self.labels) != (count := value_at(self.config, spec.num_labels)):
            raise ModelError(
                f"{where} must have a label for each of {count} {many}, but has {len(self.labels)} instead"
            )
        if spec.unique_labels and len(set(self.labels)) < len(self.labels):
            twice = next(label for i, label in enumerate(self.labels) if label in self.labels[:i])
            raise ModelError(f"{where} must have each {one} once, but has {twice!r} twice instead")
        sizes = [size for path in spec.vocab_sizes if (size := value_at(self.config, path)) is not None]
        for size in sizes if self.tokenizer is not None else ():
            check_vocabulary(self.tokenizer, size, where=where)
        for name in ("suppress", "suppress_first") if sizes else ():
            tokens = self.decoding.get(name) or ()
            if high := [token for token in tokens if type(token) is int and token >= max(sizes)]:
                raise ModelError(
                    f"{where}: `{name}` must be tokens below {max(sizes)}, the size of the vocabulary, but have "
                    f"{short(high[0])} instead"
                )
        mels = value_at(self.config, spec.num_mels) if spec.num_mels else None
        if mels is not None and self.sound.mels != mels:
            part, _, name = spec.num_mels.rpartition(".")
            raise ModelError(
                f"`preprocessing.mels` must be the {part}'s `{name}` ({mels}), but is {self.sound.mels} instead"
            )
        for name, part in spec.heads.items():
            self._check_heads(name, part, where=where)

    def _check_heads(self, name: str, part: str, *, where: str) -> None:
        """Check that `decoding` lists, under this name, attention heads that a part of the model has."""
        depth, num_heads = (value_at(self.config, f"{part}.{size}") for size in ("depth", "num_heads"))
        heads = self.decoding.get(name, ())
        for pair in heads if isinstance(heads, tuple) else (heads,):
            is_pair = isinstance(pair, tuple) and len(pair) == 2 and all(type(number) is int for number in pair)
            if not is_pair or not (0 <= pair[0] < depth and 0 <= pair[1] < num_heads):
                raise ModelError(
                    f"{where}: `{name}` must be pairs of one of {depth} blocks and one of its "
                    f"{num_heads} heads, from 0, but have {short(pair)} instead"
                )


def check_vocabulary(tokenizer: Tokenizer | None, vocab_size: int, *, where: str) -> None:
    """Check that a vocabulary is the one that weights were made for, as far as the sizes tell.

    Weights may have a few rows more than the vocabulary has entries: BLIP's files name two of its tokens nowhere, and
    others are padded to a round number.

    Raises:
        ModelError: It cannot be.
    """
    spare = 2 + vocab_size // 100
    if tokenizer is not None and not vocab_size - spare <= tokenizer.vocab_size <= vocab_size:
        raise ModelError(
            f"{where} has a vocabulary of {tokenizer.vocab_size} entries, but its weights are made for {vocab_size}: "
            "put the model's own vocabulary beside them"
        )


def states(key: str, value: str) -> Callable[[Mapping[str, Any]], bool]:
    """Return the test of a `config.json` for a value, for `Layout.recognizes`."""
    return lambda config: config.get(key) == value


@dataclass(frozen=True)
class Layout:
    """A kind of model directory: how it is recognized, read and written."""

    name: str
    sign: str
    """What in `config.json` identifies it, for messages."""

    recognizes: Callable[[Mapping[str, Any]], bool]
    """Whether a `config.json` is of this layout."""

    load: Callable[..., ModelBundle]
    """Reads a model out of its `ModelFiles`, given with its `config.json`. Where `renews`, it also takes `without`: the
    names of tensors that start as in a new model, whether the file has them or not; the vocabulary is then not read."""

    describe: Callable[[ModelBundle], Mapping[str, Any]]
    """Returns the JSON files that go with the weights, by name."""

    table: KeyTable | None
    """Its keys against ours; None where they are ours."""

    variants: Mapping[str, KeyTable] = field(default_factory=dict)
    """The tables of models whose keys differ, by what `variant` returns for them."""

    variant: Callable[[Mapping[str, Any]], str] = lambda config: (config.get("architectures") or [""])[0]
    """The variant of a `config.json`; by default, the class that saved it."""

    weights: str = WEIGHTS
    """Name of the file with the weights."""

    config: str = CONFIG
    """Name of the file with the configuration."""

    write: Callable[[ModelBundle, Mapping[str, Tensor], Path, torch.dtype], None] = lambda bundle, state, path, dtype: (
        write_tensors(state, path, dtype)
    )
    """Writes that file, from a bundle and its tensors under the layout's keys; by default, nothing but the tensors."""

    renews: bool = False
    """Whether `load` takes `without`."""

    states_dtype: bool = False
    """Whether `config.json` states the type of the weights on disk."""

    models: str = ""
    """Which models it holds, in words; empty for our own, which holds all."""

    classes: tuple[str, ...] = ()
    """The classes of another library that save such files, those without a head last."""

    headless: tuple[str, ...] = ()
    """Those of `classes` without a head, which only embed."""

    has_maps: bool = True
    """Whether there are maps of what its models predict."""

    tasks: Mapping[str, str] = field(default_factory=dict)
    """Where it serves several tasks: the task of each class that `config.json` may state as `architectures`."""

    def table_of(self, config: Mapping[str, Any]) -> KeyTable | None:
        """Return the table of a model with this `config.json`."""
        return self.variants.get(self.variant(config), self.table)

    @property
    def tables(self) -> tuple[KeyTable, ...]:
        """All of its tables; none where its keys are ours."""
        return tuple(table for table in (self.table, *self.variants.values()) if table is not None)


def build_model(
    config: object,
    files: ModelFiles,
    *,
    table: KeyTable | None = None,
    state: Mapping[str, Tensor] | None = None,
    without: Sequence[str] = (),
    build: Callable[[Any], nn.Module] | None = None,
    kernels: Kernels | None = None,
) -> nn.Module:
    """Build the model that a directory describes, with its weights, in eval mode.

    Args:
        config: The model's configuration.
        files: The model's; for messages, and to read the weights.
        table: The layout of the weights; our own where None.
        state: The weights, where they are read already.
        without: Tensors of ours that start as in a new model, whether the weights have them or not.
        build: Makes the model of its configuration; the class that the registry names where None.
        kernels: For weights that are in int8, where the model is to be so, too.

    Raises:
        ModelError: There can be no such model, or the weights do not fit it or are damaged.
    """
    build = load_part(model_kind(config)[1].model) if build is None else build
    state = files.tensors() if state is None else state
    check_sizes(config, state, where=files.where(CONFIG))
    try:
        # on the meta device nothing is initialized; the file has every value
        with without_weights():
            model: nn.Module = build(config)
        if without:  # only now is it clear that the other tensors have the sizes of those in the file
            check_fit(model, state, table=table, where=str(files), without=without)
            fresh = sum(tensor.numel() for key, tensor in model.state_dict().items() if key in without)
            if fresh > MOST_FRESH:
                raise ModelError(
                    f"{files.where(CONFIG)}: the new tensors must have at most {MOST_FRESH} values, but have {fresh} "
                    "instead: correct `vocab_size`"
                )
            model = build(config)
    except (ValueError, ArithmeticError, RuntimeError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"{files.where(CONFIG)} describes no model that can be built: {error}") from error
    if without:
        new = {key: tensor for key, tensor in model.state_dict().items() if key in without}
        state = {**state, **(new if table is None else table.to_theirs(new))}
    if kernels is not None:
        load_int8_into(model, state, kernels, where=str(files))
        return model.eval()
    load_into(model, state, table=table, where=str(files))
    return model.eval()
