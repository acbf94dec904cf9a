"""Linear layers in int8 for inference on a CPU: weights with a scale for each row, inputs quantized as they come.

A weight is packed once, in the order of the processor's own instructions (VNNI where it has them), and the float one is
let go. Sums are whole numbers; what is returned is fp32. There are two kernels. FBGEMM's quantizes an input by itself,
with one scale for all its rows: best for small layers, where a call costs as much as the product. oneDNN's takes whole
numbers, so each row has its own scale: best for large weights (a vocabulary), and where FBGEMM is not there.

Source: Jacob et al. 2018, "Quantization and training of neural networks for efficient integer-arithmetic-only
inference", section 2; Khudia et al. 2021, "FBGEMM"; torch's `onednn::qlinear_pointwise`, which torch.compile uses for
quantized layers.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor, nn

from ..errors import ModelError

LEVELS = 127
"""The largest whole number of a weight: symmetric, so that 0 stays 0."""

LARGE = 2**22
"""Elements of a weight from which on its product costs much more than the call."""

ENGINES = ("fbgemm", "x86")
"""The engines of `torch.backends.quantized` whose linear layers are FBGEMM's."""

SMALLEST_PEAK = 1e-20
"""The least that a row's largest value counts as, so that a row of zeros has a scale."""


class Inputs(NamedTuple):
    """How inputs are quantized: to whole numbers from -`levels` to `levels`, and `zero` is added to each."""

    levels: int
    zero: int


WIDE = Inputs(127, 128)

NARROW = Inputs(63, 64)
"""For processors without VNNI: those add two products in 16 bits, which larger numbers would overflow."""


Product = Callable[[Tensor], Tensor]
"""Multiplies inputs (*b, in) by a weight, and adds the bias: (*b, out)."""


@dataclass(frozen=True)
class Kernels:
    """The int8 kernels of this machine, and whether their inputs must be narrow."""

    large: Inputs
    """For oneDNN's kernel."""

    small: Inputs | None
    """For FBGEMM's; None where it is not there."""

    @classmethod
    def find(cls) -> "Kernels | None":
        """Ask the kernels themselves, with the largest numbers that there are; None where none is right."""
        has_onednn: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        large = _fitting(RowsProduct) if has_onednn and hasattr(torch.ops.onednn, "qlinear_pointwise") else None
        has_fbgemm = torch.backends.quantized.engine in ENGINES and hasattr(torch, "_make_per_channel_quantized_tensor")
        return None if large is None else cls(large, _fitting(FusedProduct) if has_fbgemm else None)

    def product(self, weight: Tensor, bias: Tensor | None = None) -> Product:
        """Return the product with a weight (out, in) and a bias (out,), in float32 on the CPU. They are not kept."""
        if self.small is None or weight.numel() >= LARGE:
            return RowsProduct(weight, bias, inputs=self.large)
        return FusedProduct(weight, bias, inputs=self.small)


def _fitting(kernel: "type[RowsProduct] | type[FusedProduct]") -> Inputs | None:
    weight, x = torch.ones(64, 256), torch.ones(3, 256)
    x[:, 0] = -1 / 127  # so that the largest input is the largest number, whatever the scale
    for inputs in (WIDE, NARROW):
        if torch.allclose(kernel(weight, None, inputs=inputs)(x), x.sum(dim=1, keepdim=True), rtol=0.02):
            return inputs
    return None


def quantized(weight: Float[Tensor, "out in"]) -> tuple[Int[Tensor, "out in"], Float[Tensor, " out"]]:
    """Return a weight in whole numbers, and what each row of them is multiplied by."""
    scale = weight.abs().amax(dim=1).clamp(min=SMALLEST_PEAK) / LEVELS
    return (weight / scale[:, None]).round().to(torch.int8), scale


