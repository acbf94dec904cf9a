"""The captioner: a vision transformer reads the picture, a text decoder writes about it and looks at it meanwhile.

Notation: b pictures, r texts (r / b of each picture, side by side), n tokens, m picture tokens (prefix first, then
patches row by row), C width of what the decoder attends to, V vocabulary.
Source: Xu et al. 2015, "Show, Attend and Tell"; as a transformer, Li et al. 2022 (BLIP).
"""

from dataclasses import dataclass, replace
from typing import Any

from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from ..attention import DecoderCache, Site, Tap, probe_at
from .initial import initialise
from .text_decoder import TextDecoder, TextDecoderConfig
from .vit import PRESETS as VIT_PRESETS
from .vit import ViT, ViTConfig


@dataclass(frozen=True)
class CaptionerConfig:
    """What a `Captioner` is made of."""

    encoder: ViTConfig
    """Of the vision transformer; without classes."""

    decoder: TextDecoderConfig
    """Of the text decoder."""

    bridge: bool = False
    """Whether a linear map leads from the encoder's width to the decoder's `context_dim`."""

    def __post_init__(self) -> None:
        """Check that the parts fit each other.

        Raises:
            ValueError: They do not; the message names the field.
        """
        if self.encoder.num_classes:
            raise ValueError(f"`encoder.num_classes` must be 0, but is {self.encoder.num_classes} instead.")
        if not self.bridge and self.decoder.context_dim != self.encoder.dim:
            raise ValueError(
                f"`decoder.context_dim` must be the encoder's `dim` ({self.encoder.dim}) without a `bridge`, but is "
                f"{self.decoder.context_dim} instead."
            )


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
"""The models one can ask for by name."""


class Captioner(nn.Module):
    """A vision transformer and a text decoder, built from a `CaptionerConfig`."""

    def __init__(self, config: CaptionerConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = ViT(config.encoder)
        self.bridge = nn.Linear(config.encoder.dim, config.decoder.context_dim) if config.bridge else None
        if self.bridge is not None:
            initialise(self.bridge)
        self.decoder = TextDecoder(config.decoder)

    def attention_sites(self, image_size: tuple[int, int] | None = None, *, tokens: int) -> tuple[Site, ...]:
        """The attentions a `Tap` may ask for, for a picture of this height and width and a text of `tokens`."""
        encoder = self.encoder.attention_sites(image_size, of="features")
        decoder = self.decoder.attention_sites(tokens=tokens, context_tokens=encoder[0].k_len)
        return tuple(
            replace(site, name=f"{part}.{site.name}")
            for part, sites in (("encoder", encoder), ("decoder", decoder))
            for site in sites
        )

    def encode(self, images: Float[Tensor, "b 3 H W"], *, tap: Tap | None = None) -> Float[Tensor, "b m C"]:
        """What the decoder attends to.

        Args:
            images: Normalised pictures; height and width must be multiples of the patch size.
            tap: What to capture of the attention.
        """
        return self.bridged(self.encoder.features(images, tap=probe_at(tap, "encoder")))

    def bridged(self, features: Float[Tensor, "b m D"]) -> Float[Tensor, "b m C"]:
        """What `encode` makes of the encoder's features, for those who have kept them."""
        return features if self.bridge is None else self.bridge(features)

    def forward(
        self,
        images: Float[Tensor, "b 3 H W"],
        tokens: Int64[Tensor, "r n"],
        *,
        real: Bool[Tensor, "r n"] | None = None,
        tap: Tap | None = None,
    ) -> Float[Tensor, "r n V"]:
        """The scores (logits) of the token that follows each token.

        Args:
            images: Normalised pictures.
            tokens: Texts, as many of each picture as of the others.
            real: False where a token is padding.
            tap: What to capture of the attention.
        """
        context = self.encode(images, tap=tap)
        return self.decoder(tokens, context, real=real, tap=probe_at(tap, "decoder"))  # type: ignore[no-any-return]

    def start(self, images: Float[Tensor, "b 3 H W"], *, rows: int, capacity: int) -> DecoderCache:
        """The state in which a decode about these pictures begins, as `TextDecoder.start`."""
        return self.decoder.start(self.encode(images), rows=rows, capacity=capacity)

    def no_weight_decay(self) -> set[str]:
        """Names of the parameters that weight decay must leave alone, as timm's optimisers ask."""
        names = {f"encoder.{name}" for name in self.encoder.no_weight_decay()}
        return names | {"decoder.positions.weight"}

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """How parameters group into layers, as timm's layer-wise decay asks: the encoder's, then all the rest."""
        del coarse  # part of timm's protocol; the blocks are the only grouping here
        return {
            "stem": r"^encoder\.(?:stem|stem_norm|class_token|registers|positions)\b",
            "blocks": [(r"^encoder\.blocks\.(\d+)\.", None), (r"^encoder\.(?:norm|pool_norm)\b", (99_999,))],
            "rest": r"^(?:bridge|decoder)\b",
        }
