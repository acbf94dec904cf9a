"""The captioner: a vision transformer encodes the picture, and a text decoder that attends to it writes the caption.

Notation: b pictures, r texts (r / b of each picture, side by side), n tokens, m picture tokens (prefix first, then
patches row by row), C width of the context that the decoder attends to, V vocabulary.
Source: Xu et al. 2015, "Show, Attend and Tell"; as a transformer, Li et al. 2022 (BLIP).
"""

from dataclasses import dataclass, replace

from jaxtyping import Bool, Float, Int64
from torch import Tensor

from ..attention import DecoderCache, Site, Tap, probe_at
from .common import sites_of
from .picture_model import PictureModel, check_bridge
from .text_decoder import TextDecoder, TextDecoderConfig
from .vit import PRESETS as VIT_PRESETS
from .vit import ViTConfig


@dataclass(frozen=True)
class CaptionerConfig:
    """Configuration of a `Captioner`."""

    encoder: ViTConfig
    """The vision transformer, without classes."""

    decoder: TextDecoderConfig

    bridge: bool = False
    """Whether a linear layer maps the encoder's width to the decoder's `context_dim`."""

    def __post_init__(self) -> None:
        """Check that the parts fit each other.

        Raises:
            ValueError: They do not; the message names the field.
        """
        check_bridge(self.encoder, "decoder.context_dim", self.decoder.context_dim, has_bridge=self.bridge)


_BERT = TextDecoderConfig(
    vocab_size=30524,
    dim=768,
    depth=12,
    num_heads=12,
    mlp_dim=3072,
    max_length=512,
    context_dim=768,
    start_token=30522,
    end_token=102,
    pad_token=0,
    pre_norm=False,
    norm_eps=1e-12,
    embed_norm=True,
    final_norm=False,
    head="transform",
    head_bias=True,
)
_BLIP_VISION = replace(VIT_PRESETS["base"], image_size=(384, 384), num_classes=0)

PRESETS: dict[str, CaptionerConfig] = {
    "blip_base": CaptionerConfig(_BLIP_VISION, _BERT),
    "blip_large": CaptionerConfig(
        replace(VIT_PRESETS["large"], image_size=(384, 384), num_classes=0), replace(_BERT, context_dim=1024)
    ),
    "vit_gpt2": CaptionerConfig(
        replace(VIT_PRESETS["base"], num_classes=0, norm_eps=1e-12),
        TextDecoderConfig(
            vocab_size=50257,
            dim=768,
            depth=12,
            num_heads=12,
            mlp_dim=3072,
            max_length=1024,
            context_dim=768,
            start_token=50256,
            end_token=50256,
            pad_token=50256,
            activation="gelu_tanh",
        ),
    ),
    # small enough to be trained on a CPU
    "compact": CaptionerConfig(
        replace(VIT_PRESETS["compact"], image_size=(64, 64), num_classes=0),
        TextDecoderConfig(dim=256, depth=3, num_heads=4, mlp_dim=1024, context_dim=128, dropout=0.1),
    ),
}
"""Configurations by name."""


class Captioner(PictureModel):
    """A vision transformer and a text decoder, built from a `CaptionerConfig`."""

    def __init__(self, config: CaptionerConfig) -> None:
        super().__init__(config.encoder, bridge=config.decoder.context_dim if config.bridge else None)
        self.config = config
        self.decoder = TextDecoder(config.decoder)

    def attention_sites(self, image_size: tuple[int, int] | None = None, *, tokens: int) -> tuple[Site, ...]:
        """The sites a `Tap` can capture, for a picture of this height and width and a text of so many tokens."""
        encoder = self.encoder.attention_sites(image_size, of="features")
        decoder = self.decoder.attention_sites(tokens=tokens, context_tokens=encoder[0].k_len)
        return sites_of([("encoder", encoder), ("decoder", decoder)])

    def forward(
        self,
        images: Float[Tensor, "b 3 H W"],
        tokens: Int64[Tensor, "r n"],
        *,
        attention_mask: Bool[Tensor, "r n"] | None = None,
        tap: Tap | None = None,
        checkpoint_activations: bool = False,
    ) -> Float[Tensor, "r n V"]:
        """Return the logits of the token that follows each token.

        Args:
            images: Normalized pictures.
            tokens: Texts, the same number for each picture.
            attention_mask: False where a token is padding.
            tap: Captures attention weights.
            checkpoint_activations: See `TransformerBlock`.
        """
        return self.decoder(  # type: ignore[no-any-return]
            tokens,
            self.encode(images, tap=tap, checkpoint_activations=checkpoint_activations),
            attention_mask=attention_mask,
            tap=probe_at(tap, "decoder"),
            checkpoint_activations=checkpoint_activations,
        )

    def start(self, images: Float[Tensor, "b 3 H W"], *, rows: int, capacity: int) -> DecoderCache:
        """Encode pictures, and make the cache of a new decode as `TextDecoder.start` does."""
        return self.decoder.start(self.encode(images), rows=rows, capacity=capacity)
