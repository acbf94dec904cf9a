"""What models that look at a picture while they read or write have in common: its encoder, and the bridge from there.

Notation: b pictures, m picture tokens (prefix first, then patches row by row), E the encoder's width, C width of what
is looked at.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..attention import Site, Tap, probe_at, sinusoidal_2d
from .initial import initialize
from .vit import ViT, ViTConfig


class PictureModel(nn.Module):
    """A vision transformer, whose features the parts of who derives from it look at.

    Args:
        encoder: Of the vision transformer; without classes.
        bridge: The width that a linear map leads to from the encoder's; None for no such map.
        output_positions: Whether the places of the patches are added once more to what is looked at.
    """

    def __init__(self, encoder: ViTConfig, *, bridge: int | None, output_positions: bool = False) -> None:
        super().__init__()
        self.output_positions = output_positions
        self.encoder = ViT(encoder)
        self.bridge = None if bridge is None else nn.Linear(encoder.dim, bridge)
        if self.bridge is not None:
            initialize(self.bridge)

    def encode(self, images: Float[Tensor, "b 3 H W"], *, tap: Tap | None = None) -> Float[Tensor, "b m C"]:
        """What is looked at.

        Args:
            images: Normalized pictures; height and width must be multiples of the patch size.
            tap: What to capture of the attention.
        """
        features = self.encoder.features(images, tap=probe_at(tap, "encoder"))
        return self.bridged(features, image_size=(images.shape[-2], images.shape[-1]))

    def bridged(
        self, features: Float[Tensor, "b m E"], *, image_size: tuple[int, int] | None = None
    ) -> Float[Tensor, "b m C"]:
        """What `encode` makes of the encoder's features, for those who have kept them.

        Args:
            features: Of all tokens.
            image_size: Height and width of the pictures; the encoder's own where None.
        """
        x = features if self.bridge is None else self.bridge(features)
        if not self.output_positions:
            return x
        grid = self.encoder.grid(image_size or self.encoder.config.image_size)
        places = sinusoidal_2d(*grid, x.shape[-1]).to(x)  # (patches, C)
        return x + F.pad(places, (0, 0, self.encoder.num_prefix_tokens, 0))

    def no_weight_decay(self) -> set[str]:
        """Names of the parameters that weight decay must leave alone, as timm's optimizers ask."""
        names = {f"encoder.{name}" for name in self.encoder.no_weight_decay()}
        return names | {name for name, _ in self.named_parameters() if name.endswith(".positions.weight")}

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """How parameters group into layers, as timm's layer-wise decay asks: the encoder's, then all the rest."""
        del coarse  # part of timm's protocol; the blocks are the only grouping here
        return {
            "stem": r"^encoder\.(?:stem|stem_norm|class_token|registers|positions)\b",
            "blocks": [(r"^encoder\.blocks\.(\d+)\.", None), (r"^encoder\.(?:norm|pool_norm)\b", (99_999,))],
            "rest": r"^(?!encoder\.)",
        }


def sites_of(parts: Sequence[tuple[str, Sequence[Site]]]) -> tuple[Site, ...]:
    """The sites of a model's parts, each named with its part."""
    return tuple(replace(site, name=f"{part}.{site.name}") for part, sites in parts for site in sites)