class RowsProduct:
    """A product by oneDNN: each row of an input is quantized by itself, and does not depend on the others."""

    def __init__(self, weight: Float[Tensor, "out in"], bias: Float[Tensor, " out"] | None, *, inputs: Inputs) -> None:
        numbers, self._scale = quantized(weight.detach())
        self._packed = torch.ops.onednn.qlinear_prepack(numbers, None)
        self._zeros = torch.zeros(len(numbers), dtype=torch.int64)
        self._bias = None if bias is None else bias.detach().clone()
        self._inputs = inputs

    def __call__(self, x: Float[Tensor, "*b in"]) -> Float[Tensor, "*b out"]:
        """Return the product of `x` and the transposed weight, plus the bias."""
        rows = x.reshape(-1, x.shape[-1])  # (r, in)
        if not len(rows):
            return x.new_empty(*x.shape[:-1], len(self._zeros))
        levels = self._inputs.levels
        peaks = rows.abs().amax(dim=1, keepdim=True)  # (r, 1)
        if len(rows) == 1:  # one scale, which the kernel multiplies by
            peak = max(peaks.item(), SMALLEST_PEAK)
            found = self._multiply(rows * (levels / peak), peak / levels, self._bias)
        else:
            peaks = peaks.clamp_(min=SMALLEST_PEAK)
            found = self._multiply(rows * (levels / peaks), 1 / levels, None).mul_(peaks)
            if self._bias is not None:
                found += self._bias
        return found.view(*x.shape[:-1], -1)

    def _multiply(self, rows: Tensor, scale: float, bias: Tensor | None) -> Tensor:
        """Multiply rows (r, in), which have values from -levels to levels, by the weight and by `scale`."""
        zero = self._inputs.zero
        # through signed bytes, whose sum wraps around: torch converts to unsigned ones without vector instructions
        numbers = rows.round_().to(torch.int8).add_(zero if zero < 128 else -128).view(torch.uint8)
        return torch.ops.onednn.qlinear_pointwise.default(  # type: ignore[no-any-return]
            numbers,
            scale,
            zero,
            self._packed,
            self._scale,
            self._zeros,
            bias,
            1.0,
            0,
            torch.float32,
            "none",
            [],
            "",
        )


class FusedProduct:
    """A product by FBGEMM, which quantizes an input in the same call, with one scale for all its rows."""

    def __init__(self, weight: Float[Tensor, "out in"], bias: Float[Tensor, " out"] | None, *, inputs: Inputs) -> None:
        numbers, scale = quantized(weight.detach())
        zeros = torch.zeros(len(scale), dtype=torch.int64)
        with warnings.catch_warnings():
            # torch will do without tensors of quantized types; here they only hand the weight over
            warnings.filterwarnings("ignore", message=r"torch\.quantize_per_tensor", category=UserWarning)
            handed = torch._make_per_channel_quantized_tensor(numbers, scale.double(), zeros, 0)
        self._packed: Any = torch.ops.quantized.linear_prepack(handed, None if bias is None else bias.detach())
        self._outputs, self._is_narrow = len(scale), inputs == NARROW

    def __call__(self, x: Float[Tensor, "*b in"]) -> Float[Tensor, "*b out"]:
        """Return the product of `x` and the transposed weight, plus the bias."""
        if not x.numel():
            return x.new_empty(*x.shape[:-1], self._outputs)
        rows = x if x.ndim > 1 else x[None]
        return _multiply_fused(rows, self._packed, self._is_narrow).view(*x.shape[:-1], -1)  # type: ignore[no-any-return]


_multiply_fused = torch.ops.quantized.linear_dynamic.default


class Replaced(nn.Module):
    """Stands where a layer was whose float weight is let go: what asks for the weight finds None, and saving fails."""

    weight: None = None

    def _save_to_state_dict(self, *_: object, **__: object) -> NoReturn:
        raise ModelError(
            "a model in int8 has not kept the weights that would be saved: load it without int8, and save that"
        )


class Int8Linear(Replaced):
    """A linear layer in int8, which takes the place of an `nn.Linear` for inference."""

    def __init__(self, linear: nn.Linear, kernels: Kernels) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.product = kernels.product(linear.weight, linear.bias)

    def forward(self, input: Float[Tensor, "*b in"]) -> Float[Tensor, "*b out"]:
        """Apply the layer as `nn.Linear` does.

        Raises:
            ModelError: A gradient is asked for.
        """
        if input.requires_grad and torch.is_grad_enabled():
            raise ModelError(
                "a model in int8 has no gradients, which training and maps by gradients need: load it without int8"
            )
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


def quantize_linears(model: nn.Module, kernels: Kernels) -> None:
    """Put layers in int8 in the place of the linear layers of `model`. Their float weights are let go."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.Linear):
                setattr(module, name, Int8Linear(child, kernels))
