"""BLIP as a matcher: a vision transformer, and a text encoder that reads a text by itself or before the picture.

A text by itself has an embedding, whose cosine with the picture's is quick to have for many pairs. A text that is read
while the picture is attended to has the logit that both belong together, which is more exact.

Notation: b pictures, m picture tokens, r texts, n tokens, D width of the picture's tokens, E width of the embeddings.
Source: Li et al. 2022 (BLIP), section 3.2: the image-text contrastive and matching heads.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from ..attention import Site, Tap, probe_at
from ..checks import check_at_least, check_rules
from .common import initialize, sites_of
from .text_encoder import TextEncoder, TextEncoderConfig
from .text_tower import FramedTextConfig
from .vit import ViT, ViTConfig


@dataclass(frozen=True)
class MatcherTextConfig(FramedTextConfig, TextEncoderConfig):
    """Configuration of the text encoder of a `BlipMatcher`."""


@dataclass(frozen=True)
class BlipMatcherConfig:
    """Configuration of a `BlipMatcher`."""

    vision: ViTConfig
    """The vision transformer, without classes."""

    text: MatcherTextConfig
    """The text encoder, which attends to the picture."""

    dim: int = 256
    """Width of the embeddings."""

    def __post_init__(self) -> None:
        """Check that such a model can be built.

        Raises:
            ValueError: It cannot; the message names the field.
        """
        check_at_least(self, 1, ("dim",))
        check_rules(
            self,
            ("vision.num_classes", self.vision.num_classes == 0, "0"),
            ("text.context_dim", self.text.context_dim == self.vision.dim, f"`vision.dim` ({self.vision.dim})"),
        )


class BlipMatcher(nn.Module):
    """Says whether a text and a picture belong together; built from a `BlipMatcherConfig`."""

    def __init__(self, config: BlipMatcherConfig) -> None:
        super().__init__()
        c = self.config = config
        self.vision = ViT(c.vision)
        self.text = TextEncoder(c.text)
        self.vision_projection = nn.Linear(c.vision.dim, c.dim)
        self.text_projection = nn.Linear(c.text.dim, c.dim)
        self.head = nn.Linear(c.text.dim, 2)
        """Scores of "apart" and "together", of the first token."""
        for layer in (self.vision_projection, self.text_projection, self.head):
            initialize(layer)

    def attention_sites(
        self, image_size: tuple[int, int] | None = None, *, tokens: int | None = None
    ) -> tuple[Site, ...]:
        """The sites a `Tap` can capture in `forward`, for pictures of this height and width, and texts so long."""
        vision = self.vision.attention_sites(image_size, of="features")
        text = self.text.attention_sites(tokens=tokens or self.config.text.max_length, context_tokens=vision[0].k_len)
        # of the last block only the first token is computed
        last = f"blocks.{self.config.text.depth - 1}."
        text = tuple(replace(site, q_len=1) if site.name.startswith(last) else site for site in text)
        return sites_of([("vision", vision), ("text", text)])

    def forward(
        self,
        images: Float[Tensor, "b c H W"],
        tokens: Int64[Tensor, "r n"],
        attention_mask: Bool[Tensor, "r n"] | None = None,
        *,
        tap: Tap | None = None,
        checkpoint_activations: bool = False,
    ) -> Float[Tensor, "b r"]:
        """Return the logit that every picture and every text belong together.

        Args:
            images: Normalized pictures; height and width must be multiples of the patch size.
            tokens: The texts, as `FramedTextConfig.padded` gives them.
            attention_mask: False where a column is padding; None without padding.
            tap: Captures attention weights, of the texts with the first picture first.
            checkpoint_activations: See `TransformerBlock`.
        """
        features = self.vision.features(
            images, tap=probe_at(tap, "vision"), checkpoint_activations=checkpoint_activations
        )
        return self.match(features, tokens, attention_mask, tap=tap, checkpoint_activations=checkpoint_activations)

    def match(
        self,
        features: Float[Tensor, "b m D"],
        tokens: Int64[Tensor, "r n"],
        attention_mask: Bool[Tensor, "r n"] | None = None,
        *,
        tap: Tap | None = None,
        checkpoint_activations: bool = False,
    ) -> Float[Tensor, "b r"]:
        """Return what `forward` does, from the features of the pictures (`vision.features`)."""
        b, r = len(features), len(tokens)
        mask = None if attention_mask is None else attention_mask.repeat(b, 1)
        states = self.text(
            tokens.repeat(b, 1),  # (b r, n): the texts with the first picture, with the second, ...
            features,
            attention_mask=mask,
            first_only=True,
            tap=probe_at(tap, "text"),
            checkpoint_activations=checkpoint_activations,
        )
        apart, together = self.head(states[:, 0]).unbind(-1)  # (b r,) each
        return (together - apart).view(b, r)  # type: ignore[no-any-return]

    def encode_pictures(self, images: Float[Tensor, "b c H W"]) -> Float[Tensor, "b E"]:
        """Return the embeddings of pictures, of length 1."""
        return self.embed_features(self.vision.features(images))

    def embed_features(self, features: Float[Tensor, "b m D"]) -> Float[Tensor, "b E"]:
        """Return what `encode_pictures` does, from the features of the pictures."""
        return F.normalize(self.vision_projection(features[:, 0]), dim=-1)

    def encode_texts(
        self, tokens: Int64[Tensor, "r n"], attention_mask: Bool[Tensor, "r n"] | None = None
    ) -> Float[Tensor, "r E"]:
        """Return the embeddings of texts that are read by themselves, of length 1; arguments as for `forward`."""
        states = self.text(tokens, attention_mask=attention_mask, first_only=True, skip_cross=True)
        return F.normalize(self.text_projection(states[:, 0]), dim=-1)

    def no_weight_decay(self) -> set[str]:
        """Names of the parameters without weight decay, a method that timm's optimizers call."""
        return {f"vision.{name}" for name in self.vision.no_weight_decay()} | {"text.positions.weight"}

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Patterns that group the parameters into layers, for timm's layer-wise decay: the encoder's, then the rest.

        `coarse` is part of timm's protocol and ignored: blocks are the only grouping here.
        """
        return {
            "stem": r"^vision\.(?:stem|stem_norm|class_token|registers|positions)\b",
            "blocks": [(r"^vision\.blocks\.(\d+)\.", None), (r"^vision\.(?:norm|pool_norm)\b", (99_999,))],
            "rest": r"^(?!vision\.)",
        }
