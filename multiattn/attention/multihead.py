"""The one attention of all models: self and cross, causal, windowed and padded, cached and tapped.

Notation: b batch, h heads, n query tokens, m key tokens, d head width, D model width (h d, unless heads have a width of
their own). In cross-attention, r rows of queries may share b contexts: g = r / b consecutive rows attend to the same
context.
"""

from dataclasses import replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..checks import check_argument
from ..errors import ModelError
from .cache import GrowingCache, KeysValues
from .longformer import GlobalProjectionScore
from .mask import OPEN, Mask
from .positions import Rotary, apply_rotary
from .score import DotProductScore, Score
from .tap import Probe


class Attention(nn.Module):
    """Multi-head attention.

    Without `kv_dim` it is self-attention, with one fused projection for q, k and v, unless k and v have fewer heads.
    With `kv_dim` it is cross-attention to a context of that width. A checkpoint whose key projection has no bias loads
    with a zero bias: a key bias adds the same number to all scores of a query, which does not change their softmax.

    Args:
        dim: Width of the queries and of the result.
        num_heads: Number of heads; must divide `dim` where `head_dim` is None.
        num_kv_heads: Number of heads of k and v, each of which serves as many heads of q; `num_heads` where None.
            Source: Ainslie et al. 2023, "GQA", section 2.2.
        kv_dim: Width of the context that keys and values are computed from; None for self-attention.
        head_dim: Width of a head; dim / num_heads where None.
        bias: Whether the projections to q, k and v have a bias.
        out_bias: Whether the projection of the result has a bias.
        q_norm: Normalizes each head's q before rotary positions and scores; a module over the head width.
        k_norm: The same for k.
        norm: Normalizes the mixed values of all heads, (h d), before the last projection.
            Source: Fang et al. 2023 (EVA-02), section 2.1, "sub-LN".
        score: Compares q and k; scaled dot-product where None.
        shared_qk: Queries and keys are the same vectors. Source: Reformer (Kitaev et al. 2020), section 2.
        global_projections: The global tokens of a mask have projections of their own, to the queries, keys and values
            of their rows. Source: Longformer (Beltagy et al. 2020), section 3.1.
        dropout: Share of attention weights dropped in training.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        *,
        num_kv_heads: int | None = None,
        kv_dim: int | None = None,
        head_dim: int | None = None,
        bias: bool = True,
        out_bias: bool = True,
        q_norm: nn.Module | None = None,
        k_norm: nn.Module | None = None,
        norm: nn.Module | None = None,
        score: Score | None = None,
        shared_qk: bool = False,
        global_projections: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        alone = "False for cross-attention, and not together with the other"
        check_argument(
            not shared_qk or (kv_dim is None and not global_projections), "shared_qk", must=alone, value=True
        )
        check_argument(not global_projections or kv_dim is None, "global_projections", must=alone, value=True)
        if head_dim is None:
            check_argument(dim % num_heads == 0, "dim", must=f"a multiple of `num_heads` ({num_heads})", value=dim)
            head_dim = dim // num_heads
        inner = num_heads * head_dim
        kv_heads = num_heads if num_kv_heads is None else num_kv_heads
        fits = kv_heads > 0 and num_heads % kv_heads == 0
        check_argument(fits, "num_kv_heads", must=f"a divisor of `num_heads` ({num_heads})", value=kv_heads)
        self.num_heads, self.num_kv_heads = num_heads, kv_heads
        self.inner_dim = inner
        self.is_cross = kv_dim is not None
        self.shares_qk = shared_qk
        if shared_qk:
            self.qk_v = nn.Linear(dim, 2 * inner, bias=bias)
        elif kv_dim is None and kv_heads == num_heads:
            self.qkv = nn.Linear(dim, 3 * inner, bias=bias)
        else:
            self.q = nn.Linear(dim, inner, bias=bias)
            self.kv = nn.Linear(dim if kv_dim is None else kv_dim, 2 * kv_heads * head_dim, bias=bias)
        self.global_qkv = nn.Linear(dim, 3 * inner, bias=bias) if global_projections else None
        self.q_norm = q_norm
        self.k_norm = k_norm
        self.score: Score = DotProductScore(head_dim) if score is None else score
        self.dropout = dropout
        self.norm = norm
        self.out = nn.Linear(inner, dim, bias=out_bias)

    def forward(
        self,
        x: Float[Tensor, "r n D"],
        context: Float[Tensor, "b m C"] | KeysValues | None = None,
        *,
        mask: Mask = OPEN,
        bias: Float[Tensor, "#b #h n m"] | None = None,
        rotary: Rotary | None = None,
        cache: GrowingCache | None = None,
        probe: Probe | None = None,
    ) -> Float[Tensor, "r n D"]:
        """Attend from `x` to `context`.

        Args:
            x: Tokens of the queries.
            context: Tokens of the keys and values, or what `keys_values` computed from them. Required for
                cross-attention, where consecutive rows of `x` may share a context. For self-attention None means `x`
                itself; otherwise `x` must be those rows of the context that are to be computed.
            mask: Which query may attend to which key.
            bias: For self-attention: added to the scores before the softmax, such as a relative position bias; in a
                decode, of the new tokens to all so far.
            rotary: Angles for all tokens of the context; `x` takes the first of them. With a cache, for the new tokens
                alone.
            cache: For self-attention: keys and values of the positions before `x`; those of `x` are appended.
            probe: Captures the attention weights.

        Returns:
            A new vector for each token of `x`.

        Raises:
            ValueError: Cross-attention has no context, or one whose batch does not divide the rows of `x`, or a `bias`;
                shared queries and keys have a context or a cache.
            ModelError: The cache is too small for `x`; the probe is to keep gradients of weights that come from two
                projections.
        """
        if context is None and self.is_cross:
            raise ValueError("`context` must be given to cross-attention, but is None instead.")
        check_argument(bias is None or not self.is_cross, "bias", must="None for cross-attention", value="a tensor")
        alone = context is None and cache is None
        check_argument(alone or not self.shares_qk, "context", must="None with shared queries and keys", value="given")
        r, n, _ = x.shape
        if self.is_cross and context is not None:
            b = context.count if isinstance(context, KeysValues) else context.shape[0]
            # an exported graph is for any number of rows, which its caller has checked
            is_symbolic = torch.compiler.is_exporting()
            if is_symbolic or b != r:
                if not is_symbolic and (b == 0 or r % b):
                    raise ValueError(f"`context` must have a batch that divides the rows of `x` ({r}), but has {b}.")
                x = x.reshape(b, -1, x.shape[-1])  # (b, g n, D): the rows of one context become one row of queries
        q, k, v = self._project(x, context)
        if self.q_norm is not None:
            q = self.q_norm(q)
        if rotary is not None:
            q = apply_rotary(q, rotary.first(q.shape[-2]))
            k = q if self.shares_qk else apply_rotary(k, rotary)
        elif self.shares_qk:
            k = q
        if cache is not None:
            so_far = cache.append(k, v)
            k, v = so_far.keys, so_far.values
        if self.num_kv_heads != self.num_heads:
            each = self.num_heads // self.num_kv_heads
            k, v = k.repeat_interleave(each, dim=1), v.repeat_interleave(each, dim=1)  # (b, h, m, d)
        if bias is not None:
            bias = bias.to(q.dtype)  # what the kernel adds, and so what the tap is given
        dropout_p = self.dropout if self.training else 0.0  # the kernel's own dropout ignores eval()
        score = self.score
        if self.global_qkv is not None and mask.global_tokens is not None:
            score = self._global_score(x if context is None else context)
        runs = context.runs if isinstance(context, KeysValues) else None
        if runs is None or len(runs) == 1:
            mixed = score(q, k, v, mask=mask, bias=bias, dropout_p=dropout_p)  # (b, h, g n, d)
        else:
            mixed = self._mix_runs(q, k, v, runs, mask=mask, dropout_p=dropout_p)
            if probe is not None:
                k, v = (torch.cat([one[run] for run in runs]) for one in (k, v))
        if probe is not None:
            if score is not self.score and probe.tap.keeps_gradients:
                raise ModelError("a tap keeps no gradients where global tokens have projections of their own")
            probe.tap.record(
                probe.path, q=q, k=k, v=v, output=mixed, mask=mask, score=score, bias=bias, group=r // q.shape[0]
            )
        joined = mixed.transpose(1, 2).flatten(2)  # (b, g n, h d)
        if self.norm is not None:
            joined = self.norm(joined)
        return self.out(joined).reshape(r, n, -1)  # type: ignore[no-any-return]

    def _global_score(self, x: Tensor | KeysValues) -> Score:
        """The score with what the global tokens' own projections make of the tokens."""
        assert self.global_qkv is not None and isinstance(self.score, DotProductScore) and isinstance(x, Tensor)
        q, k, v = self.global_qkv(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        return GlobalProjectionScore(self.score, q, k, v)

    def keys_values(self, context: Float[Tensor, "b m C"]) -> KeysValues:
        """Compute the keys and values of a context for cross-attention, to pass them to several calls."""
        k, v = self.kv(context).unflatten(-1, (2, self.num_kv_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        return KeysValues(k if self.k_norm is None else self.k_norm(k), v)  # (b, kv heads, m, d)

    def _mix_runs(
        self, q: Tensor, k: Tensor, v: Tensor, runs: tuple[slice, ...], *, mask: Mask, dropout_p: float
    ) -> Tensor:
        """Mix the values of each run of contexts for its rows of q: (b, h, g n, d)."""
        mixed, first = [], 0
        for run in runs:
            own = slice(first, first + run.stop - run.start)
            keys = mask.keys if mask.keys is None or len(mask.keys) == 1 else mask.keys[own]
            mixed.append(self.score(q[own], k[run], v[run], mask=replace(mask, keys=keys), dropout_p=dropout_p))
            first = own.stop
        return torch.cat(mixed)

    def _project(self, x: Tensor, context: Tensor | KeysValues | None) -> tuple[Tensor, Tensor, Tensor]:
        """Return q, k and v of every head, (b, h or kv heads, len, d); k is normalized already."""
        if isinstance(context, KeysValues):
            if context.runs is not None and len(context.runs) == 1:
                return self._heads(self.q(x)), context.keys[context.runs[0]], context.values[context.runs[0]]
            return self._heads(self.q(x)), context.keys, context.values
        if self.is_cross or self.num_kv_heads != self.num_heads:
            projected = self.keys_values(x if context is None else context)
            return self._heads(self.q(x)), projected.keys, projected.values
        if self.shares_qk:
            q, v = self.qk_v(x).unflatten(-1, (2, self.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
            return q, q, v
        if context is None:
            q, k, v = self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        elif self.qkv.weight is None or hasattr(self.qkv, "base_layer"):
            # int8, where the parts of a packed weight cannot be had; an adapter, which adds to the weight's product
            q = self._heads(self.qkv(x)[..., : self.inner_dim])
            kv = self.qkv(context)[..., self.inner_dim :]
            k, v = kv.reshape(*kv.shape[:2], 2, self.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        else:
            dim, weight, bias = self.inner_dim, self.qkv.weight, self.qkv.bias
            q = self._heads(F.linear(x, weight[:dim], None if bias is None else bias[:dim]))
            kv = F.linear(context, weight[dim:], None if bias is None else bias[dim:])
            k, v = kv.reshape(*kv.shape[:2], 2, self.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        return q, k if self.k_norm is None else self.k_norm(k), v

    def _heads(self, q: Tensor) -> Tensor:
        return q.reshape(*q.shape[:2], self.num_heads, -1).transpose(1, 2)  # (b, h, n, d)
