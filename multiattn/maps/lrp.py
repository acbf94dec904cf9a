"""Layer-wise relevance propagation (LRP): how much each number of the input contributed to a score.

The rules are those of AttnLRP, applied by autograd: within `PropagationRules` each operation computes what it always
does, and its gradient is that of the rule. The contribution of a number is then the number times its gradient.

- A linear layer or convolution is as it is: the contributions of its output are shared in proportion to the summands.
- LayerNorm and RMSNorm divide by a constant: the standard deviation is not differentiated. So does the division of an
  embedding by its length.
- An activation a(x) is x times the constant a(x) / x.
- A product of two variables gives half to each: the attention weights and the values, q and k, a gate and its value.
- Softmax is as it is, the first terms of its Taylor series.

Source: Achtibat et al. 2024, "AttnLRP: attention-aware layer-wise relevance propagation for transformers", section 3.

The contributions are read at tokens, each the sum over its numbers, and not at pixels: measured by masking, they find
what the model needs better there, in deep models after the first blocks (see docs/maps.md).

Notation: b batch, n tokens, D width, h heads, q query rows, k keys, d head width.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..attention import LSHScore, Site, Tap
from ..attention.mask import Mask
from ..attention.score import Score
from ..errors import ModelError


class PropagationRules(TorchFunctionMode):
    """A context in which gradients, times the input, are contributions by AttnLRP, in this thread.

    The results are those without it, up to rounding. It works on eager modules in eval mode: a compiled model is one
    operation, without rules.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call the function by its rule, if it has one."""
        rule = _RULES.get(func, func)
        return rule(*args, **(kwargs or {}))


def check_has_rules(model: nn.Module) -> None:
    """Raise ModelError where a part of the model has no rule: attention by hashing, which has no fused kernel."""
    if any(isinstance(part, LSHScore) for part in model.modules()):
        raise ModelError("lrp has no rule for attention by hashing: choose another method, such as relevance")


class TokensTap(Tap):
    """A tap that keeps the tokens that enter one of a stack's first blocks, in the autograd graph, and no weights.

    The block is the one at an eighth of the depth: the first of fewer than 8, the second of 12.

    Args:
        sites: All attentions of the model.
        stack: The path of the blocks in it: `blocks`, `encoder.blocks`.
    """

    def __init__(self, sites: Sequence[Site], stack: str) -> None:
        depth = sum(site.name.startswith(f"{stack}.") and site.name.endswith(".self") for site in sites)
        self._block = f"{stack}.{depth // 8}"
        self._tokens: Tensor | None = None
        super().__init__(sites, select=f"{self._block}.self")

    def enter(self, path: str, x: Float[Tensor, "b n D"]) -> None:
        """Keep the tokens of the block."""
        if path == self._block:
            self._tokens = x

    def record(
        self,
        name: str,
        *,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        output: Tensor,
        mask: Mask,
        score: Score,
        bias: Tensor | None = None,
        group: int = 1,
    ) -> None:
        """Keep no weights."""

    def contributions(self, score: Float[Tensor, ""], *, keep_graph: bool = False) -> Float[Tensor, "b n"]:
        """Return how much each token contributed to a score: negative where it lowered it.

        Args:
            score: A scalar computed from the tapped call, under autograd and `PropagationRules`.
            keep_graph: Keep the graph, for another score of the same call.

        Raises:
            ModelError: The score does not depend on the tokens, as far as autograd sees: the model is compiled.
        """
        try:
            assert self._tokens is not None
            (gradient,) = torch.autograd.grad(score, self._tokens, retain_graph=keep_graph)
        except (AssertionError, RuntimeError) as error:
            raise ModelError(
                "the score does not depend on what the tap kept: compute it from the tapped call, under autograd, and "
                "with the model uncompiled"
            ) from error
        return (self._tokens.detach().float() * gradient.float()).sum(dim=-1)


def _layer_norm(
    x: Tensor, normalized_shape: Any, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """Normalize the last axis, as if the standard deviation did not depend on the input."""
    wide = x if x.dtype == torch.float64 else x.float()
    centered = wide - wide.mean(dim=-1, keepdim=True)
    normalized = centered * (centered.detach().square().mean(dim=-1, keepdim=True) + eps).rsqrt()
    if weight is not None:
        normalized = normalized * weight
    return (normalized if bias is None else normalized + bias).to(x.dtype)


def _rms_norm(x: Tensor, normalized_shape: Any, weight: Tensor | None = None, eps: float | None = None) -> Tensor:
    """Normalize the last axis, as if the mean square did not depend on the input."""
    wide = x if x.dtype == torch.float64 else x.float()
    eps = torch.finfo(x.dtype).eps if eps is None else eps
    normalized = wide * (wide.detach().square().mean(dim=-1, keepdim=True) + eps).rsqrt()
    return (normalized if weight is None else normalized * weight).to(x.dtype)


def _normalize(x: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: Tensor | None = None) -> Tensor:
    """Divide vectors by their length, as if it did not depend on the input."""
    length: Tensor = torch.linalg.vector_norm(x.detach(), p, dim, keepdim=True)
    return x / length.clamp(min=eps)


def _gelu(x: Tensor, approximate: str = "none") -> Tensor:
    """Multiply by gelu(x) / x as a constant; at 0, where both are 0, by its limit."""
    x0 = x.detach()
    ratio = torch.where(x0 == 0, 0.5, F.gelu(x0, approximate=approximate) / x0)
    return x * ratio


def _sigmoid(x: Tensor) -> Tensor:
    """The gate of x sigmoid(1.702 x), which is that activation's constant."""
    return x.detach().sigmoid()


def _silu(x: Tensor, inplace: bool = False) -> Tensor:
    """Multiply by the gate as a constant."""
    return x * x.detach().sigmoid()


def _product(x: Tensor, y: Tensor) -> Tensor:
    """Multiply two variables: half of what arrives goes to each."""
    return _Halved.apply(torch.mul(x, y))  # type: ignore[no-any-return]


def _attention(q: Tensor, k: Tensor, v: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Attend; half of what arrives goes to the values, half to the weights, and of this half to q and half to k."""
    mixed = F.scaled_dot_product_attention(_Halved.apply(q), _Halved.apply(k), v, *args, **kwargs)
    return _Halved.apply(mixed)  # type: ignore[no-any-return]


class _Halved(torch.autograd.Function):
    """The identity, which halves the gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * 0.5


_RULES: dict[Callable[..., Any], Callable[..., Any]] = {
    F.layer_norm: _layer_norm,
    F.rms_norm: _rms_norm,
    F.normalize: _normalize,
    F.gelu: _gelu,
    F.silu: _silu,
    torch.mul: _product,
    torch.sigmoid: _sigmoid,
    F.scaled_dot_product_attention: _attention,
}
