"""Reversible blocks: a training step keeps the tokens after the last block alone, whatever the depth.

Two streams of tokens go through the blocks. Each block adds its attention of one stream to the other, and its
feedforward of that one to the first, so that the tokens before it follow from those after it. The backward pass
computes them again, block by block.

Notation: b batch, n tokens, D width.
Source: RevNet (Gomez et al. 2017), section 3; Reformer (Kitaev et al. 2020), section 3.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ..attention import OPEN, Buckets, Mask, Probe, Rotary, Tap, probe_at
from .transformer import TransformerBlock

Branch = Callable[[Tensor], Tensor]
"""What a block adds to a stream, from the other one."""


class Streams(NamedTuple):
    """The two streams of tokens."""

    first: Float[Tensor, "b n D"]
    """The attentions are added to it."""

    second: Float[Tensor, "b n D"]
    """The feedforwards are added to it."""


def run_reversible(
    blocks: Sequence[TransformerBlock],
    streams: Streams,
    *,
    mask: Mask = OPEN,
    rotary: Rotary | None = None,
    tap: Tap | Probe | None = None,
) -> Streams:
    """Run pre-norm blocks without cross-attention on two streams.

    Under autograd, the backward pass computes the tokens between the blocks again, with the same dropout and the same
    buckets. It rounds a little differently each time: the streams should be in fp32. With a tap, which needs what is
    between the blocks, and in a compiled model all of it is kept.

    Args:
        blocks: The blocks.
        streams: The tokens; both may be the same tensor.
        mask: For the attentions.
        rotary: Angles for the attentions.
        tap: Captures attention weights, at the sites `blocks.N.self`.
    """
    steps = [_Step(block, mask, rotary) for block in blocks]
    if tap is not None or not torch.is_grad_enabled() or torch.compiler.is_compiling():
        for index, step in enumerate(steps):
            probe = probe_at(tap, f"blocks.{index}")
            if probe is not None:
                probe.tap.enter(probe.path, streams.second)
            streams = step.forward(streams, probe_at(probe, "self"))
        return streams
    parameters = [parameter for block in blocks for parameter in block.parameters() if parameter.requires_grad]
    return Streams(*_Reversible.apply(*streams, steps, *parameters))


class _Step:
    """One block of one call, there and back."""

    def __init__(self, block: TransformerBlock, mask: Mask, rotary: Rotary | None) -> None:
        assert block.pre_norm and block.cross_attention is None
        self.block = block
        self.parameters = [parameter for parameter in block.parameters() if parameter.requires_grad]
        # tokens that are computed again may differ in the last bit, and must not change their buckets by it
        self._mask = replace(mask, buckets=Buckets()) if mask.buckets is None else mask
        self._rotary = rotary
        self._states: list[_RandomState] = []

    def forward(self, streams: Streams, probe: Probe | None = None) -> Streams:
        """Return the streams after the block."""
        first = streams.first + self._attention(streams.second, probe=probe)
        return Streams(first, streams.second + self._feedforward(first))

    def forward_again_later(self, streams: Streams) -> Streams:
        """The same, and note where the random numbers stand."""
        self._states = [_RandomState(streams.first)]
        first = streams.first + self._attention(streams.second)
        self._states.append(_RandomState(first))
        return Streams(first, streams.second + self._feedforward(first))

    def backward(self, after: Streams, gradients: Streams) -> tuple[Streams, Streams, list[Tensor]]:
        """Return the streams before the block, their gradients, and those of the parameters."""
        added, by_first, of_feedforward = self._again(1, self._feedforward, after.first, gradients.second)
        before_second = after.second - added
        of_first = gradients.first + by_first
        added, by_second, of_attention = self._again(0, self._attention, before_second, of_first)
        of_parameters = [a + b for a, b in zip(of_feedforward, of_attention, strict=True)]
        return (
            Streams(after.first - added, before_second),
            Streams(of_first, gradients.second + by_second),
            of_parameters,
        )

    def _again(self, index: int, branch: Branch, x: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Return the result of a branch, and the gradients of its input and of the block's parameters."""
        x = x.detach().requires_grad_()
        with torch.enable_grad(), self._states[index].restored():
            added = branch(x)
        wanted = [x, *self.parameters]
        found = torch.autograd.grad(added, wanted, gradient.to(added.dtype), allow_unused=True)
        filled = [torch.zeros_like(one) if part is None else part for one, part in zip(wanted, found, strict=True)]
        return added.detach(), filled[0], filled[1:]

    def _attention(self, x: Tensor, *, probe: Probe | None = None) -> Tensor:
        return self.block.attention_branch(x, mask=self._mask, rotary=self._rotary, probe=probe)

    def _feedforward(self, x: Tensor) -> Tensor:
        return self.block.feedforward_branch(x)


class _RandomState:
    """Where the random numbers stand, and autocast, for computing something once more."""

    def __init__(self, x: Tensor) -> None:
        self._device = x.device
        self._cpu = torch.get_rng_state()
        self._cuda = torch.cuda.get_rng_state(x.device) if x.is_cuda else None
        kind = x.device.type
        self._autocast = partial(
            torch.autocast,
            kind,
            dtype=torch.get_autocast_dtype(kind),
            enabled=torch.is_autocast_enabled(kind),
            cache_enabled=False,
        )

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Go back there, and at the end to where they are now."""
        with torch.random.fork_rng([] if self._cuda is None else [self._device]), self._autocast():
            torch.set_rng_state(self._cpu)
            if self._cuda is not None:
                torch.cuda.set_rng_state(self._cuda, self._device)
            yield


class _Reversible(torch.autograd.Function):
    """All blocks as one node of the graph, which keeps their results alone."""

    @staticmethod
    def forward(
        ctx: Any, first: Tensor, second: Tensor, steps: list[_Step], *parameters: nn.Parameter
    ) -> tuple[Tensor, Tensor]:
        streams = Streams(first, second)
        for step in steps:
            streams = step.forward_again_later(streams)
        ctx.steps = steps
        ctx.save_for_backward(*streams)
        return streams.first, streams.second

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_first: Tensor, of_second: Tensor) -> tuple[Tensor | None, ...]:
        streams, gradients = Streams(*ctx.saved_tensors), Streams(of_first, of_second)
        of_parameters: list[Tensor] = []
        for step in reversed(ctx.steps):
            streams, gradients, of_block = step.backward(streams, gradients)
            of_parameters = of_block + of_parameters
        return *gradients, None, *of_parameters
