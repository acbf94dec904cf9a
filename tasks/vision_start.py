"""The vision transformer that a captioner or a model that answers starts from, described or read as options name it."""

from dataclasses import dataclass, field, replace
from typing import Any

from torch import nn

from multiattn.checks import require
from multiattn.errors import ModelError
from multiattn.inputs import ImagePreprocessing, Tokenizer
from multiattn.models.vit import ViT, ViTConfig
from multiattn.weights import ModelBundle, adapt

from .parts import POOL, TRAINING_ONLY, VisionEncoder, check_trainable, require_training_only, with_tuples
from .trained import TrainedModels


@dataclass
class VisionStart:
    """The vision transformer that a model starts from, and the whole model where one is fine-tuned."""

    preprocessing: ImagePreprocessing
    encoder: ViT | ViTConfig
    """Trained, or only described."""

    whole: ModelBundle | None = None

    fresh: frozenset[str] = field(default=frozenset(), kw_only=True)
    """The weights of a trained encoder that start anew."""

    @property
    def config(self) -> ViTConfig:
        """The configuration of the encoder."""
        return self.encoder if isinstance(self.encoder, ViTConfig) else self.encoder.config

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The tokenizer of the whole model; None where the data makes one."""
        return None if self.whole is None else self.whole.tokenizer

    @property
    def decoding(self) -> dict[str, Any]:
        """How the whole model decodes."""
        return {} if self.whole is None else self.whole.decoding

    def fill(self, encoder: ViT) -> None:
        """Copy the trained weights, if there are any, into a new encoder of this configuration."""
        if isinstance(self.encoder, ViT):
            trained = {key: value for key, value in self.encoder.state_dict().items() if key not in self.fresh}
            encoder.load_state_dict(encoder.state_dict() | trained)


def start_vision(
    vision: VisionEncoder,
    pretrained: str | None,
    *,
    models: TrainedModels,
    whole: type[nn.Module],
    kind: str,
    keeps_pool: bool = False,
) -> VisionStart:
    """Read the trained weights that the options name, and check the options against each other.

    Args:
        vision: The encoder.
        pretrained: A whole model to fine-tune.
        models: Reads trained models.
        whole: The class that `pretrained` must be of.
        kind: The name of such a model, for messages.
        keeps_pool: Whether the model reads the pooled token, so that what pools it is kept.

    Raises:
        ModelError: The options do not go together, name nothing that exists, or make no valid model.
    """
    given = {"vision.preset": vision.preset, "vision.pretrained": vision.pretrained, "pretrained": pretrained}
    named = {name: value for name, value in given.items() if value is not None}
    if len(named) != 1:
        found = f"{' and '.join(f'`{name}`' for name in named)} are" if named else "none of them is"
        raise ModelError(
            "one of `vision.preset`, `vision.pretrained` and `pretrained` must say what to start from, but "
            f"{found} given. Leave the others out."
        )
    if vision.preset is not None:
        config = replace(vision.config(vision.preset), num_classes=0)
        # the whole image, not its middle: a text is about all of it
        return VisionStart(vision.preprocessing(config.image_size, config.image_size), config)
    ((option, source),) = named.items()
    overrides = with_tuples(vision.overrides)
    allowed = (*TRAINING_ONLY, *POOL) if keeps_pool and pretrained is None else TRAINING_ONLY
    require_training_only(overrides, "vision.overrides", source=option, allowed=allowed)
    bundle = models.bundle(source)
    images = bundle.pictures
    check_trainable(images, source=option)
    trained = getattr(bundle.model, "encoder", getattr(bundle.model, "vision", bundle.model))
    if not isinstance(trained, ViT):
        raise ModelError(
            f"`{option}` must name a model whose images go through a vision transformer of their own, but {source} has "
            "none: give another."
        )
    size = images.size if vision.image_size is None else (vision.image_size, vision.image_size)
    blocks = trained.config.depth
    fits = vision.depth is None or vision.depth <= blocks
    require(fits, "vision.depth", must=f"at most {blocks}, as the trained model has", value=vision.depth)
    try:
        encoder = without_head(
            trained, image_size=size, overrides=overrides, depth=vision.depth or blocks, keeps_pool=keeps_pool
        )
    except ValueError as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"`vision.overrides` cannot be used: {error}") from error
    if pretrained is not None and not isinstance(bundle.model, whole):
        raise ModelError(
            f"`pretrained` must name a {kind}, but {pretrained} is a model that can {bundle.task}. Give it as "
            "`vision.pretrained` to start from its encoder."
        )
    fresh = frozenset(encoder.state_dict().keys() - trained.state_dict().keys())
    images = replace(images, size=size, resize_to=size)
    return VisionStart(images, encoder, bundle if pretrained is not None else None, fresh=fresh)


def without_head(
    model: ViT, *, image_size: tuple[int, int], overrides: dict[str, Any], depth: int, keeps_pool: bool = False
) -> ViT:
    """Copy a trained model as an encoder: it gives all its tokens, for images of this size, and has no classes.

    Args:
        model: The model to copy.
        image_size: Height and width in pixels; learned positions are resampled where it differs.
        overrides: Fields among `TRAINING_ONLY` that differ.
        depth: Blocks to keep, from the first.
        keeps_pool: Whether to keep what pools the tokens; weights that `overrides` add are drawn.
    """
    adapted = adapt(model, image_size=image_size)
    # where nothing reads the pooled token, a weight without a gradient would stop several processes
    pool_norm = keeps_pool and adapted.config.pool_norm
    encoder = ViT(replace(adapted.config, num_classes=0, pool_norm=pool_norm, depth=depth, **overrides))
    state = encoder.state_dict()
    encoder.load_state_dict(state | {key: value for key, value in adapted.state_dict().items() if key in state})
    return encoder
