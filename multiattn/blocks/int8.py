"""Products in int8 for inference on a CPU: weights with a scale for each row, inputs quantized as they come.

A weight is packed once, in the order of the processor's own instructions (VNNI where it has them), and the float one is
let go. Sums are whole numbers; what is returned is fp32. Each row of an input has a scale of its own, so that no result
depends on what the other rows are. There are two kernels. FBGEMM's, which quantizes an input in the same call, is the
faster one for any number of rows; oneDNN's is for machines without it. A row alone FBGEMM quantizes its own way: by
its least and largest value. It differs from the same row among others by the rounding; with oneDNN on AMX, so does a
row among another number of rows, by a rounding of fp32.

Source: Jacob et al. 2018, "Quantization and training of neural networks for efficient integer-arithmetic-only
inference", section 2; Khudia et al. 2021, "FBGEMM"; torch's `onednn::qlinear_pointwise`, which torch.compile uses for
quantized layers.
"""

import math
import warnings
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

LEVELS = 127
"""The largest whole number of a weight: symmetric, so that 0 stays 0."""

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


@dataclass(frozen=True, eq=False)
class Int8Weight:
    """A weight in whole numbers from -127 to 127, and what each row of them is multiplied by."""

    numbers: Int[Tensor, "out *in"]
    scale: Float[Tensor, " out"]

    @classmethod
    def of(cls, weight: Float[Tensor, "out *in"]) -> "Int8Weight":
        """Quantize a weight: the largest value of each row becomes 127 or -127."""
        weight = weight.detach().float()
        scale = weight.flatten(1).abs().amax(dim=1).clamp(min=SMALLEST_PEAK) / LEVELS
        return cls((weight / _by_row(scale, weight)).round().to(torch.int8), scale)

    def widened(self) -> Float[Tensor, "out *in"]:
        """Return the weight in fp32: the numbers times their scale."""
        return self.numbers.float() * _by_row(self.scale, self.numbers)


def _by_row(scale: Tensor, weight: Tensor) -> Tensor:
    return scale.view(-1, *(1,) * (weight.ndim - 1))


@runtime_checkable
class Product(Protocol):
    """Multiplies inputs by a weight, and adds the bias."""

    def __call__(self, x: Float[Tensor, "*b in"]) -> Float[Tensor, "*b out"]:
        """Return the product of `x` and the transposed weight, plus the bias."""

    def by_row(self, x: Float[Tensor, "*b in"]) -> Float[Tensor, "*b out"]:
        """Do the same, such that what is no number stays none, if slower for a single row."""

    def weight(self) -> Int8Weight:
        """Return the weight as it was before it was packed."""


@dataclass(frozen=True)
class Kernels:
    """The int8 kernel of this machine, and whether its inputs must be narrow."""

    kind: "type[FusedProduct] | type[RowsProduct]"
    inputs: Inputs

    @classmethod
    def find(cls) -> "Kernels | None":
        """Ask the kernels themselves, with the largest numbers that there are; None where none is right."""
        has_fbgemm = torch.backends.quantized.engine in ENGINES and hasattr(torch, "_make_per_channel_quantized_tensor")
        has_onednn: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        kinds: list[type[FusedProduct] | type[RowsProduct]] = []
        if has_fbgemm and hasattr(torch.ops.quantized, "linear_with_input_q_dq_qweight_dq_output_fp32"):
            kinds.append(FusedProduct)
        if has_onednn and hasattr(torch.ops.onednn, "qlinear_pointwise"):
            kinds.append(RowsProduct)
        return next((cls(kind, inputs) for kind in kinds if (inputs := _fitting(kind))), None)

    def product(self, weight: Int8Weight, bias: Float[Tensor, " out"] | None = None) -> Product:
        """Return the product with a weight (out, in) and a bias (out,) on the CPU; the bias is not kept."""
        return self.kind(weight, bias, inputs=self.inputs)


