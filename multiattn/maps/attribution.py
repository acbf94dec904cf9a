"""Maps behind the interface of other attribution methods: a tensor in, an attribution of its shape out.

A class with `attribute(inputs, target)`, as captum has them, so that a map can take the place of `Saliency` or
`IntegratedGradients` in a comparison.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..checks import require
from ..models import ViT
from .image import METHODS, explain


class Attribution:
    """Attributes a classifier's output for a class to the values of its input.

    >>> import torch
    >>> from multiattn.maps import Attribution
    >>> from multiattn.models import ViT, ViTConfig
    >>> model = ViT(ViTConfig(image_size=(32, 32), patch_size=8, num_classes=5, dim=24, depth=2)).eval()
    >>> inputs = torch.randn(2, 3, 32, 32)
    >>> Attribution(model).attribute(inputs, target=3).shape
    torch.Size([2, 3, 32, 32])

    Args:
        model: A classifier in eval mode; `multiattn.weights.bundle_of(module).model` for one of timm or transformers.
        method: A map method of classifiers.

    Raises:
        ModelError: There is no such method, or another kind of model.
    """

    def __init__(self, model: nn.Module, method: str = "relevance") -> None:
        require(isinstance(model, ViT), "model", must="a multiattn.models.ViT", value=type(model).__name__)
        assert isinstance(model, ViT)
        require(method in METHODS, "method", must=f"one of {', '.join(METHODS)}", value=method)
        self._model, self._method = model, method

    def attribute(
        self, inputs: Float[Tensor, "b c H W"], target: int | Sequence[int] | Tensor | None = None
    ) -> Float[Tensor, "b c H W"]:
        """Compute the map of each picture, spread over the values of its pixels.

        The value of a patch is divided evenly among its pixels and their channels, so that the attribution has the sum
        of the map.

        Args:
            inputs: Pictures as the model takes them.
            target: The class of all pictures, or one for each; the predicted one where None.

        Returns:
            The attribution, on the device of the inputs.

        Raises:
            ModelError: There is no such class, or not one for each picture.
        """
        if isinstance(target, Tensor):
            target = target.tolist()
        classes = [target] * len(inputs) if isinstance(target, int) else target
        maps = explain(self._model, inputs, method=self._method, target=classes)
        values = torch.tensor([one.values.tolist() for one in maps], device=inputs.device)  # (b, rows, cols)
        side = self._model.config.patch_size
        spread = F.interpolate(values[:, None], scale_factor=side, mode="nearest") / (inputs.shape[1] * side**2)
        found = torch.zeros_like(inputs)
        found[..., : spread.shape[2], : spread.shape[3]] = spread.to(inputs.dtype)
        return found

    def has_convergence_delta(self) -> bool:
        """Return False: the sum of a map is not a difference of outputs, as that of integrated gradients is."""
        return False
