"""The two towers that a training starts from, made of parts or a whole model to fine-tune; and a batch through them.

Notation: b pictures, r texts, n tokens, E width of the embeddings.
"""

from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from multiattn.checks import require_each
from multiattn.models.text_tower import TextTowerConfig
from multiattn.models.two_towers import TwoTowers, TwoTowersConfig
from multiattn.models.vit import ViT

from .contracts import TextFacts, special_tokens
from .match_loss import MatchObjective
from .parts import OF_THE_DATA, TEXT_TRAINING_ONLY, VisionEncoder, check_text_fields, require_training_only
from .trained import TrainedModels
from .vision_start import VisionStart, start_vision


@dataclass
class MatchStart(VisionStart):
    """Two towers before their data is known."""

    text: dict[str, Any] = field(default_factory=dict)
    """Fields of `TextTowerConfig`."""

    dim: int = 512
    """Width of the embeddings."""

    objective: MatchObjective = "contrastive"

    @classmethod
    def of(
        cls,
        vision: VisionEncoder,
        text: dict[str, Any] | None,
        pretrained: str | None,
        *,
        dim: int,
        objective: MatchObjective,
        models: TrainedModels,
    ) -> "MatchStart":
        """Read the trained weights that the options name, and check the options; see `MatchTask`.

        Raises:
            ModelError: They do not go together, name nothing that exists, or make no valid model.
        """
        start = start_vision(
            vision, pretrained, models=models, whole=TwoTowers, kind="model of two towers", keeps_pool=True
        )
        text = dict(text or {})
        require_each({"dim": dim}, least=1)
        if pretrained is None:
            check_text_fields(text, TextTowerConfig, "text", but=(*OF_THE_DATA, "context_dim"))
        else:
            require_training_only(text, "text", source="pretrained", allowed=TEXT_TRAINING_ONLY)
        return cls(start.preprocessing, start.encoder, start.whole, text, dim, objective, fresh=start.fresh)

    def build(self, facts: TextFacts) -> TwoTowers:
        """Build the model for the data's tokenizer."""
        if self.whole is None:
            text = TextTowerConfig(**special_tokens(facts.tokenizer) | self.text)
            scores: Literal["softmax", "sigmoid"] = "sigmoid" if self.objective == "sigmoid" else "softmax"
            model = TwoTowers(TwoTowersConfig(self.config, text, self.dim, scores=scores))
        else:
            trained = self.whole.require(TwoTowers)
            text = replace(trained.config.text, **self.text)
            model = TwoTowers(replace(trained.config, vision=self.config, text=text))
            kept = {key: value for key, value in trained.state_dict().items() if not key.startswith("vision.")}
            model.load_state_dict(model.state_dict() | kept)
        self.fill(model.vision)
        return model


def embedded(
    model: TwoTowers,
    images: Float[Tensor, "b c H W"] | None,
    features: Float[Tensor, "b m D"] | None,
    tokens: Int64[Tensor, "r n"],
    attention_mask: Bool[Tensor, "r n"],
    *,
    frozen: bool,
    checkpoint_activations: bool = False,
) -> tuple[Float[Tensor, "b E"], Float[Tensor, "r E"]]:
    """Return the embeddings of pictures and texts.

    Args:
        model: The towers.
        images: Normalized pictures; None where there are features.
        features: The output of `model.vision.features`, in any precision.
        tokens: The texts, special tokens included.
        attention_mask: False where a token is padding.
        frozen: Whether the vision transformer runs without a gradient, but for what pools its tokens.
        checkpoint_activations: See `TransformerBlock`.
    """
    if features is not None:
        pooled = model.vision.pooled_features(features.to(model.logit_scale.dtype))
    elif frozen:
        assert images is not None
        with torch.no_grad():
            found = model.vision.features(images)
        pooled = model.vision.pooled_features(found)
    else:
        assert images is not None
        pooled = model.vision.pooled(images, checkpoint_activations=checkpoint_activations)
    texts = model.encode_texts(tokens, attention_mask, checkpoint_activations=checkpoint_activations)
    return model.project_pictures(pooled), texts


def without_pool(vision: ViT) -> ViT:
    """Return the same vision transformer without what pools its tokens: features do not depend on it."""
    bare = copy(vision)
    bare._modules = {name: part for name, part in vision._modules.items() if name not in ("pool", "pool_norm")}
    bare.pool = bare.pool_norm = None
    pool: Literal["class", "mean"] = "class" if vision.config.class_token else "mean"
    plain: dict[str, Any] = {"pool_heads": None, "pool_mlp_dim": None, "pool_prefix": False, "pool_norm": False}
    bare.config = replace(vision.config, pool=pool, **plain)
    return bare
