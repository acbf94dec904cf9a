"""Linear layers in int8 for inference on a CPU: weights with a scale for each row, inputs with one for each call.

The weight of a layer is packed once for torch's quantized kernels (on x86 FBGEMM's) and the float one is let go. The
kernels quantize the input as it comes, multiply in integers, and return fp32. What is packed depends on the processor:
with the instructions for it (AVX-512 VNNI) an input has 256 levels, without them 128, since sums of two products would
not fit into their 16 bits.

Source: Jacob et al. 2018, "Quantization and training of neural networks for efficient integer-arithmetic-only
inference", section 2; Khudia et al. 2021, "FBGEMM".
"""

import warnings
from typing import Any, NoReturn

import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor, nn

from ..errors import ModelError

LEVELS = 127
"""The largest whole number of a weight: symmetric, so that a weight of 0 stays 0."""

_multiply = torch.ops.quantized.linear_dynamic.default


def has_int8_kernels() -> bool:
    """Return whether this machine's torch multiplies in int8 on the CPU."""
    return torch.backends.quantized.engine != "none" and hasattr(torch, "quantize_per_channel")


def quantized(weight: Float[Tensor, "out in"]) -> tuple[Int[Tensor, "out in"], Float[Tensor, " out"]]:
    """Return a weight in whole numbers, and what each row of them is multiplied by."""
    scale = weight.abs().amax(dim=1).clamp(min=torch.finfo(torch.float32).tiny * LEVELS) / LEVELS
    return (weight / scale[:, None]).round().to(torch.int8), scale


class Int8Weight:
    """A weight and a bias in int8, called with the input alone. There is no other copy of the weight.

    Args:
        weight: In float32 on the CPU.
        bias: Stays in fp32; None where there is none.
        narrow: Whether inputs have 128 levels instead of 256; `needs_narrow_inputs` tells.
    """

    def __init__(
        self, weight: Float[Tensor, "out in"], bias: Float[Tensor, " out"] | None = None, *, narrow: bool
    ) -> None:
        numbers, scale = quantized(weight.detach())
        zeros = torch.zeros(len(scale), dtype=torch.int64)
        with warnings.catch_warnings():
            # torch will replace its quantized tensors, which are used here only to hand the weight over
            warnings.filterwarnings("ignore", message=r"torch\.quantize_per_tensor", category=UserWarning)
            handed = torch._make_per_channel_quantized_tensor(numbers, scale.double(), zeros, 0)
        self._packed: Any = torch.ops.quantized.linear_prepack(handed, None if bias is None else bias.detach())
        self._outputs, self._narrow = len(scale), narrow

    def __call__(self, x: Float[Tensor, "*b in"]) -> Float[Tensor, "*b out"]:
        """Compute the product of `x` and the transposed weight, plus the bias.

        Raises:
            ModelError: A gradient is asked for.
        """
        if torch.is_grad_enabled() and x.requires_grad:
            raise ModelError(
                "a model in int8 has no gradients, which training and maps by gradients need: load it without int8"
            )
        if not x.numel():
            return x.new_empty(*x.shape[:-1], self._outputs)
        return _multiply(x.float(), self._packed, self._narrow).to(x.dtype)  # type: ignore[no-any-return]


def needs_narrow_inputs() -> bool:
    """Return whether this machine's kernel adds two products in 16 bits, so that inputs of 256 levels would overflow.

    The kernel itself is asked, with the largest numbers that there are.
    """
    weight, x = torch.ones(16, 64), torch.ones(1, 64)
    x[0, 0] = 0.0  # the range of an input that is quantized always has 0
    return not torch.allclose(Int8Weight(weight, narrow=False)(x), x.sum(), rtol=0.05)


class Replaced(nn.Module):
    """Stands where a layer was whose float weight is let go: what asks for the weight finds None, and saving fails."""

    weight: None = None

    def _save_to_state_dict(self, *_: object, **__: object) -> NoReturn:
        raise ModelError(
            "a model in int8 has not kept the weights that would be saved: load it without int8, and save that"
        )


class Int8Linear(Replaced):
    """A linear layer in int8, which takes the place of an `nn.Linear` for inference."""

    def __init__(self, linear: nn.Linear, *, narrow: bool) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.product = Int8Weight(linear.weight, linear.bias, narrow=narrow)

    def forward(self, input: Float[Tensor, "*b in"]) -> Float[Tensor, "*b out"]:
        """Apply the layer as `nn.Linear` does."""
        return self.product(input)


class HalfEmbedding(nn.Module):
    """A table of embeddings in half precision, whose rows are returned in fp32."""

    def __init__(self, embedding: nn.Embedding) -> None:
        super().__init__()
        self.weight: Tensor
        self.register_buffer("weight", embedding.weight.detach().half(), persistent=False)

    def forward(self, tokens: Int64[Tensor, "*b"]) -> Float[Tensor, "*b D"]:
        """Return the row of each token."""
        return nn.functional.embedding(tokens, self.weight).float()


def quantize_linears(model: nn.Module, *, narrow: bool) -> None:
    """Put layers in int8 in the place of the linear layers of `model`. Their float weights are let go."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.Linear):
                setattr(module, name, Int8Linear(child, narrow=narrow))
