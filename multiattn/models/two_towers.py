"""Two towers: a vision transformer and a text transformer, whose embeddings are compared by their cosine.

Notation: b pictures, r texts, n tokens, E width of the embeddings.
Source: Radford et al. 2021 (CLIP); Zhai et al. 2023 (SigLIP), for the sigmoid.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from ..attention import Site, Tap, probe_at
from ..blocks import applied
from ..checks import check_at_least, check_choices, check_rules
from .common import initialize, sites_of
from .text_tower import TextTower, TextTowerConfig
from .vit import ViT, ViTConfig

START_SCALE = 1 / 0.07
"""The factor that similarities are multiplied by in a new model. Source: Wu et al. 2018, as CLIP has it."""

START_BIAS = -10.0
"""The bias of a new model with a sigmoid: at first, no text fits. Source: Zhai et al. 2023, section 3.2."""


@dataclass(frozen=True)
class TwoTowersConfig:
    """Configuration of `TwoTowers`."""

    vision: ViTConfig
    """The picture tower, without classes."""

    text: TextTowerConfig
    """The text tower."""

    dim: int = 512
    """Width of the embeddings."""

    scores: Literal["softmax", "sigmoid"] = "softmax"
    """What logits become: a softmax over the texts of a picture (CLIP), or a probability of each pair by itself, for
    which the logits have a bias (SigLIP)."""

    vision_projection: bool = True
    """Whether a linear layer maps the picture tower's output to `dim`."""

    vision_projection_bias: bool = False
    """Whether that layer has a bias."""

    text_projection: bool = True
    """Whether a linear layer maps the text tower's output to `dim`."""

    text_projection_bias: bool = False
    """Whether that layer has a bias."""

    def __post_init__(self) -> None:
        """Check that such a model can be built.

        Raises:
            ValueError: It cannot; the message names the field.
        """
        check_choices(self)
        check_at_least(self, 1, ("dim",))
        same = f"`dim` ({self.dim}) without a projection"
        check_rules(
            self,
            ("vision.num_classes", self.vision.num_classes == 0, "0"),
            ("vision.dim", self.vision_projection or self.vision.dim == self.dim, same),
            ("text.dim", self.text_projection or self.text.dim == self.dim, same),
            (
                "vision_projection_bias",
                self.vision_projection or not self.vision_projection_bias,
                "false without a layer",
            ),
            ("text_projection_bias", self.text_projection or not self.text_projection_bias, "false without that layer"),
        )


