"""Layers with weights in int8, which take the place of torch's for inference on a CPU.

Their state holds the whole numbers under the name of the weight, and the scales of its rows under `weight_scale`: what
a directory in int8 holds.
"""

from collections.abc import MutableMapping
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Int64
from torch import Tensor, nn
from torch.overrides import handle_torch_function, has_torch_function

from .int8 import Int8Weight, Kernels, Product

SCALE = "_scale"
"""What follows the name of a weight in the name of its scales."""


class _Through(torch.autograd.Function):
    """A product in int8 whose gradient is that of the widened weight: rounding the inputs counts as if it did nothing.

    Source: Bengio et al. 2013, "Estimating or propagating gradients through stochastic neurons", section 4, the
    straight-through estimator.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, product: Product) -> Tensor:
        ctx.product = product
        return product(x.detach())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0] @ ctx.product.weight().widened(), None


class Int8Linear(nn.Module):
    """A linear layer in int8.

    Args:
        weight: Its weight, (out, in).
        bias: Its bias, (out,).
        kernels: Multiply by it.
    """

    weight: None = None
    """What asks for the float weight finds None: it is not kept."""

    def __init__(self, weight: Int8Weight, bias: Tensor | None, kernels: Kernels) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.numbers.shape
        self.product = kernels.product(weight, bias)
        self._bias = None if bias is None else bias.detach()

    def forward(self, input: Float[Tensor, "*b in"]) -> Float[Tensor, "*b out"]:
        """Apply the layer as `nn.Linear` does."""
        if input.requires_grad and torch.is_grad_enabled():
            return _Through.apply(input, self.product)  # type: ignore[no-any-return]
        return self.product(input)

    def _save_to_state_dict(self, destination: MutableMapping[str, Tensor], prefix: str, keep_vars: bool) -> None:
        weight = self.product.weight()
        destination[f"{prefix}weight"], destination[f"{prefix}weight{SCALE}"] = weight.numbers, weight.scale
        if self._bias is not None:
            destination[f"{prefix}bias"] = self._bias


class Int8Scores(Int8Linear):
    """The product with a vocabulary, to be called as `F.linear` with the weight that it takes the place of.

    Args:
        weight: The vocabulary's weight, (tokens, dim).
        bias: Is added to the logits; part of the model's state under another name.
        kernels: Multiply by it.
    """

    def __init__(self, weight: Int8Weight, bias: Tensor | None, kernels: Kernels) -> None:
        super().__init__(weight, bias, kernels)
        self._bias = None

    def forward(
        self, input: Float[Tensor, "*b in"], weight: Tensor | None = None, bias: Tensor | None = None
    ) -> Float[Tensor, "*b out"]:
        """Return the logits; scores that are no numbers stay none, for the search to see."""
        if input.requires_grad and torch.is_grad_enabled():
            return super().forward(input)
        return self.product.by_row(input)


class Int8Embedding(nn.Module):
    """A table of embeddings in int8, whose rows are returned in fp32.

    Args:
        weight: The table, (tokens, dim).
    """

    weight: None = None

    def __init__(self, weight: Int8Weight) -> None:
        super().__init__()
        self.numbers: Tensor
        self.scale: Tensor
        self.register_buffer("numbers", weight.numbers, persistent=False)
        self.register_buffer("scale", weight.scale, persistent=False)

    def forward(self, tokens: Int64[Tensor, "*b"]) -> Float[Tensor, "*b D"]:
        """Return the row of each token."""
        return embed_int8(tokens, self.numbers, self.scale)

    def _save_to_state_dict(self, destination: MutableMapping[str, Tensor], prefix: str, keep_vars: bool) -> None:
        destination[f"{prefix}weight"], destination[f"{prefix}weight{SCALE}"] = self.numbers, self.scale


def embed_int8(
    tokens: Int64[Tensor, "*b"], numbers: Int[Tensor, "tokens D"], scale: Float[Tensor, " tokens"]
) -> Float[Tensor, "*b D"]:
    """Return the rows of tokens in fp32: `F.embedding` of a table in int8, and as visible to torch's function modes."""
    if has_torch_function((numbers,)):
        return handle_torch_function(embed_int8, (numbers,), tokens, numbers, scale)
    return F.embedding(tokens, numbers).float() * scale[tokens][..., None]


def round_convolution(conv: nn.Conv1d | nn.Conv2d, weight: Int8Weight) -> None:
    """Give a convolution the values of a weight in int8, in place. It computes in fp32: it is a few percent of a model.

    Args:
        conv: The convolution.
        weight: The weight, (out, in, ...).
    """
    conv.weight = nn.Parameter(weight.widened())
    scale = weight.scale.view(-1, *(1,) * (weight.numbers.ndim - 1))

    def save(module: nn.Conv1d | nn.Conv2d, state: MutableMapping[str, Tensor], prefix: str, *_: object) -> None:
        state[f"{prefix}weight"] = (module.weight.detach() / scale).round().to(torch.int8)
        state[f"{prefix}weight{SCALE}"] = weight.scale

    conv.register_state_dict_post_hook(save)  # type: ignore[no-untyped-call]
