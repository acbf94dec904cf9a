from typing import get_args

import pytest
import torch
from torch import nn

from multiattn.attention import Attention, Mask, Site, Tap
from multiattn.blocks import Activation, FeedForward, QuickGELU, StochasticDepth, TransformerBlock, activation

B, N, M, D, C, H = 2, 7, 5, 15, 11, 3


def block(*, cross=False, **options):
    torch.manual_seed(0)
    return TransformerBlock(
        D,
        attention=Attention(D, H),
        feedforward=FeedForward(D, 23),
        cross_attention=Attention(D, H, kv_dim=C) if cross else None,
        **options,
    ).eval()


def normals(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("pre_norm", [True, False])
@pytest.mark.parametrize("layer_scale", [None, 0.3])
def test_the_block_is_its_three_branches(pre_norm, layer_scale):
    b = block(cross=True, pre_norm=pre_norm, layer_scale=layer_scale)
    x, context = normals(B, N, D), normals(B, M, C, seed=1)
    mask, context_mask = Mask(causal=True), Mask(keys=torch.tensor([[True] * M, [True, True, False, False, True]]))
    branches = [
        (b.norm1, lambda y: b.attention(y, mask=mask)),
        (b.cross_norm, lambda y: b.cross_attention(y, context, mask=context_mask)),
        (b.norm2, b.feedforward),
    ]
    expected = x
    for norm, branch in branches:
        factor = 1.0 if layer_scale is None else layer_scale
        expected = (
            expected + factor * branch(norm(expected)) if pre_norm else norm(expected + factor * branch(expected))
        )
    torch.testing.assert_close(b(x, context, mask=mask, context_mask=context_mask), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("pre_norm", [True, False])
def test_some_rows_are_rows_of_the_whole(pre_norm):
    b, x = block(pre_norm=pre_norm), normals(B, N, D)
    torch.testing.assert_close(b(x, rows=slice(0, 2)), b(x)[:, :2], atol=1e-6, rtol=0)
    causal = b(x, rows=slice(-3, None), mask=Mask(causal=True))
    torch.testing.assert_close(causal, b(x, mask=Mask(causal=True))[:, -3:], atol=1e-6, rtol=0)


def test_a_bias_reaches_the_self_attention_and_its_rows():
    b, x, bias = block(norm="rms"), normals(B, N, D), normals(1, H, N, N, seed=1)
    assert isinstance(b.norm1, nn.RMSNorm) and isinstance(b.norm2, nn.RMSNorm)
    expected = x + b.attention(b.norm1(x), bias=bias)
    expected = expected + b.feedforward(b.norm2(expected))
    torch.testing.assert_close(b(x, bias=bias), expected)
    torch.testing.assert_close(b(x, bias=bias, rows=slice(0, 2)), expected[:, :2], atol=1e-6, rtol=0)
    leaf = bias.clone().requires_grad_()
    found = []
    for checkpoint_activations in (False, True):
        result = b(x, bias=leaf, checkpoint_activations=checkpoint_activations)
        found.extend(torch.autograd.grad(result.square().sum(), leaf))
    assert found[0].abs().max() > 0
    torch.testing.assert_close(found[1], found[0])


def test_a_gated_feedforward_is_a_product():
    gated = FeedForward(D, 23, activation=nn.SiLU(), gated=True, bias=False, norm=nn.LayerNorm(23))
    nn.init.normal_(gated.norm.weight)
    x = normals(B, N, D)
    gate, value = gated.fc1.weight[:23], gated.fc1.weight[23:]
    z = x @ gate.T
    expected = gated.norm(z * torch.sigmoid(z) * (x @ value.T)) @ gated.fc2.weight.T
    torch.testing.assert_close(gated(x), expected, atol=1e-6, rtol=0)
    assert gated.fc1.bias is None and gated.fc2.bias is None


def test_the_probe_sees_both_sites():
    b = block(cross=True)
    tap = Tap([Site("block.self", H, N, N), Site("block.cross", H, N, M)])
    b(normals(B, N, D), normals(B, M, C), probe=tap.at("block"))
    assert [w.shape for w in tap.weights.values()] == [(B, H, N, N), (B, H, N, M)]


def test_a_block_with_cross_attention_needs_a_context():
    with pytest.raises(ValueError, match="`context` must be given to a block with cross-attention"):
        block(cross=True)(normals(B, N, D))


def test_stochastic_depth_keeps_the_mean_and_drops_whole_items():
    drop = StochasticDepth(0.25).train()
    torch.manual_seed(0)
    out = drop(torch.ones(4001, 3))
    assert out.unique().tolist() == pytest.approx([0, 4 / 3])
    assert (out == out[:, :1]).all()
    assert out.mean().item() == pytest.approx(1, abs=0.03)


def test_activations_are_the_published_ones():
    x = torch.linspace(-5, 5, 101)
    torch.testing.assert_close(QuickGELU()(x), x / (1 + torch.exp(-1.702 * x)))
    exact = FeedForward(3, 5).activation
    torch.testing.assert_close(exact(x), x * 0.5 * (1 + torch.erf(x / 2**0.5)))
    assert isinstance(FeedForward(3, 5, activation=nn.ReLU()).activation, nn.ReLU)
    torch.testing.assert_close(activation("silu")(x), x * torch.sigmoid(x))
    torch.testing.assert_close(activation("relu")(x), x.clamp(min=0))
    for name in get_args(Activation):
        assert activation(name)(x).shape == x.shape
