"""The captioner that a training starts from, made of parts or a whole one to fine-tune; and its teacher-forced pass.

b images, m image tokens, D the encoder's width, C width of the decoder's context, r texts, n tokens, V vocabulary.
"""

from dataclasses import dataclass, field, replace
from typing import Any

from jaxtyping import Bool, Float, Int64
from torch import Tensor

from multiattn.models.captioner import Captioner, CaptionerConfig
from multiattn.models.text_decoder import TextDecoderConfig

from .contracts import TextFacts, special_tokens
from .parts import (
    OF_THE_DATA,
    TEXT_TRAINING_ONLY,
    VisionEncoder,
    check_text_fields,
    require_training_only,
)
from .text_task import image_context
from .trained import TrainedModels
from .vision_start import VisionStart, start_vision


@dataclass
class CaptionStart(VisionStart):
    """A captioner before its data is known."""

    decoder: dict[str, Any] = field(default_factory=dict)
    """Fields of `TextDecoderConfig`."""

    @classmethod
    def of(
        cls, vision: VisionEncoder, decoder: dict[str, Any] | None, pretrained: str | None, *, models: TrainedModels
    ) -> "CaptionStart":
        """Read the trained weights that the options name, and check the options; see `CaptionTask`.

        Raises:
            ModelError: They do not go together, name nothing that exists, or make no valid model.
        """
        start = start_vision(vision, pretrained, models=models, whole=Captioner, kind="captioner")
        decoder = dict(decoder or {})
        if pretrained is None:
            check_text_fields(decoder, TextDecoderConfig, "decoder", but=OF_THE_DATA)
        else:
            require_training_only(decoder, "decoder", source="pretrained", allowed=TEXT_TRAINING_ONLY)
        return cls(start.preprocessing, start.encoder, start.whole, decoder)

    def build(self, facts: TextFacts) -> Captioner:
        """Build the captioner for the data's tokenizer."""
        config = self.config
        if self.whole is None:
            special = special_tokens(facts.tokenizer)
            decoder = TextDecoderConfig(**{"context_dim": config.dim} | special | self.decoder)
            model = Captioner(CaptionerConfig(config, decoder, bridge=decoder.context_dim != config.dim))
        else:
            trained = self.whole.require(Captioner)
            decoder = replace(trained.config.decoder, **self.decoder)
            model = Captioner(replace(trained.config, encoder=config, decoder=decoder))
            kept = {k: v for k, v in trained.state_dict().items() if not k.startswith("encoder.")}
            model.load_state_dict(model.state_dict() | kept)
        self.fill(model.encoder)
        return model


def teacher_forced(
    model: Captioner,
    images: Float[Tensor, "b 3 H W"] | None,
    features: Float[Tensor, "b m D"] | None,
    tokens: Int64[Tensor, "r n"],
    attention_mask: Bool[Tensor, "r n"],
    *,
    frozen: bool,
    checkpoint_activations: bool = False,
) -> Float[Tensor, "r n V"]:
    """The scores of the next token at each position; the other arguments are those of `image_context`."""
    context = image_context(model, images, features, frozen=frozen, checkpoint_activations=checkpoint_activations)
    return model.decoder(  # type: ignore[no-any-return]
        tokens, context, attention_mask=attention_mask, checkpoint_activations=checkpoint_activations
    )
