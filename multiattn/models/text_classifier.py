"""A classifier whose classes are texts: the picture tower of a two-tower model, and a head of text embeddings.

Notation: b pictures, D width of the pooled token, r texts, E width of the embeddings.
Source: Radford et al. 2021 (CLIP), section 3.1.2.
"""

from dataclasses import replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..blocks import applied
from .two_towers import TwoTowers
from .vit import ViT


class TextHead(nn.Module):
    """Compares pooled tokens with texts: what `TwoTowers.logits` returns.

    Args:
        model: The model, or another head of it, whose weights are shared.
        texts: The embeddings of the texts, of length 1.
    """

    texts: Tensor

    def __init__(self, model: "TwoTowers | TextHead", texts: Float[Tensor, "r E"]) -> None:
        super().__init__()
        self.projection: nn.Linear | None = (
            model.vision_projection if isinstance(model, TwoTowers) else model.projection
        )
        self.logit_scale: nn.Parameter = model.logit_scale
        self.logit_bias: nn.Parameter | None = model.logit_bias
        self.register_buffer("texts", texts, persistent=False)

    def forward(self, pooled: Float[Tensor, "b D"]) -> Float[Tensor, "b r"]:
        """Return the logit of every picture with every text."""
        pictures = F.normalize(applied(self.projection, pooled).float(), dim=-1)
        scaled = F.linear(pictures, self.texts.float()) * self.logit_scale.exp()
        return scaled if self.logit_bias is None else scaled + self.logit_bias


class TextClassifier(ViT):
    """The picture tower of a two-tower model as a classifier, whose classes are texts. It shares the tower's weights.

    Args:
        tower: The picture tower.
        head: The texts.
    """

    def __init__(self, tower: ViT, head: TextHead) -> None:
        nn.Module.__init__(self)
        self.__dict__.update(tower.__dict__)  # the tower's parts themselves, and not copies
        self.__dict__.pop("head", None)  # None: the tower has none
        self._modules = {**tower._modules, "head": head}
        self.config = replace(tower.config, num_classes=len(head.texts))
        self.train(False)

    @property
    def texts(self) -> TextHead:
        """The head."""
        head = self._modules["head"]
        assert isinstance(head, TextHead)
        return head

    def of(self, texts: Float[Tensor, "r E"]) -> "TextClassifier":
        """Return the same tower with other texts, given their embeddings of length 1."""
        return TextClassifier(self, TextHead(self.texts, texts))


def averaged(prompts: Float[Tensor, "rt E"], num_templates: int) -> Float[Tensor, "r E"]:
    """Return one embedding of length 1 for each label: the mean of its prompts, which are consecutive."""
    of_labels = prompts.view(len(prompts) // num_templates, num_templates, -1)
    return of_labels[:, 0] if num_templates == 1 else F.normalize(of_labels.mean(dim=1), dim=-1)


@torch.no_grad()
def with_texts(towers: TwoTowers, prompts: Float[Tensor, "rt E"], num_templates: int = 1) -> TextClassifier:
    """Return the classifier of labels, given the embeddings of their prompts, those of one label together."""
    return TextClassifier(towers.vision, TextHead(towers, averaged(prompts, num_templates)))
