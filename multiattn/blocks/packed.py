"""Linear layers for inference on a CPU, with faster kernels than that of `F.linear`.

The kernel of `F.linear` is made for many rows. For a few rows (the texts of a decode) it reads the weight at half of
the memory's speed or less, and for two or three rows it reads the weight once per row. So here one row is multiplied by
parts of the weight as by a batch of small matrices, and oneDNN multiplies more rows with a copy that is packed once. On
one core of a Zen 4 that is 1.1 to 2.7 times as fast for 1 row, 2 to 4 times for 3, 1.6 to 2.3 times for 8 and 1.1 to
1.2 times for many. All in fp32, or in bf16 where the processor multiplies in it: results differ by rounding only.

Many published weights are half-precision numbers, whatever type their file has: Whisper's, for one. Those are packed as
such by FBGEMM, whose kernel widens them as it reads them: half the memory to read, and the same products in fp32.
"""

import mmap
from collections.abc import Collection
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

ROWS = 4
"""The packed kernel is most efficient from this many rows on; padding fewer rows with zeros is faster than not."""

SMALLEST = 2**17
"""Elements of a weight from which on packing pays: below, preparing the kernel takes longer than the product."""

MOST_PARTS = 32
"""Most parts of a weight for the product with one row: with more, the parts of a small weight are too small."""

HUGE_PAGE = 2**21
"""Size and alignment of a huge page, in bytes."""

LINE = 64
"""Alignment of tensors in torch, in bytes: a line of the processor's cache."""


HALF_ENGINES = ("fbgemm", "x86")
"""The engines of `torch.backends.quantized` whose linear layers with half-precision weights are FBGEMM's."""


def worth_packing(weight: Tensor) -> bool:
    """Return whether a packed copy of this weight is faster, and this machine has a kernel for it."""
    if weight.device.type != "cpu" or weight.layout != torch.strided:
        return False
    if weight.dtype != torch.float32 and not (weight.dtype == torch.bfloat16 and has_bf16_products()):
        return False
    has_kernel: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return has_kernel and not weight.is_inference() and weight.numel() >= SMALLEST


def is_half(weight: Tensor) -> bool:
    """Return whether every value of a weight is a number of half precision, and this machine multiplies with such."""
    if torch.backends.quantized.engine not in HALF_ENGINES:
        return False
    # in parts: a copy of a whole vocabulary would be the peak of the memory; the first part tells it of most others
    parts = weight.detach().split(1024)  # type: ignore[no-untyped-call]
    return all(torch.equal(part.half().to(part.dtype), part) for part in parts)


def has_bf16_products() -> bool:
    """Return whether this machine's processor multiplies in bf16 by itself (AVX-512 BF16 or AMX)."""
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16"))


class PackedWeight:
    """A packed copy of a weight, which is called like `F.linear`, with that weight and bias.

    It is used for inference: without gradients, autocast and compiler, in the weight's own type. Otherwise, and once
    the weight was changed, moved or copied, the call is `F.linear` on the weight itself: never wrong, only slower.
    (Writing through `.data` is not noticed: pack the weight again afterwards.)

    Args:
        weight: In float32 or bfloat16 on a CPU; `worth_packing` tells whether packing pays.
        bias: Of the layer. FBGEMM packs it, too; None where there is none.
    """

    def __init__(self, weight: Float[Tensor, "out in"], bias: Float[Tensor, " out"] | None = None) -> None:
        self._parts: Tensor | None = None
        self._packed: Any = None
        self._half: Any = None
        if weight.dtype == torch.float32 and is_half(weight):
            self._half = torch.ops.quantized.linear_prepack_fp16(
                weight.detach(), None if bias is None else bias.detach()
            )
        else:
            outputs, inputs = weight.shape
            parts = max(p for p in range(1, MOST_PARTS + 1) if outputs % p == 0)
            self._parts = weight.detach().view(parts, -1, inputs)  # (p, out / p, in)
            self._packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), 64)
        self._of: object = _identity(weight, bias)

    def __getstate__(self) -> dict[str, None]:
        # a copy of the model has its own weights, and torch cannot copy a packed one
        return {"_parts": None, "_packed": None, "_half": None, "_of": None}

    def __call__(
        self, x: Float[Tensor, "*b in"], weight: Float[Tensor, "out in"], bias: Float[Tensor, " out"] | None = None
    ) -> Float[Tensor, "*b out"]:
        """Compute the product of `x` and the transposed weight, plus the bias."""
        if (
            torch.compiler.is_compiling()
            or torch.is_grad_enabled()
            or torch.is_autocast_enabled("cpu")
            or x.dtype != weight.dtype
            or _identity(weight, bias) != self._of
        ):
            return F.linear(x, weight, bias)
        if self._half is not None:
            return _multiply_half(x, self._half) if x.numel() and x.ndim > 1 else F.linear(x, weight, bias)
        rows = x.numel() // x.shape[-1]
        if rows >= ROWS or weight.dtype == torch.bfloat16:  # whose kernel is as fast for few rows
            return self._multiply(x, bias)
        if rows == 1:
            return self._multiply_one(x, bias)
        filled = F.pad(x.reshape(rows, x.shape[-1]), (0, 0, 0, ROWS - rows))  # (ROWS, in)
        return self._multiply(filled, bias)[:rows].reshape(*x.shape[:-1], len(weight))

    def _multiply_one(self, x: Tensor, bias: Tensor | None) -> Tensor:
        assert self._parts is not None
        # with the weight as the second factor, bmm would use the slow kernel again
        column = x.reshape(1, -1).t().expand(len(self._parts), -1, -1)  # (p, in, 1)
        product = torch.bmm(self._parts, column).view(*x.shape[:-1], -1)  # (*b, out)
        return product if bias is None else product + bias

    def _multiply(self, x: Tensor, bias: Tensor | None) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(x, self._packed, bias, "none", [], "")  # type: ignore[no-any-return]


