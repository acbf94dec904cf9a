"""The transformer block: self-attention, cross-attention where there is a context, feedforward.

Each is a branch whose result is added to the block's input (the residual). On the way it may be scaled by learned
factors and, in training, dropped.

Notation: b batch, n tokens, r rows computed, c contexts, m context tokens, D width, C the context's width.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..attention import OPEN, Attention, GrowingCache, KeysValues, Mask, Probe, Rotary, probe_at
from ..checks import check_argument
from .feedforward import FeedForward, applied

Norm = Literal["layer", "rms"]
"""`layer`: LayerNorm. `rms`: RMSNorm, without mean and bias. Source: Zhang and Sennrich 2019."""


def make_norm(kind: Norm, dim: int, *, eps: float) -> nn.Module:
    """Build a norm over the last axis.

    Args:
        kind: Which one.
        dim: Width of the axis.
        eps: Added to the variance, or to the mean square.
    """
    return nn.LayerNorm(dim, eps=eps) if kind == "layer" else nn.RMSNorm(dim, eps=eps)


class LayerScale(nn.Module):
    """A learned factor per channel. Source: Touvron et al. 2021, "Going deeper with image transformers", section 2."""

    def __init__(self, dim: int, *, init: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((dim,), init))

    def forward(self, x: Float[Tensor, "*b D"]) -> Float[Tensor, "*b D"]:
        """Scale the last axis."""
        return x * self.gamma


class StochasticDepth(nn.Module):
    """Drops a whole branch for some items of a batch, in training only. Source: Huang et al. 2016, section 3."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        check_argument(0.0 <= probability < 1.0, "probability", must="at least 0 and below 1", value=probability)
        self.keep = 1.0 - probability

    def forward(self, x: Float[Tensor, "b *rest"]) -> Float[Tensor, "b *rest"]:
        """Zero some items, and scale the others so that the expected value stays the same."""
        if not self.training or self.keep == 1.0:
            return x
        kept = x.new_empty(x.shape[0], *(1,) * (x.ndim - 1)).bernoulli_(self.keep)
        return x * (kept / self.keep)


