"""The captioner that a training starts from, of parts or a whole one to fine-tune; its pass in training; its captions.

b pictures, m picture tokens, D the encoder's width, C width of what the decoder attends to, r texts, n tokens, V
vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from multiattn.generation import Generated, GenerationConfig, generate
from multiattn.inputs import Tokenizer
from multiattn.models.captioner import Captioner, CaptionerConfig
from multiattn.models.text_decoder import TextDecoder, TextDecoderConfig
from multiattn.models.text_stack import TextStack
from multiattn.models.vqa import VQA

from .text_fields import OF_THE_DATA, TEXT_TRAINING_ONLY, check_text_fields, new_decoder
from .vision import TRAINING_ONLY, PictureStart, picture_start, require_training_only


@dataclass
class Start:
    """What is known of a captioner before the data is."""

    pictures: PictureStart
    decoder: dict[str, Any]
    """Fields of `TextDecoderConfig`."""

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The trained captioner's; None where the data makes one."""
        return None if self.pictures.whole is None else self.pictures.whole.tokenizer

    @property
    def decoding(self) -> dict[str, Any]:
        """The trained captioner's."""
        return {} if self.pictures.whole is None else self.pictures.whole.decoding

    def build(self, tokenizer: Tokenizer) -> Captioner:
        """The captioner for texts of this tokenizer."""
        config = self.pictures.config
        if self.pictures.whole is None:
            decoder = new_decoder(self.decoder, tokenizer, context_dim=config.dim)
            model = Captioner(CaptionerConfig(config, decoder, bridge=decoder.context_dim != config.dim))
        else:
            trained = self.pictures.whole.require(Captioner)
            decoder = replace(trained.config.decoder, **self.decoder)
            model = Captioner(replace(trained.config, encoder=config, decoder=decoder))
            kept = {k: v for k, v in trained.state_dict().items() if not k.startswith("encoder.")}
            model.load_state_dict(model.state_dict() | kept)
        self.pictures.fill(model.encoder)
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
    pictures = picture_start(
        encoder=encoder,
        encoder_pretrained=encoder_pretrained,
        encoder_overrides=encoder_overrides,
        pretrained=pretrained,
        image_size=image_size,
        mean=mean,
        std=std,
        whole=Captioner,
        kind="captioner",
    )
    decoder = dict(decoder or {})
    if pretrained is None:
        check_text_fields(decoder, TextDecoderConfig, "decoder", but=OF_THE_DATA)
    else:
        require_training_only(decoder, "decoder", source="pretrained", allowed=TEXT_TRAINING_ONLY)
    return Start(pictures, decoder)


def without_dropout(config: CaptionerConfig) -> CaptionerConfig:
    """The same captioner without what matters only in training."""
    encoder = replace(config.encoder, **dict.fromkeys(TRAINING_ONLY, 0.0))
    return replace(config, encoder=encoder, decoder=replace(config.decoder, dropout=0.0, attention_dropout=0.0))


def context_of(
    model: Captioner | VQA,
    images: Float[Tensor, "b 3 H W"] | None,
    features: Float[Tensor, "b m D"] | None,
    *,
    frozen: bool,
) -> Float[Tensor, "b m C"]:
    """What a text attends to: of pictures, or of features that the encoder gave earlier.

    Args:
        model: The captioner, or the one that answers.
        images: Normalized pictures; None where there are features.
        features: What `model.encoder.features` gave, in any precision.
        frozen: Whether nothing that the encoder did is to be kept for a gradient.
    """
    if features is not None:
        return model.bridged(features.to(_texts(model).embedding.weight.dtype))
    assert images is not None
    with torch.set_grad_enabled(torch.is_grad_enabled() and not frozen):
        features = model.encoder.features(images)
    return model.bridged(features)


def teacher_forced(
    model: Captioner,
    images: Float[Tensor, "b 3 H W"] | None,
    features: Float[Tensor, "b m D"] | None,
    tokens: Int64[Tensor, "r n"],
    attention_mask: Bool[Tensor, "r n"],
    *,
    frozen: bool,
) -> Float[Tensor, "r n V"]:
    """The scores of what follows each token, padding or not; the other arguments as `context_of`."""
    context = context_of(model, images, features, frozen=frozen)
    return model.decoder(tokens, context, attention_mask=attention_mask)  # type: ignore[no-any-return]


def captions_of(
    decoder: TextDecoder,
    context: Float[Tensor, "b m C"],
    prompt: Sequence[int],
    options: GenerationConfig,
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


def _texts(model: Captioner | VQA) -> TextStack:
    """The part that attends to the picture."""
    return model.decoder if isinstance(model, Captioner) else model.question
