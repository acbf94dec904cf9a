"""The options that say which encoder a model starts from, and how its parts are configured.

`VisionSource` (classifier) and `VisionEncoder` (captioner, answering) are what stands under `vision` in a YAML file,
`AudioEncoder` (recognizer) what stands under `audio`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

from multiattn.checks import require, require_each, require_fields
from multiattn.errors import ModelError
from multiattn.inputs import ImagePreprocessing
from multiattn.models.vit import PRESETS, ViTConfig

from .contracts import IMAGENET_MEAN, IMAGENET_STD
from .freezing import EncoderPace

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

TRAINING_ONLY = ("dropout", "attention_dropout", "stochastic_depth")
"""Fields of an encoder's configuration that change no weight: a trained model can be given other values."""

POOL = ("pool", "pool_heads", "pool_mlp_dim", "pool_prefix", "pool_norm")
"""Fields of an encoder's configuration about what pools its tokens, which can be a new part over trained ones."""

TEXT_TRAINING_ONLY = ("dropout", "attention_dropout")
"""The same for a text encoder or decoder."""

OF_THE_DATA = ("vocab_size", "start_token", "end_token", "pad_token")
"""Fields of a text encoder or decoder that the tokenizer decides."""

_NAMING_TOKENS = ("suppress", "suppress_first", "forced")
"""Fields of `GenerationConfig` that mean nothing with another vocabulary."""

_Config = TypeVar("_Config", bound="DataclassInstance")


def check_trainable(preprocessing: ImagePreprocessing, *, source: str) -> None:
    """Check that training pictures, which are read without their transparency, have the channels of a model.

    Args:
        preprocessing: The model's.
        source: The option that names the model, for messages.

    Raises:
        ModelError: The model reads transparency.
    """
    if preprocessing.channels not in (1, 3):
        raise ModelError(
            f"`{source}` must be a model of 1 or 3 channels, as transparency is not used in training, but has "
            f"{preprocessing.channels} instead: start from another model."
        )


@dataclass(frozen=True)
class VisionFields:
    """What both kinds of `vision` have."""

    preset: str | None = None
    """A preset of `multiattn.models.vit`, to train from scratch."""

    overrides: dict[str, Any] | None = None
    """Fields of `ViTConfig` that differ from the preset; with trained weights, those that only matter in training
    (dropout, attention_dropout, stochastic_depth)."""

    image_size: int | None = None
    """Side of the square input in pixels, where it is not the preset's or the trained model's."""

    mean: tuple[float, float, float] = IMAGENET_MEAN
    """Subtracted from red, green and blue (0 to 1); unused with trained weights."""

    std: tuple[float, float, float] = IMAGENET_STD
    """Divides them; unused with trained weights."""

    def __post_init__(self) -> None:
        """Raise ModelError where the size is out of range."""
        require_each({"vision.image_size": self.image_size}, least=1)

    def preprocessing(self, size: tuple[int, int], resize_to: tuple[int, int] | int) -> ImagePreprocessing:
        """The preprocessing of a model that is trained from scratch."""
        (r, g, b), (sr, sg, sb) = self.mean, self.std
        return ImagePreprocessing(size, resize_to, "bicubic", (r, g, b), (sr, sg, sb))

    def config(self, preset: str) -> ViTConfig:
        """The configuration of a preset with these changes.

        Raises:
            ModelError: There is no such preset or field, or the changes make no valid model.
        """
        require(preset in PRESETS, "vision.preset", must=f"one of {', '.join(PRESETS)}", value=preset)
        overrides = with_tuples(self.overrides)
        require_fields(overrides, ViTConfig, "vision.overrides", but=("num_classes",))  # the data decides the classes
        if self.image_size is not None:
            overrides["image_size"] = (self.image_size, self.image_size)
        config = changed(PRESETS[preset], overrides, "vision.overrides")
        require(
            config.in_channels == 3, "vision.overrides.in_channels", must="3 from scratch", value=config.in_channels
        )
        if any(side % config.patch_size for side in config.image_size):
            raise ModelError(
                f"`vision.image_size` must be a multiple of the patch size ({config.patch_size}), but is "
                f"{config.image_size} instead."
            )
        return config


@dataclass(frozen=True)
class VisionSource(VisionFields, EncoderPace):
    """The vision transformer of a classifier. Set in the YAML under `model.init_args.vision`.

    Its pace is that of all but the head.
    """

    option: ClassVar[str] = "vision"

    def __post_init__(self) -> None:
        """Raise ModelError where a value is out of range."""
        VisionFields.__post_init__(self)
        EncoderPace.__post_init__(self)


