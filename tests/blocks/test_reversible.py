"""Reversible blocks have the results and the gradients of the same blocks with everything kept."""

import pytest
import torch

from multiattn.attention import Attention, Chunking, LSHScore, Mask, Probe, Site, Tap, lsh, rotary
from multiattn.blocks import FeedForward, Streams, TransformerBlock, run_reversible

B, N, D, H, DEPTH = 2, 23, 12, 3, 5
KEYS = torch.arange(N) < torch.tensor([[N], [17]])


def blocks(kind="full", **options):
    torch.manual_seed(0)
    made = []
    for index in range(DEPTH):
        lsh = (
            {"shared_qk": True, "score": LSHScore(H, D // H, chunking=Chunking(5), seed=index)} if kind == "lsh" else {}
        )
        made.append(
            TransformerBlock(
                D, attention=Attention(D, H, **lsh), feedforward=FeedForward(D, 29), layer_scale=0.5, **options
            )
        )
    return torch.nn.ModuleList(made)


def streams(requires_grad=True):
    generator = torch.Generator().manual_seed(1)
    return Streams(*(torch.randn(B, N, D, generator=generator).requires_grad_(requires_grad) for _ in range(2)))


def written_out(made, first, second, *, mask=None, angles=None):
    for block in made:
        normed = block.norm1(second)
        first = first + block.scale1(block.attention(normed, mask=mask or Mask(), rotary=angles))
        second = second + block.scale2(block.feedforward(block.norm2(first)))
    return first, second


def gradients(results, made, inputs):
    cotangents = [torch.randn(B, N, D, generator=torch.Generator().manual_seed(i)) for i in range(2)]
    loss = sum((result * one).sum() for result, one in zip(results, cotangents, strict=True))
    return torch.autograd.grad(loss, [*inputs, *made.parameters()], allow_unused=True)


@pytest.mark.parametrize("kind", ["full", "window", "lsh"])
def test_results_and_gradients_are_those_of_the_blocks_written_out(kind):
    made, inputs, angles = blocks(kind), streams(), rotary(N, D // H)
    mask = Mask(keys=KEYS, **({"window": 3, "global_tokens": torch.tensor([[0, 9]])} if kind == "window" else {}))
    expected = written_out(made, *inputs, mask=mask, angles=angles)
    found = run_reversible(list(made), inputs, mask=mask, rotary=angles)
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours, theirs)
    pairs = zip(gradients(found, made, inputs), gradients(expected, made, inputs), strict=True)
    for ours, theirs in pairs:
        torch.testing.assert_close(ours, theirs, atol=2e-4, rtol=1e-3)
    with torch.no_grad():
        assert torch.equal(run_reversible(list(made), inputs, mask=mask, rotary=angles).second, expected[1])


def test_the_backward_pass_drops_what_the_forward_pass_dropped():
    """Against checkpoints of torch itself, which draw the same numbers twice, too."""
    made, inputs = blocks(dropout=0.3, stochastic_depth=0.2).train(), streams()

    def kept():
        first, second = inputs
        for block in made:
            first = first + block.attention_branch(second)
            second = second + block.feedforward_branch(first)
        return first, second

    torch.manual_seed(7)
    expected = kept()
    torch.manual_seed(7)
    found = run_reversible(list(made), inputs)
    after = torch.rand(3)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(found, expected, strict=True))
    for ours, theirs in zip(gradients(found, made, inputs), gradients(expected, made, inputs), strict=True):
        torch.testing.assert_close(ours, theirs, atol=2e-4, rtol=1e-3)
    torch.manual_seed(7)
    kept()
    assert torch.equal(torch.rand(3), after)


def test_nothing_between_the_blocks_is_kept_for_the_backward_pass():
    """Counted: what autograd saves is the result alone, for any depth."""
    sizes = []
    for depth in (1, DEPTH):
        saved: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda x, saved=saved: saved.append(x.numel()) or x, lambda x: x):
            run_reversible(list(blocks("lsh"))[:depth], streams())
        sizes.append(sum(saved))
    assert sizes == [2 * B * N * D] * 2


def test_a_parameter_that_is_frozen_is_left_alone():
    made, inputs = blocks(), streams(requires_grad=False)
    made[:3].requires_grad_(False)
    loss = sum(one.square().sum() for one in run_reversible(list(made), inputs))
    loss.backward()
    assert all(parameter.grad is None for parameter in made[:3].parameters())
    assert all(parameter.grad is not None for parameter in made[3:].parameters())


def test_a_tap_sees_each_block_and_changes_nothing():
    made, inputs = blocks("lsh"), streams()
    tap = Tap([Site(f"blocks.{index}.self", H, N, N) for index in range(DEPTH)], rows=[3])
    found = run_reversible(list(made), inputs, tap=tap)
    expected = run_reversible(list(made), inputs)
    assert torch.equal(found.second, expected.second)
    for weights in tap.weights.values():
        assert weights.shape == (B, H, 1, N)
        torch.testing.assert_close(weights.sum(-1), torch.ones(B, H, 1))
    part = Tap([Site(f"encoder.blocks.{index}.self", H, N, N) for index in range(DEPTH)])
    run_reversible(list(made), inputs, tap=Probe(part, "encoder"))
    assert len(part.weights) == DEPTH


def test_under_autocast_the_gradients_are_those_of_autocast():
    made, inputs = blocks(), streams()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected, found = written_out(made, *inputs), run_reversible(list(made), inputs)
    assert found.first.dtype == torch.float32
    ours, theirs = gradients(found, made, inputs), gradients(expected, made, inputs)
    flat = [torch.cat([one.flatten() for one in part]) for part in (ours, theirs)]
    assert torch.nn.functional.cosine_similarity(*flat, dim=0) > 0.999


def test_tokens_are_hashed_once_and_keep_their_buckets_on_the_way_back(monkeypatch):
    """Computed again, they may differ in the last bit."""
    calls, hashed = [], lsh.hashed
    monkeypatch.setattr(lsh, "hashed", lambda *args: calls.append(1) or hashed(*args))
    made, inputs = blocks("lsh"), streams()
    gradients(run_reversible(list(made), inputs), made, inputs)
    assert len(calls) == DEPTH