class TransformerBlock(nn.Module):
    """One block, with the norms before the branches (pre-norm) or after the additions (post-norm).

    Args:
        dim: Width of the tokens.
        attention: The self-attention.
        feedforward: Applied to each token.
        cross_attention: Attention to the context, between the two; None for a block without a context.
        pre_norm: x + f(norm(x)) where true, norm(x + f(x)) where false.
        norm: Which norm.
        norm_eps: Added to the variance in each norm.
        layer_scale: Start value of each branch's learned factors; no factors where None.
        scale_feedforward: Whether the feedforward has such factors, too.
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
        norm: Norm = "layer",
        norm_eps: float = 1e-6,
        layer_scale: float | None = None,
        scale_feedforward: bool = True,
        stochastic_depth: float = 0.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        has_context = cross_attention is not None

        def scale() -> LayerScale | None:
            return None if layer_scale is None else LayerScale(dim, init=layer_scale)

        self.pre_norm = pre_norm
        self.norm1 = make_norm(norm, dim, eps=norm_eps)
        self.attention = attention
        self.scale1 = scale()
        self.cross_norm = make_norm(norm, dim, eps=norm_eps) if has_context else None
        self.cross_attention = cross_attention
        self.cross_scale = scale() if has_context else None
        self.norm2 = make_norm(norm, dim, eps=norm_eps)
        self.feedforward = feedforward
        self.scale2 = scale() if scale_feedforward else None
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
        bias: Float[Tensor, "#b #h q k"] | None = None,
        rotary: Rotary | None = None,
        cache: GrowingCache | None = None,
        probe: Probe | None = None,
        checkpoint_activations: bool = False,
        skip_cross: bool = False,
    ) -> Float[Tensor, "b r D"]:
        """Run the block.

        Args:
            x: The tokens.
            context: Tokens, or their keys and values, for the cross-attention; consecutive items of `x` may share one.
            rows: Compute only these rows of the result; they still attend to all of `x`. With rotary positions they
                must be the first rows; with a causal mask or a window, the last.
            mask: For the self-attention.
            context_mask: For the cross-attention.
            bias: Added to the scores of the self-attention; with `rows`, of all rows.
            rotary: Angles for the self-attention.
            cache: Keys and values of the positions before `x`, for the self-attention; not together with `rows`.
            probe: Captures the sites `self` and `cross`.
            checkpoint_activations: Under autograd, keep only the inputs for the backward pass and compute the rest once
                more there; not together with a cache. A block that `probe` captures keeps everything.
                Source: Chen et al. 2016, "Training deep nets with sublinear memory cost".
            skip_cross: Leave the cross-attention out, as where BLIP reads a text by itself; `context` is None then.

        Returns:
            The new tokens, or those of `rows`.

        Raises:
            ValueError: The block has cross-attention, and `context` is None.
        """
        if self.cross_attention is not None and context is None and not skip_cross:
            raise ValueError("`context` must be given to a block with cross-attention, but is None instead.")
        if probe is not None:
            probe.tap.enter(probe.path, x)
        if not checkpoint_activations or not torch.is_grad_enabled() or (probe is not None and probe.is_wanted):
            return self._run(x, context, rows, mask, context_mask, bias, rotary, cache, probe)
        return checkpoint(
            self._run, x, context, rows, mask, context_mask, bias, rotary, cache, None, use_reentrant=False
        )

    def _run(
        self,
        x: Tensor,
        context: Tensor | KeysValues | None,
        rows: slice | None,
        mask: Mask,
        context_mask: Mask,
        bias: Tensor | None,
        rotary: Rotary | None,
        cache: GrowingCache | None,
        probe: Probe | None,
    ) -> Tensor:
        """The branches, one after another."""
        # no branch is bound to a name here, so that its memory is freed as soon as it is added
        x = self._add(
            x if rows is None else x[:, rows],  # (b, r, D)
            self._self_attention(x, rows, mask, bias, rotary, cache, probe_at(probe, "self")),
            self.scale1,
            self.norm1,
        )
        # without a context it is left out, which `forward` has been asked for
        if self.cross_attention is not None and context is not None:
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
        bias: Tensor | None,
        rotary: Rotary | None,
        cache: GrowingCache | None,
        probe: Probe | None,
    ) -> Tensor:
        """The self-attention branch; with `rows` those are the queries, and all of `x` the keys."""
        x = self.norm1(x) if self.pre_norm else x
        if rows is None:
            return self.attention(  # type: ignore[no-any-return]
                x, mask=mask, bias=bias, rotary=rotary, cache=cache, probe=probe
            )
        of_rows = None if bias is None else bias[:, :, rows]
        # contiguous, because torch multiplies strided rows one way where a weight has a gradient, and another where not
        return self.attention(  # type: ignore[no-any-return]
            x[:, rows].contiguous(), x, mask=mask, bias=of_rows, rotary=rotary, probe=probe
        )

    def attention_branch(
        self,
        x: Float[Tensor, "b n D"],
        *,
        mask: Mask = OPEN,
        rotary: Rotary | None = None,
        probe: Probe | None = None,
    ) -> Float[Tensor, "b n D"]:
        """Return what the self-attention adds to its residual; arguments as for `forward`."""
        return self._scaled(self._self_attention(x, None, mask, None, rotary, None, probe), self.scale1)

    def feedforward_branch(self, x: Float[Tensor, "b n D"]) -> Float[Tensor, "b n D"]:
        """Return what the feedforward adds to its residual."""
        return self._scaled(self.feedforward(self.norm2(x) if self.pre_norm else x), self.scale2)

    def _scaled(self, branch: Tensor, scale: LayerScale | None) -> Tensor:
        return applied(self.stochastic_depth, applied(scale, applied(self.dropout, branch)))

    def _add(self, x: Tensor, branch: Tensor, scale: LayerScale | None, norm: nn.Module) -> Tensor:
        """Add a branch to its residual."""
        x = x + self._scaled(branch, scale)
        return x if self.pre_norm else norm(x)
