"""The two towers that a training starts from, made of parts or a whole model to fine-tune; and a batch through them.

Notation: b pictures, r texts, n tokens, E width of the embeddings.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from multiattn.checks import require_each
from multiattn.models.text_tower import TextTowerConfig
from multiattn.models.two_towers import TwoTowers, TwoTowersConfig

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
        return cls(start.preprocessing, start.encoder, start.whole, text, dim, objective)

    def build(self, facts: TextFacts) -> TwoTowers:
        """Build the model for the data's tokenizer."""
        if self.whole is None:
            text = TextTowerConfig(**special_tokens(facts.tokenizer) | self.text)
            scores = "sigmoid" if self.objective == "sigmoid" else "softmax"
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
    images: Float[Tensor, "b c H W"],
    tokens: Int64[Tensor, "r n"],
    attention_mask: Bool[Tensor, "r n"],
    *,
    frozen: bool,
    checkpoint_activations: bool = False,
) -> tuple[Float[Tensor, "b E"], Float[Tensor, "r E"]]:
    """Return the embeddings of pictures and texts.

    Args:
        model: The towers.
        images: Normalized pictures.
        tokens: The texts, special tokens included.
        attention_mask: False where a token is padding.
        frozen: Whether the vision transformer runs without a gradient.
        checkpoint_activations: See `TransformerBlock`.
    """
    with torch.set_grad_enabled(torch.is_grad_enabled() and not frozen):
        pooled = model.vision.pooled(images, checkpoint_activations=checkpoint_activations)
    texts = model.encode_texts(tokens, attention_mask, checkpoint_activations=checkpoint_activations)
    return model.project_pictures(pooled), texts
