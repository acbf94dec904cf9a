"""The one attention everything uses: self and cross, causal, windowed and padded, tapped.

Notation: b batch, h heads, n query tokens, m key tokens, d head width, D = h d model width.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from .mask import OPEN, Mask
from .positions import Rotary, apply_rotary
from .score import DotProductScore, Score
from .tap import Probe


class Attention(nn.Module):
    """Multi-head attention.

    Without `kv_dim` it attends within one sequence, and q, k and v are one fused projection. With `kv_dim` it attends
    to a context of that width. A checkpoint whose key has no bias loads as one with a zero key bias: a key bias adds
    the same number to every score of a query, which softmax cannot see.

    Args:
        dim: Width of the queries and of the result.
        num_heads: Heads; must divide `dim`.
        kv_dim: Width of the context that keys and values come from; None for self-attention.
        bias: Whether q, k and v have one.
        q_norm: Normalises each head's q before it is turned and compared; a module over the head's width.
        k_norm: The same for k.
        score: How q and k are compared; scaled dot-product where None.
        dropout: Share of attention weights dropped in training.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        *,
        kv_dim: int | None = None,
        bias: bool = True,
        q_norm: nn.Module | None = None,
        k_norm: nn.Module | None = None,
        score: Score | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"`dim` must be a multiple of `num_heads` ({num_heads}), but is {dim} instead.")
        self.num_heads = num_heads
        self.is_cross = kv_dim is not None
        if kv_dim is None:
            self.qkv = nn.Linear(dim, 3 * dim, bias=bias)
        else:
            self.q = nn.Linear(dim, dim, bias=bias)
            self.kv = nn.Linear(kv_dim, 2 * dim, bias=bias)
        self.q_norm = q_norm
        self.k_norm = k_norm
        self.score: Score = DotProductScore(dim // num_heads) if score is None else score
        self.dropout = dropout
        self.out = nn.Linear(dim, dim)

    def forward(
        self,
        x: Float[Tensor, "b n D"],
        context: Float[Tensor, "b m C"] | None = None,
        *,
        mask: Mask = OPEN,
        rotary: Rotary | None = None,
        probe: Probe | None = None,
    ) -> Float[Tensor, "b n D"]:
        """Attend from `x` to `context`.

        Args:
            x: The queries' tokens.
            context: The keys' tokens. Required for cross-attention. For self-attention it is `x` itself where None;
                given, `x` must be the rows of it that are to be computed.
            mask: Which query may attend to which key.
            rotary: Angles for every token of the context; `x` stands at the first of them.
            probe: Whoever looks at the weights.
        """
        if context is None and self.is_cross:
            raise ValueError("`context` must be given to cross-attention, but is None instead.")
        q, k, v = self._project(x, context)
        if self.q_norm is not None:
            q = self.q_norm(q)
        if self.k_norm is not None:
            k = self.k_norm(k)
        if rotary is not None:
            n = q.shape[-2]
            q = apply_rotary(q, Rotary(rotary.cos[:n], rotary.sin[:n]))
            k = apply_rotary(k, rotary)
        dropout_p = self.dropout if self.training else 0.0  # the kernel's own dropout ignores eval()
        mixed = self.score(q, k, v, mask=mask, dropout_p=dropout_p)  # (b, h, n, d)
        if probe is not None:
            probe.tap.record(probe.path, q=q, k=k, v=v, output=mixed, mask=mask, score=self.score)
        joined = mixed.transpose(1, 2).flatten(2)  # (b, n, D)
        return self.out(joined)  # type: ignore[no-any-return]

    def _project(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """The q, k and v of every head, (b, h, len, d)."""
        if context is None:
            q, k, v = self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
            return q, k, v
        if self.is_cross:
            q, kv = self.q(x), self.kv(context)
        else:
            dim = x.shape[-1]
            weight, bias = self.qkv.weight, self.qkv.bias
            q = F.linear(x, weight[:dim], None if bias is None else bias[:dim])
            kv = F.linear(context, weight[dim:], None if bias is None else bias[dim:])
        q = q.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
        k, v = kv.unflatten(-1, (2, self.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        return q, k, v
