"""The captioner that a training starts from, of parts or a whole one to fine-tune; its pass in training; its captions.

b pictures, m picture tokens, D the encoder's width, C width of what the decoder attends to, r texts, n tokens, V
vocabulary.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from multiattn.errors import ModelError
from multiattn.generation import DecodingOptions, Generated, generate
from multiattn.inputs import ImagePreprocessing, Tokenizer
from multiattn.models.captioner import Captioner, CaptionerConfig
from multiattn.models.text_decoder import TextDecoder, TextDecoderConfig
from multiattn.models.vit import ViT, ViTConfig
from multiattn.weights import ModelBundle, load_bundle

from .checks import require_fields
from .encoder import TRAINING_ONLY, preset_config, require_training_only, with_tuples, without_head

_DECODER_TRAINING_ONLY = ("dropout", "attention_dropout")
_OF_THE_DATA = ("vocab_size", "start_token", "end_token", "pad_token")
"""Fields of the decoder that the tokenizer decides about."""


@dataclass
class Start:
    """What is known of a captioner before the data is."""

    preprocessing: ImagePreprocessing
    encoder: ViT | ViTConfig
    """Trained, or to be made."""

    decoder: dict[str, Any]
    """Fields of `TextDecoderConfig`."""

    whole: ModelBundle | None = None
    """The captioner to fine-tune, where it is one."""

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The trained captioner's; None where the data makes one."""
        return None if self.whole is None else self.whole.tokenizer

    def build(self, tokenizer: Tokenizer) -> Captioner:
        """The captioner for texts of this tokenizer."""
        config = self.encoder if isinstance(self.encoder, ViTConfig) else self.encoder.config
        if self.whole is None:
            decoder = _decoder_config(self.decoder, tokenizer, context_dim=config.dim)
            model = Captioner(CaptionerConfig(config, decoder, bridge=decoder.context_dim != config.dim))
        else:
            trained = self.whole.model
            assert isinstance(trained, Captioner)
            decoder = replace(trained.config.decoder, **self.decoder)
            model = Captioner(replace(trained.config, encoder=config, decoder=decoder))
            kept = {k: v for k, v in trained.state_dict().items() if not k.startswith("encoder.")}
            model.load_state_dict(model.state_dict() | kept)
        if isinstance(self.encoder, ViT):
            model.encoder.load_state_dict(self.encoder.state_dict())
        return model


def start(
    *,
    encoder: str | None,
    encoder_pretrained: str | None,
    encoder_overrides: dict[str, Any] | None,
    decoder: dict[str, Any] | None,
    pretrained: str | None,
    image_size: int | None,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
) -> Start:
    """Read what there is to read, and check the options against each other.

    Raises:
        ModelError: They do not go together, name nothing that exists, or no such model can be.
    """
    given = {"encoder": encoder, "encoder_pretrained": encoder_pretrained, "pretrained": pretrained}
    named = [name for name, value in given.items() if value is not None]
    if len(named) != 1:
        found = f"{' and '.join(f'`{name}`' for name in named)} are" if named else "none of them is"
        raise ModelError(
            "one of `encoder`, `encoder_pretrained` and `pretrained` must say what to start from, but "
            f"{found} given. Leave the others out."
        )
    overrides, decoder = with_tuples(encoder_overrides), dict(decoder or {})
    if encoder is not None:
        config = preset_config(encoder, overrides, image_size, option="encoder", changes="encoder_overrides")
        config = replace(config, num_classes=0)
        _check_decoder(decoder)
        # the whole picture, not its middle: a caption is about all of it
        preprocessing = ImagePreprocessing(config.image_size, config.image_size, "bicubic", tuple(mean), tuple(std))
        return Start(preprocessing, config, decoder)
    require_training_only(overrides, "encoder_overrides", source=named[0])
    bundle = load_bundle(str(given[named[0]]))
    trained = bundle.model.encoder if isinstance(bundle.model, Captioner) else bundle.model
    size = bundle.preprocessing.size if image_size is None else (image_size, image_size)
    preprocessing = replace(bundle.preprocessing, size=size, resize_to=size)
    vit = without_head(trained, image_size=size, overrides=overrides)
    if encoder_pretrained is not None:
        _check_decoder(decoder)
        return Start(preprocessing, vit, decoder)
    if not isinstance(bundle.model, Captioner):
        raise ModelError(
            f"`pretrained` must name a captioner, but {pretrained} is a model that can {bundle.task}. Give it as "
            "`encoder_pretrained` to start from its encoder."
        )
    wrong = sorted(set(decoder) - set(_DECODER_TRAINING_ONLY))
    if wrong:
        raise ModelError(
            f"`decoder` must be among {', '.join(_DECODER_TRAINING_ONLY)} where there is `pretrained`, but has "
            f"{', '.join(wrong)}: the weights decide about it."
        )
    return Start(preprocessing, vit, decoder, bundle)


