"""The vision transformer that a task starts from: a preset with changes, or a trained model's."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from multiattn.checks import require_fields
from multiattn.errors import ModelError
from multiattn.inputs import ImagePreprocessing
from multiattn.models.vit import PRESETS, ViT, ViTConfig
from multiattn.weights import ModelBundle, adapt, load_bundle

TRAINING_ONLY = ("dropout", "attention_dropout", "stochastic_depth")
"""Fields of a configuration that change no weight: they can be chosen anew for a trained model."""


@dataclass(frozen=True)
class PictureStart:
    """How a model about pictures begins: its encoder, and all of it where a whole one is to be fine-tuned."""

    preprocessing: ImagePreprocessing
    encoder: ViT | ViTConfig
    """Trained, or to be made."""

    whole: ModelBundle | None = None
    """The model to fine-tune, where it is one."""

    @property
    def config(self) -> ViTConfig:
        """Of the encoder."""
        return self.encoder if isinstance(self.encoder, ViTConfig) else self.encoder.config

    def fill(self, encoder: ViT) -> None:
        """Give the trained weights, where there are some, to a new encoder of this configuration."""
        if isinstance(self.encoder, ViT):
            encoder.load_state_dict(self.encoder.state_dict())


def picture_start(
    *,
    encoder: str | None,
    encoder_pretrained: str | None,
    encoder_overrides: dict[str, Any] | None,
    pretrained: str | None,
    image_size: int | None,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    whole: type[nn.Module],
    kind: str,
) -> PictureStart:
    """Read what there is to read, and check the options against each other.

    Args:
        encoder: A preset, from scratch.
        encoder_pretrained: A model whose encoder to take.
        encoder_overrides: Fields of `ViTConfig` that differ.
        pretrained: A model to take as a whole.
        image_size: Side of the square input in pixels, where it is another.
        mean: Of the colors, for a new encoder.
        std: Of the colors, for a new encoder.
        whole: What `pretrained` must be.
        kind: The word for that.

    Raises:
        ModelError: The options do not go together, name nothing that exists, or no such model can be.
    """
    given = {"encoder": encoder, "encoder_pretrained": encoder_pretrained, "pretrained": pretrained}
    named = [name for name, value in given.items() if value is not None]
    if len(named) != 1:
        found = f"{' and '.join(f'`{name}`' for name in named)} are" if named else "none of them is"
        raise ModelError(
            "one of `encoder`, `encoder_pretrained` and `pretrained` must say what to start from, but "
            f"{found} given. Leave the others out."
        )
    overrides = with_tuples(encoder_overrides)
    if encoder is not None:
        config = preset_config(encoder, overrides, image_size, option="encoder", changes="encoder_overrides")
        config = replace(config, num_classes=0)
        # the whole picture, not its middle: a text is about all of it
        size = config.image_size
        return PictureStart(ImagePreprocessing(size, size, "bicubic", tuple(mean), tuple(std)), config)
    require_training_only(overrides, "encoder_overrides", source=named[0])
    bundle = load_bundle(str(given[named[0]]))
    pictures = bundle.pictures
    trained = getattr(bundle.model, "encoder", bundle.model)
    if not isinstance(trained, ViT):
        raise ModelError(
            f"`{named[0]}` must name a model whose pictures go through a vision transformer of their own, but "
            f"{given[named[0]]} has none: give another."
        )
    size = pictures.size if image_size is None else (image_size, image_size)
    vit = without_head(trained, image_size=size, overrides=overrides)
    if pretrained is not None and not isinstance(bundle.model, whole):
        raise ModelError(
            f"`pretrained` must name a {kind}, but {pretrained} is a model that can {bundle.task}. Give it as "
            "`encoder_pretrained` to start from its encoder."
        )
    preprocessing = replace(pictures, size=size, resize_to=size)
    return PictureStart(preprocessing, vit, None if pretrained is None else bundle)


def with_tuples(values: dict[str, Any] | None) -> dict[str, Any]:
    """Options from YAML, which has lists for tuples."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in (values or {}).items()}


def preset_config(
    name: str,
    overrides: dict[str, Any],
    image_size: int | None,
    *,
    option: str = "architecture",
    changes: str = "overrides",
) -> ViTConfig:
    """A preset's configuration with changes.

    Args:
        name: Of the preset.
        overrides: Fields of `ViTConfig` that differ, but `num_classes`.
        image_size: Side of the square input in pixels, where it is another.
        option: What the user calls the preset.
        changes: What the user calls the overrides.

    Raises:
        ModelError: There is no such preset or field, or there can be no such model.
    """
    if name not in PRESETS:
        raise ModelError(f"`{option}` must be one of {', '.join(PRESETS)}, but is {name!r} instead.")
    require_fields(overrides, ViTConfig, changes, but=("num_classes",))  # the data decides about the classes
    if image_size is not None:
        overrides = overrides | {"image_size": (image_size, image_size)}
    try:
        config = replace(PRESETS[name], **overrides)
    except ValueError as error:
        raise ModelError(f"`{changes}` cannot be used: {error}") from error
    if any(side % config.patch_size for side in config.image_size):
        raise ModelError(
            f"`image_size` must be a multiple of the patch size ({config.patch_size}), but is {config.image_size} "
            "instead."
        )
    return config


def require_training_only(
    overrides: dict[str, Any], name: str, *, source: str, allowed: Sequence[str] = TRAINING_ONLY
) -> None:
    """Raise ModelError unless the overrides leave a trained model's weights as they are."""
    wrong = sorted(set(overrides) - set(allowed))
    if wrong:
        raise ModelError(
            f"`{name}` must be among {', '.join(allowed)} where there is `{source}`, but has "
            f"{', '.join(wrong)}: the weights decide about it."
        )


def without_head(model: ViT, *, image_size: tuple[int, int], overrides: dict[str, Any]) -> ViT:
    """A copy of a trained model as an encoder: all its tokens, for pictures of this size, and no classes.

    Args:
        model: What to start from; stays as it is.
        image_size: Height and width in pixels; learned positions are resampled where it is another.
        overrides: Those of `TRAINING_ONLY` that are to differ.
    """
    adapted = adapt(model, image_size=image_size)
    # nothing reads the pooled token, and a weight without a gradient would stop several processes
    encoder = ViT(replace(adapted.config, num_classes=0, pool_norm=False, **overrides))
    kept = encoder.state_dict().keys()
    encoder.load_state_dict({key: value for key, value in adapted.state_dict().items() if key in kept})
    return encoder
