"""Mixup and CutMix: pictures of a training batch, and their labels, mixed with each other."""

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float, Int64
from timm.data.mixup import Mixup
from torch import Tensor

from multiattn.checks import require, require_each


@dataclass(frozen=True)
class Mixing:
    """How the images of a training batch are mixed with each other, and their labels with them."""

    mixup: float = 0.0
    """Alpha of the Beta distribution from which a blend's share is drawn; 0 for none."""

    cutmix: float = 0.0
    """Alpha of the Beta distribution from which a pasted box's area is drawn; 0 for none."""

    probability: float = 1.0
    """Probability that a batch is mixed at all."""

    def __post_init__(self) -> None:
        """Raise ModelError where a value is out of range."""
        require_each({"mixup": self.mixup, "cutmix": self.cutmix}, finite=True)
        require(0 <= self.probability <= 1, "probability", must="from 0 to 1", value=self.probability)

    @property
    def is_on(self) -> bool:
        """Whether anything is mixed."""
        return self.mixup > 0 or self.cutmix > 0


def mixed(
    images: Float[Tensor, "b c h w"], labels: Int64[Tensor, " b"], mixing: Mixing, *, classes: int
) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "b n"]]:
    """Mix a batch with itself in reverse order; its size must be even.

    Args:
        images: The pictures.
        labels: The index of the label of each.
        mixing: How they are mixed.
        classes: The number of labels, n.

    Returns:
        The pictures, and the share of each label.
    """
    make: Callable[..., Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]] = Mixup
    mix = make(
        mixup_alpha=mixing.mixup,
        cutmix_alpha=mixing.cutmix,
        prob=mixing.probability,
        label_smoothing=0.0,  # the loss does it
        num_classes=classes,
    )
    return mix(images, labels)