def _fitting(kernel: "type[RowsProduct] | type[FusedProduct]") -> Inputs | None:
    """Return the widest inputs with which a kernel is right, for several rows and for one."""
    weight, x = torch.ones(64, 256), torch.ones(3, 256)
    x[:, 0] = -1 / 127  # so that the largest input is the largest number, whatever the scale
    for inputs in (WIDE, NARROW):
        product = kernel(Int8Weight.of(weight), None, inputs=inputs)
        found = torch.cat([product(x), product(x[:1])])
        if torch.allclose(found, x.sum(dim=1, keepdim=True)[:1], rtol=0.02):
            return inputs
    return None


class RowsProduct:
    """A product by oneDNN. The packed weight cannot be read again, so the numbers are kept beside it."""

    def __init__(self, weight: Int8Weight, bias: Float[Tensor, " out"] | None, *, inputs: Inputs) -> None:
        self._weight = weight
        self._packed = torch.ops.onednn.qlinear_prepack(weight.numbers, None)
        self._zeros = torch.zeros(len(weight.numbers), dtype=torch.int64)
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

    by_row = __call__

    def weight(self) -> Int8Weight:
        """Return the weight as it was before it was packed."""
        return self._weight

    def __deepcopy__(self, memo: object) -> "RowsProduct":
        return self  # never changed

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
            self._weight.scale,
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
    """A product by FBGEMM, which quantizes an input in the same call. The packed weight is the only copy."""

    def __init__(self, weight: Int8Weight, bias: Float[Tensor, " out"] | None, *, inputs: Inputs) -> None:
        zeros = torch.zeros(len(weight.scale), dtype=torch.int64)
        self._bias = torch.zeros_like(weight.scale) if bias is None else bias.detach().float().clone()
        with warnings.catch_warnings():
            # torch will do without tensors of quantized types; here they only hand the weight over
            warnings.filterwarnings("ignore", message=r"torch\.quantize_per_tensor", category=UserWarning)
            handed = torch._make_per_channel_quantized_tensor(weight.numbers, weight.scale.double(), zeros, 0)
        self._packed: Any = torch.ops.quantized.linear_prepack(handed, self._bias)
        self._inputs, self._is_narrow = inputs, inputs == NARROW

    def __call__(self, x: Float[Tensor, "*b in"]) -> Float[Tensor, "*b out"]:
        """Return the product of `x` and the transposed weight, plus the bias."""
        # the sum is no number where a value is none, of which the kernel would make numbers
        if x.numel() != x.shape[-1] or not x.numel() or not math.isfinite(x.sum().item()):
            return self.by_row(x)
        # one row: the kernel finds its scale in less time than separate operations take
        found: Tensor = _multiply_dynamic(x.reshape(1, -1), self._packed, self._is_narrow)
        return found.view(*x.shape[:-1], -1)

    def by_row(self, x: Float[Tensor, "*b in"]) -> Float[Tensor, "*b out"]:
        """Do the same, such that what is no number stays none, if slower for a single row."""
        if not x.numel():
            return x.new_empty(*x.shape[:-1], len(self._bias))
        rows = x.reshape(-1, x.shape[-1])  # (r, in)
        peaks = rows.abs().amax(dim=1, keepdim=True).clamp_(min=SMALLEST_PEAK)  # (r, 1); two steps, faster than a norm
        levels, zero = self._inputs
        found = _multiply_scaled(rows / peaks, 1 / levels, zero, self._packed)
        # the packed weight has added the bias, to which `peaks` does not apply: bias + peaks (found - bias)
        return torch.lerp(self._bias, found, peaks).view(*x.shape[:-1], -1)

    def weight(self) -> Int8Weight:
        """Return the weight as it was before it was packed."""
        handed, _ = torch.ops.quantized.linear_unpack(self._packed)
        return Int8Weight(handed.int_repr(), handed.q_per_channel_scales().float())

    def __deepcopy__(self, memo: object) -> "FusedProduct":
        return self  # never changed


_multiply_dynamic = torch.ops.quantized.linear_dynamic.default
_multiply_scaled = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32.default
