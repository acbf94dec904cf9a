"""The transformer block: attention, cross-attention where there is a context, feedforward, each on a residual branch.

Notation: b batch, n tokens, r rows computed, c contexts, m context tokens, D width, C the context's width.
"""

from jaxtyping import Float
from torch import Tensor, nn

from ..attention import OPEN, Attention, GrowingCache, KeysValues, Mask, Probe, Rotary, probe_at
from .feedforward import FeedForward
from .residual import LayerScale, StochasticDepth


class TransformerBlock(nn.Module):
    """One block, with the norms before the branches (pre-norm) or after the additions (post-norm).

    Args:
        dim: Width of the tokens.
        attention: Self-attention.
        feedforward: Applied to each token.
        cross_attention: Attention to the context, between the two; None where there is no context.
        pre_norm: x + f(norm(x)) where true, norm(x + f(x)) where false.
        norm_eps: Added to the variance in each LayerNorm.
        layer_scale: The value each branch's learned factors start from; no factors where None.
        stochastic_depth: Probability that a branch is dropped for an item, in training.
        dropout: Share of each branch's results dropped in training.
    """

    def __init__(
        self,
        dim: int,
        *,
        attention: Attention,
        feedforward: FeedForward,
        cross_attention: Attention | None = None,
        pre_norm: bool = True,
        norm_eps: float = 1e-6,
        layer_scale: float | None = None,
        stochastic_depth: float = 0.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        has_context = cross_attention is not None

        def scale() -> LayerScale | None:
            return None if layer_scale is None else LayerScale(dim, init=layer_scale)

        self.pre_norm = pre_norm
        self.norm1 = nn.LayerNorm(dim, eps=norm_eps)
        self.attention = attention
        self.scale1 = scale()
        self.cross_norm = nn.LayerNorm(dim, eps=norm_eps) if has_context else None
        self.cross_attention = cross_attention
        self.cross_scale = scale() if has_context else None
        self.norm2 = nn.LayerNorm(dim, eps=norm_eps)
        self.feedforward = feedforward
        self.scale2 = scale()
        self.dropout = nn.Dropout(dropout) if dropout else None
        self.stochastic_depth = StochasticDepth(stochastic_depth) if stochastic_depth else None

    def forward(
        self,
        x: Float[Tensor, "b n D"],
        context: Float[Tensor, "c m C"] | KeysValues | None = None,
        *,
        rows: slice | None = None,
        mask: Mask = OPEN,
        context_mask: Mask = OPEN,
        rotary: Rotary | None = None,
        cache: GrowingCache | None = None,
        probe: Probe | None = None,
    ) -> Float[Tensor, "b r D"]:
        """Run the block.

        Args:
            x: The tokens.
            context: What the cross-attention attends to; consecutive items of `x` may share one.
            rows: Compute only these rows of the result, all of them attending to all of `x`. With rotary positions
                they must be the first rows; with a causal mask or a window, the last.
            mask: For the self-attention.
            context_mask: For the cross-attention.
            rotary: Angles for the self-attention.
            cache: The self-attention's positions before `x`; not together with `rows`.
            probe: Sees the sites `self` and `cross`.
        """
        if self.cross_attention is not None and context is None:
            raise ValueError("`context` must be given to a block with cross-attention, but is None instead.")
        # no branch is given a name here, so that each is freed as soon as it is added
        x = self._add(
            x if rows is None else x[:, rows],  # (b, r, D)
            self._self_attention(x, rows, mask, rotary, cache, probe_at(probe, "self")),
            self.scale1,
            self.norm1,
        )
        if self.cross_attention is not None:
            assert self.cross_norm is not None
            x = self._add(
                x,
                self.cross_attention(
                    self.cross_norm(x) if self.pre_norm else x,
                    context,
                    mask=context_mask,
                    probe=probe_at(probe, "cross"),
                ),
                self.cross_scale,
                self.cross_norm,
            )
        return self._add(x, self.feedforward(self.norm2(x) if self.pre_norm else x), self.scale2, self.norm2)

    def _self_attention(
        self,
        x: Tensor,
        rows: slice | None,
        mask: Mask,
        rotary: Rotary | None,
        cache: GrowingCache | None,
        probe: Probe | None,
    ) -> Tensor:
        """The branch, for all rows or for some of them, which then are the queries and all of `x` the keys."""
        x = self.norm1(x) if self.pre_norm else x
        if rows is None:
            return self.attention(x, mask=mask, rotary=rotary, cache=cache, probe=probe)  # type: ignore[no-any-return]
        return self.attention(x[:, rows], x, mask=mask, rotary=rotary, probe=probe)  # type: ignore[no-any-return]

    def _add(self, x: Tensor, branch: Tensor, scale: LayerScale | None, norm: nn.LayerNorm) -> Tensor:
        """Join a branch to its residual."""
        if self.dropout is not None:
            branch = self.dropout(branch)
        if scale is not None:
            branch = scale(branch)
        if self.stochastic_depth is not None:
            branch = self.stochastic_depth(branch)
        x = x + branch
        return x if self.pre_norm else norm(x)
