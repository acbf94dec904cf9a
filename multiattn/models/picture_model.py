"""The base of the models whose text part attends to a picture: the vision encoder, and the bridge to the text part.

Notation: b pictures, m picture tokens (prefix first, then patches row by row), E the encoder's width, C width of the
context that the text part attends to.
"""

from typing import Any

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..attention import Tap, probe_at, sinusoidal_2d
from ..checks import check_argument
from .common import initialize
from .vit import STEM, ViT, ViTConfig


class PictureModel(nn.Module):
    """A vision transformer whose features are the context of a text model; the derived classes define `forward`.

    Args:
        encoder: Configuration of the vision transformer, without classes.
        bridge: Width of the context, where a linear layer maps the features to another width; None without one.
        output_positions: Whether the patches' positions are added once more to the context.
    """

    def __init__(self, encoder: ViTConfig, *, bridge: int | None, output_positions: bool = False) -> None:
        super().__init__()
        self.output_positions = output_positions
        self.encoder = ViT(encoder)
        self.bridge = None if bridge is None else nn.Linear(encoder.dim, bridge)
        if self.bridge is not None:
            initialize(self.bridge)

    def encode(
        self, images: Float[Tensor, "b 3 H W"], *, tap: Tap | None = None, checkpoint_activations: bool = False
    ) -> Float[Tensor, "b m C"]:
        """Encode pictures as a context to attend to.

        Args:
            images: Normalized pictures; height and width must be multiples of the patch size.
            tap: Captures attention weights.
            checkpoint_activations: See `TransformerBlock`.
        """
        probe = probe_at(tap, "encoder")
        features = self.encoder.features(images, tap=probe, checkpoint_activations=checkpoint_activations)
        return self.bridged(features, image_size=(images.shape[-2], images.shape[-1]))

    def bridged(
        self, features: Float[Tensor, "b m E"], *, image_size: tuple[int, int] | None = None
    ) -> Float[Tensor, "b m C"]:
        """Turn features that the encoder has computed before into what `encode` returns.

        Args:
            features: The encoder's features of all tokens.
            image_size: Height and width of the pictures; those of the encoder's configuration where None.
        """
        x = features if self.bridge is None else self.bridge(features)
        if not self.output_positions:
            return x
        grid = self.encoder.grid(image_size or self.encoder.config.image_size)
        positions = sinusoidal_2d(*grid, x.shape[-1]).to(x)  # (patches, C)
        return x + F.pad(positions, (0, 0, self.encoder.num_prefix_tokens, 0))

    def no_weight_decay(self) -> set[str]:
        """Names of the parameters without weight decay, a method that timm's optimizers call."""
        names = {f"encoder.{name}" for name in self.encoder.no_weight_decay()}
        return names | {name for name, _ in self.named_parameters() if name.endswith(".positions.weight")}

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Patterns that group the parameters into layers, for timm's layer-wise decay: the encoder's, then the rest.

        `coarse` is part of timm's protocol and ignored: blocks are the only grouping here.
        """
        return {
            "stem": rf"^encoder\.{STEM}",
            "blocks": [(r"^encoder\.blocks\.(\d+)\.", None), (r"^encoder\.(?:norm|pool|pool_norm)\b", (99_999,))],
            "rest": r"^(?!encoder\.)",
        }


def check_bridge(encoder: ViTConfig, name: str, context_dim: int | None, *, has_bridge: bool) -> None:
    """Raise ValueError unless the text part can attend to the encoder's features.

    Args:
        encoder: Configuration of the vision transformer.
        name: The field that is the text part's `context_dim`, for the message.
        context_dim: Its value.
        has_bridge: Whether a linear layer maps the features to that width.
    """
    check_argument(not encoder.num_classes, "encoder.num_classes", must="0", value=encoder.num_classes)
    check_argument(context_dim is not None, name, must="the width of the picture's features", value=context_dim)
    must = f"the encoder's `dim` ({encoder.dim}) without a `bridge`"
    check_argument(has_bridge or context_dim == encoder.dim, name, must=must, value=context_dim)