@dataclass(frozen=True)
class VisionEncoder(VisionFields, EncoderPace):
    """The encoder of a model of images and texts. Set in the YAML under `model.init_args.vision`."""

    option: ClassVar[str] = "vision"

    pretrained: str | None = None
    """Start from this model's vision transformer: a task's name, a model directory or a hub id in any layout that
    `multiattn` loads. Its normalization is kept. One of this, `vision.preset` and `pretrained` must be given."""

    depth: int | None = None
    """Blocks of `vision.pretrained` that are used, from the first; all where None. The last blocks of a classifier know
    what names one thing, those before them more of the rest."""

    def __post_init__(self) -> None:
        """Raise ModelError where a value is out of range."""
        VisionFields.__post_init__(self)
        EncoderPace.__post_init__(self)
        require_each({"vision.depth": self.depth}, least=1)
        is_of_trained = self.depth is None or self.pretrained is not None
        require(is_of_trained, "vision.depth", must="left out without `vision.pretrained`", value=self.depth)


@dataclass(frozen=True)
class TextSource:
    """A trained text encoder beside the question encoder. Set in the YAML under `model.init_args.text`."""

    pretrained: str
    """A directory or a hub id in the layout of BERT: a BERT, or a sentence encoder such as MiniLM."""

    lr_share: float = 1.0
    """It learns at this share of the learning rate; 0 freezes it."""

    def __post_init__(self) -> None:
        """Raise ModelError where a value is out of range."""
        share = self.lr_share
        require(0 <= share < math.inf, "text.lr_share", must="at least 0 and finite", value=share)


@dataclass(frozen=True)
class AudioEncoder(EncoderPace):
    """The encoder of a recognizer. Set in the YAML under `model.init_args.audio`."""

    option: ClassVar[str] = "audio"

    preset: str | None = None
    """A preset of `multiattn.models.speech`, decoder included, to train from scratch. Either this or `pretrained` must
    be given."""

    overrides: dict[str, Any] | None = None
    """Fields of `SpeechEncoderConfig` that differ from the preset; with `pretrained`, those that only matter in
    training (dropout, attention_dropout, stochastic_depth)."""

    preprocessing: dict[str, Any] | None = None
    """Fields of `AudioPreprocessing` that differ from its defaults, of which `pad_to` is None here, so that a short
    recording is short work; with `pretrained`, `pad_to` and `max_seconds`."""

    context: Literal["all", "real"] | None = None
    """What the decoder attends to: `all` frames, as in Whisper, or only the `real` ones, without padding; None for
    what the preset or the trained model does."""


def with_tuples(values: dict[str, Any] | None) -> dict[str, Any]:
    """Options from YAML, with tuples in place of its lists."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in (values or {}).items()}


def without_tokens(decoding: dict[str, Any]) -> dict[str, Any]:
    """Decoding options for another vocabulary: without those that name tokens."""
    return {name: value for name, value in decoding.items() if name not in _NAMING_TOKENS}


def changed(config: _Config, values: dict[str, Any], option: str) -> _Config:
    """A configuration with other values.

    Raises:
        ModelError: They make no valid configuration; the message names the option.
    """
    try:
        return replace(config, **values)
    except ValueError as error:
        raise ModelError(f"`{option}` cannot be used: {error}") from error


def without_dropout(config: _Config) -> _Config:
    """A configuration, with those inside it, without what only matters in training (`TRAINING_ONLY`)."""
    found: dict[str, Any] = {}
    for field in fields(config):
        value = getattr(config, field.name)
        if is_dataclass(value) and not isinstance(value, type):
            found[field.name] = without_dropout(value)
        elif field.name in TRAINING_ONLY:
            found[field.name] = 0.0
    return replace(config, **found)


def require_training_only(
    overrides: dict[str, Any], name: str, *, source: str, allowed: Sequence[str] = TRAINING_ONLY
) -> None:
    """Raise ModelError unless the overrides leave a trained model's weights as they are."""
    if wrong := sorted(set(overrides) - set(allowed)):
        raise ModelError(
            f"`{name}` must be among {', '.join(allowed)} where there is `{source}`, but has "
            f"{', '.join(wrong)}: the weights decide about it."
        )


def check_text_fields(values: dict[str, Any], config: type, name: str, *, but: Sequence[str]) -> None:
    """Check the fields of a text encoder or decoder.

    Args:
        values: The fields.
        config: The configuration class.
        name: The option, for messages.
        but: Fields that are decided elsewhere.

    Raises:
        ModelError: A field is unknown or of another type, or the fields make no valid configuration.
    """
    require_fields(values, config, name, but=but)
    try:
        config(**values)
    except ValueError as error:
        raise ModelError(f"`{name}` cannot be used: {error}") from error
