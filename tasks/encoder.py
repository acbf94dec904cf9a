"""The vision transformer that a task starts from: a preset with changes, or a trained model's."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from multiattn.errors import ModelError
from multiattn.models.vit import PRESETS, ViT, ViTConfig
from multiattn.weights import adapt

from .checks import require_fields

TRAINING_ONLY = ("dropout", "attention_dropout", "stochastic_depth")
"""Fields of a configuration that change no weight: they can be chosen anew for a trained model."""


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
