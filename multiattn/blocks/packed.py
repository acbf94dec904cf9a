"""Linear maps for inference on a CPU: each weight where it lies in the order of one kernel, and packed for another.

For a few rows (the texts of a decode) the kernel behind `F.linear` reads the weight in an order that does not suit it,
and for two or three rows once for each. So the weight itself is laid out for products with one row, and oneDNN
multiplies more rows with a copy that was packed once beforehand. On one core of a Zen 4 that is 1.1 to 1.8 times as
fast for 1 row, 2 to 4 times for 3, 1.6 to 2.3 times for 8 and 1.1 to 1.2 times for many. All in fp32: results differ by
rounding only.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

ROWS = 4
"""The packed kernel is at its best from this many rows on; fewer are filled up with zeros: quicker than without."""

SMALLEST = 2**17
"""Numbers in a weight from which on packing pays: below, preparing the kernel takes longer than the product."""


def worth_packing(weight: Tensor) -> bool:
    """Whether a packed copy of this weight is quicker, and there is a kernel for it here."""
    if weight.device.type != "cpu" or weight.dtype != torch.float32 or weight.layout != torch.strided:
        return False
    has_kernel: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return has_kernel and not weight.is_inference() and weight.numel() >= SMALLEST


def lay_out_for_one_row(weight: Tensor) -> None:
    """Let a weight's columns lie one after the other in memory, in place, where that is quicker for one row.

    Then the product is a sum of columns and not a dot product for each row of the weight: on the same core 1.1 (768 to
    768), 1.6 (768 to 3072) and 1.8 times (768 to 30524) as fast. With more inputs than outputs it is slower.
    """
    outputs, inputs = weight.shape
    if outputs >= inputs:
        weight.data = weight.data.t().contiguous().t()


class PackedWeight:
    """A weight's packed copy, called as `F.linear` is called, with that weight.

    It serves several rows where nothing is learned: no gradients, no autocast, no compiler, float32. Everywhere else,
    and once the weight has changed, moved or been copied, the call is `F.linear` on the weight itself: never wrong,
    only slower. (What is written through `.data` changes a weight unseen: pack anew after it.)

    Args:
        weight: In float32 on a CPU; `worth_packing` says whether it pays.
    """

    def __init__(self, weight: Float[Tensor, "out in"]) -> None:
        self._packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), 64)
        self._of: tuple[int, int] | None = (weight.data_ptr(), weight._version)

    def __getstate__(self) -> dict[str, None]:
        # a copy of the model has weights of its own, and torch cannot copy what is packed
        return {"_packed": None, "_of": None}

    def __call__(
        self, x: Float[Tensor, "*b in"], weight: Float[Tensor, "out in"], bias: Float[Tensor, " out"] | None = None
    ) -> Float[Tensor, "*b out"]:
        """The product of `x` and the transposed weight, plus the bias."""
        rows = x.numel() // x.shape[-1]
        if (
            rows == 1
            or torch.compiler.is_compiling()
            or torch.is_grad_enabled()
            or torch.is_autocast_enabled("cpu")
            or x.dtype != torch.float32
            or (weight.data_ptr(), weight._version) != self._of
        ):
            return F.linear(x, weight, bias)
        if rows >= ROWS:
            return self._multiply(x, bias)
        filled = F.pad(x.reshape(rows, x.shape[-1]), (0, 0, 0, ROWS - rows))  # (ROWS, in)
        return self._multiply(filled, bias)[:rows].reshape(*x.shape[:-1], len(weight))

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
    """Lay out the weight of every linear layer inside `model`, and give it a packed copy, in place.

    Parameters, their names, what is saved and what can be learned stay as they are, and results stay to rounding. It
    costs the memory of the copies. Small layers stay as they are, and those without a kernel here (a GPU's, half
    precision).
    """
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Linear and worth_packing(child.weight):
                lay_out_for_one_row(child.weight)
                setattr(module, name, PackedLinear(child))
