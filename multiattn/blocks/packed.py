"""Linear maps for inference on a CPU: the same product by other kernels than the one behind `F.linear`.

That one is made for many rows: for a few (the texts of a decode) it reads the weight at half of the memory's speed and
less, and for two or three rows once for each. So one row is multiplied by parts of the weight as by a batch of small
matrices, and oneDNN multiplies more rows with a copy that was packed once beforehand. On one core of a Zen 4 that is
1.1 to 2.7 times as fast for 1 row, 2 to 4 times for 3, 1.6 to 2.3 times for 8 and 1.1 to 1.2 times for many. All in
fp32: results differ by rounding only.
"""

import mmap
from collections.abc import Collection

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

ROWS = 4
"""The packed kernel is at its best from this many rows on; fewer are filled up with zeros: quicker than without."""

SMALLEST = 2**17
"""Numbers in a weight from which on packing pays: below, preparing the kernel takes longer than the product."""

MOST_PARTS = 32
"""One row is multiplied by so many parts of a weight at the most: with more, a small weight's are too small."""

HUGE_PAGE = 2**21
"""Bytes of a huge page, and so where the first of them has to begin."""

LINE = 64
"""Bytes of a line of the cache: where torch lets a tensor begin."""


def worth_packing(weight: Tensor) -> bool:
    """Whether a packed copy of this weight is quicker, and there is a kernel for it here."""
    if weight.device.type != "cpu" or weight.dtype != torch.float32 or weight.layout != torch.strided:
        return False
    has_kernel: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return has_kernel and not weight.is_inference() and weight.numel() >= SMALLEST


class PackedWeight:
    """A weight's packed copy, called as `F.linear` is called, with that weight.

    It serves where nothing is learned: no gradients, no autocast, no compiler, float32. Everywhere else, and once the
    weight has changed, moved or been copied, the call is `F.linear` on the weight itself: never wrong, only slower.
    (What is written through `.data` changes a weight unseen: pack anew after it.)

    Args:
        weight: In float32 on a CPU; `worth_packing` says whether it pays.
    """

    def __init__(self, weight: Float[Tensor, "out in"]) -> None:
        outputs, inputs = weight.shape
        parts = max(p for p in range(1, MOST_PARTS + 1) if outputs % p == 0)
        self._parts = weight.detach().view(parts, -1, inputs)  # (p, out / p, in)
        self._packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), 64)
        self._of: tuple[int, int] | None = (weight.data_ptr(), weight._version)

    def __getstate__(self) -> dict[str, None]:
        # a copy of the model has weights of its own, and torch cannot copy what is packed
        return {"_parts": None, "_packed": None, "_of": None}

    def __call__(
        self, x: Float[Tensor, "*b in"], weight: Float[Tensor, "out in"], bias: Float[Tensor, " out"] | None = None
    ) -> Float[Tensor, "*b out"]:
        """The product of `x` and the transposed weight, plus the bias."""
        if (
            torch.compiler.is_compiling()
            or torch.is_grad_enabled()
            or torch.is_autocast_enabled("cpu")
            or x.dtype != torch.float32
            or (weight.data_ptr(), weight._version) != self._of
        ):
            return F.linear(x, weight, bias)
        rows = x.numel() // x.shape[-1]
        if rows == 1:
            return self._multiply_one(x, bias)
        if rows >= ROWS:
            return self._multiply(x, bias)
        filled = F.pad(x.reshape(rows, x.shape[-1]), (0, 0, 0, ROWS - rows))  # (ROWS, in)
        return self._multiply(filled, bias)[:rows].reshape(*x.shape[:-1], len(weight))

    def _multiply_one(self, x: Tensor, bias: Tensor | None) -> Tensor:
        # the weight first: the other way round, the kernel is the slow one again
        column = x.reshape(1, -1).t().expand(len(self._parts), -1, -1)  # (p, in, 1)
        product = torch.bmm(self._parts, column).view(*x.shape[:-1], -1)  # (*b, out)
        return product if bias is None else product + bias

    def _multiply(self, x: Tensor, bias: Tensor | None) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(x, self._packed, bias, "none", [], "")  # type: ignore[no-any-return]


class PackedLinear(nn.Linear):
    """A linear layer with a packed copy of its weight. It takes over the parameters of the layer it stands for."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__(linear.in_features, linear.out_features, bias=linear.bias is not None, device="meta")
        self.weight, self.bias = linear.weight, linear.bias
        self.train(linear.training)
        self.packed = PackedWeight(linear.weight)

    def forward(self, input: Float[Tensor, "*b in"]) -> Float[Tensor, "*b out"]:
        """As `nn.Linear`."""
        return self.packed(input, self.weight, self.bias)


def pack_linears(model: nn.Module) -> None:
    """Give every linear layer inside `model` a packed copy of its weight, in place.

    Parameters, their names, what is saved and what can be learned stay as they are, and results stay to rounding. It
    costs the memory of the copies. Small layers stay as they are, and those without a kernel here (a GPU's, half
    precision).
    """
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Linear and worth_packing(child.weight):
                setattr(module, name, PackedLinear(child))


@torch.inference_mode(False)
def move_to_huge_pages(weights: Collection[Tensor]) -> None:
    """Move weights, in place, to memory with pages of 2 MB, where programs can ask for it: on Linux.

    Decoding one text is little but reading weights, and with pages of 4 KB the processor also has to find where each
    lies: it remembers a few thousand, and the weights have tens of thousands. With huge ones the decode is 1.05 to 1.09
    times as fast (Whisper tiny, greedy), and bit for bit the same. Linux gives them to who asks (`madvise`), which
    torch only does where the environment says so when it starts (`THP_MEM_ALLOC_ENABLE=1`).

    The weights lie in one piece, or each would waste the rest of its last page. Yet each has a storage of its own:
    saving or copying one takes no other along. Parameters stay the objects they are, so what shares one goes on to.
    """
    if not weights or not hasattr(mmap, "MADV_HUGEPAGE"):
        return
    lengths = [-(-weight.nbytes // LINE) * LINE for weight in weights]
    # memory that is shared, the default here, follows other rules
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
