"""What a task and its data module tell each other, as typed values: neither reads the other's attributes.

    task -> data   `...Needs`   how a file becomes the model's input and a text becomes tokens. It is handed over twice:
                                before the model is built, and again afterwards with what only a built model knows (its
                                special tokens, length limits and encoder)
    data -> task   `...Facts`   what the model is built from: labels, tokenizer, list of answers

The defaults of `...Needs` stand for a common model, so a data module also makes batches by itself, without a task or a
trainer.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

from torch import nn

from multiattn.errors import ModelError
from multiattn.inputs import AudioPreprocessing, ImagePreprocessing, Tokenizer
from multiattn.models.speech_encoder import SpeechEncoder
from multiattn.models.text_stack import TextConfig
from multiattn.models.text_tower import TextTowerConfig
from multiattn.models.vit import ViT

from .identity import other_labels

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

_IMAGES = ImagePreprocessing((224, 224), (224, 224), "bicubic", IMAGENET_MEAN, IMAGENET_STD)
_AUDIO = AudioPreprocessing(pad_to=None)


@dataclass(frozen=True)
class TokenFormat:
    """The special tokens around a text, and how many tokens a model has positions for."""

    start: int
    end: int
    pad: int
    max_length: int
    """Tokens at most, special ones included."""

    opening: tuple[int, ...] = ()
    """Tokens between the start token and each text: a prompt."""

    @classmethod
    def of_config(cls, config: TextConfig, *, opening: Sequence[int] = ()) -> "TokenFormat":
        """The format of a model's texts; `opening` are the tokens after the start token."""
        return cls(config.start_token, config.end_token, config.pad_token, config.max_length, tuple(opening))

    @classmethod
    def of_tokenizer(cls, tokenizer: Tokenizer) -> "TokenFormat":
        """The format of a default model with this tokenizer, which was learned from data."""
        return cls.of_config(TextConfig(**special_tokens(tokenizer)))

    @property
    def room(self) -> int:
        """Tokens that a text may have between what it begins with and its end token.

        Raises:
            ModelError: There is room for none.
        """
        given = 1 + len(self.opening)
        if self.max_length <= given:
            raise ModelError(
                f"the decoder must have room for a text after the {given} tokens that each begins with, but takes only "
                f"{self.max_length}. Raise `decoder.max_length`, or shorten `decoding.prompt`."
            )
        return self.max_length - given


def special_tokens(tokenizer: Tokenizer) -> dict[str, Any]:
    """The fields of `TextConfig` that a tokenizer learned from data decides: vocabulary size and special tokens."""
    found = {f"{name.lower()}_token": tokenizer.id_of(f"[{name}]") for name in ("START", "END", "PAD")}
    return {"vocab_size": tokenizer.vocab_size} | {name: token for name, token in found.items() if token is not None}


@dataclass(frozen=True)
class ClassifyNeeds:
    """What a classifier needs of its data."""

    preprocessing: ImagePreprocessing = _IMAGES
    labels: tuple[str, ...] | None = None
    """The labels of the state that is used; None takes those of the training split."""


@dataclass(frozen=True)
class TextNeeds:
    """What every model with a vocabulary needs of its data."""

    tokenizer: Tokenizer | None = None
    """None: the data module learns one from the training texts."""

    text: TokenFormat | None = None
    """Of the texts that the decoder writes; None before the model is built."""

    encoder: nn.Module | None = None
    """The frozen encoder whose features are kept on disk; None before the model is built."""


@dataclass(frozen=True)
class ImageTextNeeds(TextNeeds):
    """What a captioner needs of its data."""

    encoder: ViT | None = None
    preprocessing: ImagePreprocessing = _IMAGES


@dataclass(frozen=True)
class MatchNeeds(ImageTextNeeds):
    """What a model of two towers needs of its data."""

    tower: TextTowerConfig | None = None
    """How the text tower reads a text; None before the model is built."""


@dataclass(frozen=True)
class AnswerNeeds(ImageTextNeeds):
    """What a model that answers needs of its data. `text` is the format of answers that a decoder writes."""

    is_closed: bool = True
    """Whether the model chooses answers from a closed list, so that no decoder writes them."""

    question: TokenFormat | None = None
    """Of the questions; None before the model is built."""

    box_grid: tuple[int, int] | None = None
    """Rows and columns of patches, for a model that is taught where to look; None for others."""

    answers: tuple[str, ...] | None = None
    """The closed list of the state that is used; None takes the most frequent answers of the training split."""


@dataclass(frozen=True)
class TranscribeNeeds(TextNeeds):
    """What a speech recognizer needs of its data."""

    encoder: SpeechEncoder | None = None
    preprocessing: AudioPreprocessing = _AUDIO
    keeps_padding: bool = False
    """Whether the decoder attends to the frames that only pad a recording."""


class Facts(Protocol):
    """Facts that a state keeps, so that `load_from_checkpoint` builds the model without the data."""

    def to_state(self) -> dict[str, Any]:
        """Plain values."""

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The reverse of `to_state`."""

    def require_same(self, other: Self) -> None:
        """Raise ModelError unless the weights of a state with these facts mean the same with the others."""


@dataclass(frozen=True)
class ClassifyFacts:
    """What a classifier is built from."""

    labels: tuple[str, ...]
    counts: tuple[int, ...]
    """Training images of each label."""

    batch_size: int
    balanced: bool = False
    """Whether the batches have each label equally often."""

    multi_label_items: int | None = None
    """Training images in all, where one has several labels or none; None where each has one."""

    def to_state(self) -> dict[str, Any]:
        """See `Facts`."""
        found = {"labels": list(self.labels), "counts": list(self.counts), "batch_size": self.batch_size}
        return found | ({} if self.multi_label_items is None else {"multi_label_items": self.multi_label_items})

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """See `Facts`."""
        items = state.get("multi_label_items")
        labels, counts = tuple(state["labels"]), tuple(state["counts"])
        return cls(labels, counts, state["batch_size"], multi_label_items=items)

    def require_same(self, other: Self) -> None:
        """See `Facts`."""
        if self.labels != other.labels:
            raise ModelError(other_labels(self.labels, other.labels))


@dataclass(frozen=True)
class TextFacts:
    """What a model with a vocabulary is built from."""

    tokenizer: Tokenizer
    stores_features: bool = False
    """Whether the encoder's features are kept on disk, so that it must be frozen."""

    answers: tuple[str, ...] = ()
    """The closed list of answers, for answering."""

    references: Callable[[], Sequence[Sequence[str]]] = tuple
    """Computes the training captions of each image, in the order of the records, for captioning."""

    def to_state(self) -> dict[str, Any]:
        """See `Facts`; without the references, which only a training reads."""
        answers = list(self.answers)
        return {"tokenizer": self.tokenizer.to_json(), "stores_features": self.stores_features, "answers": answers}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """See `Facts`."""
        tokenizer = Tokenizer.from_json(state["tokenizer"])
        return cls(tokenizer, state["stores_features"], tuple(state["answers"]))

    def require_same(self, other: Self) -> None:
        """See `Facts`: another vocabulary or list of answers of the same size would load, too."""
        if self.tokenizer.to_json() != other.tokenizer.to_json():
            raise ModelError(
                "the state must be of a training with the same vocabulary, but is of another: the training texts or "
                "the options of the tokenizer have changed. Restore them, or train anew."
            )
        if self.answers != other.answers:
            raise ModelError(
                "the state must be of a training with the same list of answers, but is of another: the training "
                "answers, `max_answers` or `min_count` have changed. Restore them, or train anew."
            )