_multiply_half = torch.ops.quantized.linear_dynamic_fp16.default
"""Named for what is done to it: the activations stay in fp32."""


def _identity(weight: Tensor, bias: Tensor | None) -> tuple[int, ...]:
    """Return what tells whether a weight and a bias are those that were packed."""
    if bias is None:
        return weight.data_ptr(), weight._version
    return weight.data_ptr(), weight._version, bias.data_ptr(), bias._version


class PackedLinear(nn.Linear):
    """A linear layer with a packed copy of its weight. It shares the parameters of the layer that it replaces."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__(linear.in_features, linear.out_features, bias=linear.bias is not None, device="meta")
        self.weight, self.bias = linear.weight, linear.bias
        self.train(linear.training)
        self.packed = PackedWeight(linear.weight, linear.bias)

    def forward(self, input: Float[Tensor, "*b in"]) -> Float[Tensor, "*b out"]:
        """Apply the layer as `nn.Linear` does."""
        return self.packed(input, self.weight, self.bias)


def pack_linears(model: nn.Module) -> None:
    """Give the linear layers of `model` a packed copy of their weight, in place.

    Parameters, their names, saving and training are not changed, and results differ by rounding only. The copies take
    memory. Small layers, and those without a kernel (on a GPU, in half precision), are not replaced.
    """
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Linear and worth_packing(child.weight):
                setattr(module, name, PackedLinear(child))


@torch.inference_mode(False)
def move_to_huge_pages(weights: Collection[Tensor]) -> None:
    """Move weights, in place, to memory with pages of 2 MB, on systems that offer them (Linux).

    Decoding one text mostly reads weights. With pages of 4 KB, the processor also has to look up their addresses: it
    caches a few thousand pages, and the weights have tens of thousands. With huge pages, decoding is 1.05 to 1.09 times
    as fast (Whisper tiny, greedy), and bitwise the same. Linux provides them on request (`madvise`), which torch only
    makes where the environment has `THP_MEM_ALLOC_ENABLE=1` at the start.

    The weights share one piece of memory, because each would waste the rest of its last page otherwise. Yet each has
    its own storage, so that saving or copying one does not include the others. Parameters remain the same objects, so
    shared ones stay shared.
    """
    if not weights or not hasattr(mmap, "MADV_HUGEPAGE"):
        return
    lengths = [-(-weight.nbytes // LINE) * LINE for weight in weights]
    # private, because shared memory, the default of `mmap`, has other rules for huge pages
    piece = mmap.mmap(-1, sum(lengths) + HUGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    try:
        piece.madvise(mmap.MADV_HUGEPAGE)
    except OSError:  # a kernel without them
        return
    start = -torch.frombuffer(piece, dtype=torch.uint8).data_ptr() % HUGE_PAGE
    for weight, length in zip(weights, lengths, strict=True):
        moved = torch.frombuffer(piece, dtype=weight.dtype, count=weight.numel(), offset=start).view(weight.shape)
        weight.data = moved.copy_(weight.data)
        start += length