def without_dropout(config: CaptionerConfig) -> CaptionerConfig:
    """The same captioner without what matters only in training."""
    encoder = replace(config.encoder, **dict.fromkeys(TRAINING_ONLY, 0.0))
    return replace(config, encoder=encoder, decoder=replace(config.decoder, dropout=0.0, attention_dropout=0.0))


def context_of(
    model: Captioner, images: Float[Tensor, "b 3 H W"] | None, features: Float[Tensor, "b m D"] | None, *, frozen: bool
) -> Float[Tensor, "b m C"]:
    """What the decoder attends to: of pictures, or of features that the encoder gave earlier.

    Args:
        model: The captioner.
        images: Normalised pictures; None where there are features.
        features: What `model.encoder.features` gave, in any precision.
        frozen: Whether nothing that the encoder did is to be kept for a gradient.
    """
    if features is not None:
        return model.bridged(features.to(model.decoder.embedding.weight.dtype))
    assert images is not None
    with torch.set_grad_enabled(torch.is_grad_enabled() and not frozen):
        features = model.encoder.features(images)
    return model.bridged(features)


def teacher_forced(
    model: Captioner,
    images: Float[Tensor, "b 3 H W"] | None,
    features: Float[Tensor, "b m D"] | None,
    tokens: Int64[Tensor, "r n"],
    real: Bool[Tensor, "r n"],
    *,
    frozen: bool,
) -> Float[Tensor, "r n V"]:
    """The scores of what follows each token, padding or not; the other arguments as `context_of`."""
    context = context_of(model, images, features, frozen=frozen)
    return model.decoder(tokens, context, real=real)  # type: ignore[no-any-return]


def options_of(decoding: Mapping[str, Any]) -> DecodingOptions:
    """One caption a picture, found as the values of `decoding` say, of which `prompt` is no option.

    Raises:
        ModelError: There is no such option, or no such decode.
    """
    known = [f.name for f in fields(DecodingOptions)]
    unknown = sorted(set(decoding) - {*known, "prompt"})
    if unknown:
        raise ModelError(
            f"`decoding` must be among {', '.join([*known, 'prompt'])}, but has {', '.join(unknown)} instead."
        )
    values = {name: value for name, value in decoding.items() if name != "prompt"}
    return replace(DecodingOptions(**values), candidates=1)


def captions_of(
    decoder: TextDecoder,
    context: Float[Tensor, "b m C"],
    prompt: Sequence[int],
    options: DecodingOptions,
    *,
    generator: torch.Generator | None = None,
) -> list[Generated]:
    """What the decoder writes about each picture: all candidates of one, then those of the next.

    Args:
        decoder: Who writes.
        context: Of each picture.
        prompt: What every caption goes on from, after the start token.
        options: How.
        generator: Where chance comes from, for sampling.
    """
    opening = [decoder.config.start_token, *prompt]
    found = generate(decoder, context, [opening] * len(context), options, generator=generator)
    return [caption for candidates in found for caption in candidates]


def _check_decoder(values: dict[str, Any]) -> None:
    require_fields(values, TextDecoderConfig, "decoder", but=_OF_THE_DATA)
    try:
        TextDecoderConfig(**values)
    except ValueError as error:
        raise ModelError(f"`decoder` cannot be used: {error}") from error


def _decoder_config(values: dict[str, Any], tokenizer: Tokenizer, *, context_dim: int) -> TextDecoderConfig:
    """A decoder for the tokenizer's texts; its cross-attention is as wide as the encoder where nothing else is said."""
    special = {f"{name.lower()}_token": tokenizer.id_of(f"[{name}]") for name in ("START", "END", "PAD")}
    return TextDecoderConfig(**{"context_dim": context_dim, "vocab_size": tokenizer.vocab_size} | special | values)