class TwoTowers(nn.Module):
    """Embeds pictures and texts, near each other where they belong together; built from a `TwoTowersConfig`."""

    def __init__(self, config: TwoTowersConfig) -> None:
        super().__init__()
        c = self.config = config
        self.vision = ViT(c.vision)
        self.text = TextTower(c.text)
        self.vision_projection = None
        if c.vision_projection:
            self.vision_projection = nn.Linear(c.vision.dim, c.dim, bias=c.vision_projection_bias)
        self.text_projection = None
        if c.text_projection:
            self.text_projection = nn.Linear(c.text.dim, c.dim, bias=c.text_projection_bias)
        for layer in (self.vision_projection, self.text_projection):
            if layer is not None:
                initialize(layer)
        self.logit_scale = nn.Parameter(torch.full((), math.log(START_SCALE)))
        """Natural logarithm of the factor of the similarities."""
        self.logit_bias = nn.Parameter(torch.full((), START_BIAS)) if c.scores == "sigmoid" else None

    def attention_sites(
        self, image_size: tuple[int, int] | None = None, *, tokens: int | None = None
    ) -> tuple[Site, ...]:
        """The sites a `Tap` can capture, with their sizes for pictures of this height and width, and texts so long."""
        text = self.text.attention_sites(tokens=tokens or self.config.text.max_length, context_tokens=0)
        return sites_of([("vision", self.vision.attention_sites(image_size)), ("text", text)])

    def forward(
        self,
        images: Float[Tensor, "b c H W"],
        tokens: Int64[Tensor, "r n"],
        attention_mask: Bool[Tensor, "r n"] | None = None,
        *,
        tap: Tap | None = None,
        checkpoint_activations: bool = False,
    ) -> Float[Tensor, "b r"]:
        """Return the logit of every picture with every text; arguments as for `encode_pictures` and `encode_texts`."""
        pictures = self.encode_pictures(images, tap=tap, checkpoint_activations=checkpoint_activations)
        texts = self.encode_texts(tokens, attention_mask, tap=tap, checkpoint_activations=checkpoint_activations)
        return self.logits(pictures, texts)

    def encode_pictures(
        self, images: Float[Tensor, "b c H W"], *, tap: Tap | None = None, checkpoint_activations: bool = False
    ) -> Float[Tensor, "b E"]:
        """Return the embeddings of pictures, of length 1.

        Args:
            images: Normalized pictures; height and width must be multiples of the patch size.
            tap: Captures attention weights.
            checkpoint_activations: See `TransformerBlock`.
        """
        pooled = self.vision.pooled(images, tap=probe_at(tap, "vision"), checkpoint_activations=checkpoint_activations)
        return self.project_pictures(pooled)

    def project_pictures(self, pooled: Float[Tensor, "b D"]) -> Float[Tensor, "b E"]:
        """Return the embeddings of what the vision transformer's `pooled` gave."""
        return F.normalize(applied(self.vision_projection, pooled), dim=-1)

    def encode_texts(
        self,
        tokens: Int64[Tensor, "r n"],
        attention_mask: Bool[Tensor, "r n"] | None = None,
        *,
        tap: Tap | None = None,
        checkpoint_activations: bool = False,
    ) -> Float[Tensor, "r E"]:
        """Return the embeddings of texts, of length 1.

        Args:
            tokens: The texts, as `TextTowerConfig.padded` gives them.
            attention_mask: False where a column is padding; None without padding.
            tap: Captures attention weights.
            checkpoint_activations: See `TransformerBlock`.

        Raises:
            ModelError: A text is longer than the position table.
        """
        pooled = self.text(
            tokens, attention_mask, tap=probe_at(tap, "text"), checkpoint_activations=checkpoint_activations
        )
        return F.normalize(applied(self.text_projection, pooled), dim=-1)

    def logits(self, pictures: Float[Tensor, "b E"], texts: Float[Tensor, "r E"]) -> Float[Tensor, "b r"]:
        """Return the logit of every picture with every text, from their embeddings."""
        scaled = self.logit_scale.exp() * pictures @ texts.T
        return scaled if self.logit_bias is None else scaled + self.logit_bias

    def similarities(self, logits: Float[Tensor, "b r"]) -> Float[Tensor, "b r"]:
        """Invert `logits`: return the cosine of each picture's and text's embeddings."""
        return (logits if self.logit_bias is None else logits - self.logit_bias) / self.logit_scale.exp()

    def no_weight_decay(self) -> set[str]:
        """Names of the parameters without weight decay, a method that timm's optimizers call."""
        vision = {f"vision.{name}" for name in self.vision.no_weight_decay()}
        return vision | {"text.embedding.weight", "text.positions.weight", "logit_scale", "logit_bias"}

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Patterns that group the parameters into layers, for timm's layer-wise decay: picture tower, then the rest.

        `coarse` is part of timm's protocol and ignored: blocks are the only grouping here.
        """
        return {
            "stem": r"^vision\.(?:stem|stem_norm|class_token|registers|positions)\b",
            "blocks": [
                (r"^vision\.blocks\.(\d+)\.", None),
                (r"^vision\.(?:norm|pool|pool_norm)\b", (99_999,)),
            ],
            "rest": r"^(?!vision\.)",
        }


def paired_logits(model: TwoTowers, pictures: Float[Tensor, "r E"], texts: Float[Tensor, "r E"]) -> Float[Tensor, " r"]:
    """Return the logit of each picture with the text at its own place, from their embeddings."""
    scaled = (pictures.float() * texts.float()).sum(dim=-1) * model.logit_scale.exp()
    return scaled if model.logit_bias is None else scaled + model.logit_bias
