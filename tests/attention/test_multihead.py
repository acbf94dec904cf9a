import pytest
import torch
from torch import nn

from multiattn.attention import AdditiveScore, Attention, Mask, Site, Tap, rotary_2d
from tests.reference import dot_product_scores, naive_attention, naive_weights

B, N, M, D, C, H = 2, 7, 5, 15, 11, 3


def heads(x):
    return x.unflatten(-1, (H, D // H)).transpose(1, 2)


def joined(x):
    return x.transpose(1, 2).flatten(2)


def normals(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_self_attention_is_projection_oracle_projection():
    attention, x = Attention(D, H), normals(B, N, D)
    q, k, v = (heads(part) for part in attention.qkv(x).chunk(3, dim=-1))
    expected = attention.out(joined(naive_attention(q, k, v, causal=True)).float())
    torch.testing.assert_close(attention(x, mask=Mask(causal=True)), expected, atol=1e-6, rtol=0)


def test_cross_attention_to_a_context_of_another_width():
    attention, x, context = Attention(D, H, kv_dim=C), normals(B, N, D), normals(B, M, C, seed=1)
    keys = torch.tensor([[True] * 5, [True, False, True, True, False]])
    k, v = (heads(part) for part in attention.kv(context).chunk(2, dim=-1))
    expected = attention.out(joined(naive_attention(heads(attention.q(x)), k, v, keys=keys)).float())
    torch.testing.assert_close(attention(x, context, mask=Mask(keys=keys)), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("bias", [True, False])
def test_some_rows_of_self_attention_are_rows_of_the_whole(bias):
    attention, x = Attention(D, H, bias=bias), normals(B, N, D)
    torch.testing.assert_close(attention(x[:, :2], x), attention(x)[:, :2], atol=1e-6, rtol=0)
    last = attention(x[:, -2:], x, mask=Mask(causal=True))
    torch.testing.assert_close(last, attention(x, mask=Mask(causal=True))[:, -2:], atol=1e-6, rtol=0)


def test_a_key_bias_cannot_be_seen():
    """Why a checkpoint without one loads as one that is zero, and why it may be dropped on the way back."""
    attention, x = Attention(D, H), normals(B, N, D)
    before = attention(x)
    with torch.no_grad():
        attention.qkv.bias[D : 2 * D] += normals(D, seed=2)
    torch.testing.assert_close(attention(x), before, atol=1e-6, rtol=0)


def test_q_and_k_are_normalized_then_turned():
    attention = Attention(24, 3, q_norm=nn.LayerNorm(8), k_norm=nn.LayerNorm(8))
    x, rotary = normals(B, 6, 24), rotary_2d(2, 3, 8)
    q, k, v = (part.unflatten(-1, (3, 8)).transpose(1, 2) for part in attention.qkv(x).chunk(3, dim=-1))
    q, k = (
        norm(part) * rotary.cos + torch.cat([-norm(part)[..., 4:], norm(part)[..., :4]], -1) * rotary.sin
        for norm, part in ((attention.q_norm, q), (attention.k_norm, k))
    )
    expected = attention.out(joined(naive_attention(q, k, v)).float())
    torch.testing.assert_close(attention(x, rotary=rotary), expected, atol=1e-6, rtol=0)


def test_additive_score_takes_the_place_of_the_dot_product():
    attention = Attention(D, H, score=AdditiveScore(H, D // H))
    x = normals(B, N, D)
    q, k, v = (heads(part) for part in attention.qkv(x).chunk(3, dim=-1))
    expected = attention.out(joined(attention.score.weights(q, k) @ v))
    torch.testing.assert_close(attention(x), expected)
    assert {"score.query", "score.key", "score.energy"} < set(dict(attention.named_parameters()))


def test_heads_of_a_width_of_their_own_with_a_bias_and_a_norm_of_what_they_mix():
    torch.manual_seed(0)
    attention = Attention(D, H, head_dim=7, bias=False, out_bias=False, norm=nn.LayerNorm(21))
    nn.init.normal_(attention.norm.weight)
    x, bias = normals(B, N, D), normals(1, H, N, N, seed=1)
    q, k, v = (part.unflatten(-1, (H, 7)).transpose(1, 2) for part in attention.qkv(x).chunk(3, dim=-1))
    mixed = attention.norm(joined(naive_attention(q, k, v, bias=bias, causal=True)).float())
    expected = mixed @ attention.out.weight.T
    mask = Mask(causal=True)
    torch.testing.assert_close(attention(x, mask=mask, bias=bias), expected, atol=1e-5, rtol=0)
    tap = Tap([Site("self", H, N, N)], rows=[-1, 2], heads=[2, 0])
    assert torch.equal(attention(x, mask=mask, bias=bias, probe=tap.at("self")), attention(x, mask=mask, bias=bias))
    weights = naive_weights(dot_product_scores(q, k, bias=bias), causal=True)[:, [2, 0]][:, :, [-1, 2]]
    torch.testing.assert_close(tap.weights["self"].double(), weights, atol=1e-6, rtol=0)
    last = attention(x[:, -2:], x, mask=mask, bias=bias[:, :, -2:])
    torch.testing.assert_close(last, expected[:, -2:], atol=1e-5, rtol=0)
    assert set(dict(attention.named_parameters())) == {"qkv.weight", "norm.weight", "norm.bias", "out.weight"}


def test_a_context_of_heads_of_a_width_of_their_own():
    attention, x, context = Attention(D, H, kv_dim=C, head_dim=7), normals(B, N, D), normals(B, M, C, seed=1)
    q = attention.q(x).unflatten(-1, (H, 7)).transpose(1, 2)
    k, v = (part.unflatten(-1, (H, 7)).transpose(1, 2) for part in attention.kv(context).chunk(2, dim=-1))
    expected = attention.out(joined(naive_attention(q, k, v)).float())
    torch.testing.assert_close(attention(x, context), expected, atol=1e-6, rtol=0)


def test_fewer_heads_of_k_and_v_serve_several_of_q_each():
    attention, x = Attention(24, 6, num_kv_heads=2, k_norm=nn.LayerNorm(4)), normals(B, N, 24)
    q = attention.q(x).unflatten(-1, (6, 4)).transpose(1, 2)
    k, v = (part.unflatten(-1, (2, 4)).transpose(1, 2) for part in attention.kv(x).chunk(2, dim=-1))
    k = attention.k_norm(k)
    k, v = (torch.stack([part[:, head // 3] for head in range(6)], dim=1) for part in (k, v))
    expected = attention.out(joined(naive_attention(q, k, v)).float())
    tap = Tap([Site("self", 6, N, N)], heads=[4], gradients=True)
    found = attention(x, probe=tap.at("self"))
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    weights = naive_weights(dot_product_scores(q, k))[:, [4]]
    torch.testing.assert_close(tap.weights["self"].double(), weights, atol=1e-6, rtol=0)
    assert tap.gradients(found.square().sum())["self"].shape == (B, 1, N, N)
    torch.testing.assert_close(attention(x[:, :2], x), expected[:, :2], atol=1e-6, rtol=0)
    with pytest.raises(ValueError, match=r"`num_kv_heads` must be a divisor of `num_heads` \(6\), but is 4"):
        Attention(24, 6, num_kv_heads=4)


def test_the_tap_is_given_the_bias_that_the_kernel_added():
    """In half precision the kernel rounds it, and so the weights are those of the rounded one."""
    attention, x, bias = Attention(D, H).bfloat16(), normals(B, N, D).bfloat16(), 9 * normals(1, H, N, N, seed=1)
    tap = Tap([Site("self", H, N, N)])
    attention(x, bias=bias, probe=tap.at("self"))
    q, k, _ = (part.unflatten(-1, (H, D // H)).transpose(1, 2) for part in attention.qkv(x).chunk(3, dim=-1))
    expected = naive_weights(dot_product_scores(q, k, bias=bias.bfloat16()))
    torch.testing.assert_close(tap.weights["self"].double(), expected, atol=1e-6, rtol=0)


def test_dropout_is_for_training_only():
    attention, x = Attention(D, H, dropout=0.5), normals(B, N, D)
    attention.eval()
    assert torch.equal(attention(x), attention(x))
    attention.train()
    assert not torch.equal(attention(x), attention(x))


def test_refusals():
    with pytest.raises(ValueError, match=r"`dim` must be a multiple of `num_heads` \(4\), but is 15"):
        Attention(15, 4)
    with pytest.raises(ValueError, match="`context` must be given to cross-attention"):
        Attention(D, H, kv_dim=C)(normals(B, N, D))
    with pytest.raises(ValueError, match="`bias` must be None for cross-attention"):
        Attention(D, H, kv_dim=C)(normals(B, N, D), normals(B, M, C), bias=normals(1, H, N, M))


def test_rows_that_share_a_context_are_as_if_each_had_its_own():
    attention, x, context = Attention(D, H, kv_dim=C), normals(6, N, D), normals(B, M, C, seed=1)
    mask = Mask(keys=torch.tensor([[True] * 5, [True, False, True, True, False]]))
    repeated = Mask(keys=mask.keys.repeat_interleave(3, dim=0))
    expected = attention(x, context.repeat_interleave(3, dim=0), mask=repeated)
    torch.testing.assert_close(attention(x, context, mask=mask), expected, atol=1e-6, rtol=0)
    sites = [Site("cross", H, N, M)]
    shared, single = Tap(sites, gradients=True), Tap(sites, gradients=True)
    tapped = attention(x, context, mask=mask, probe=shared.at("cross"))
    assert torch.equal(tapped, attention(x, context, mask=mask))
    own = attention(x, context.repeat_interleave(3, dim=0), mask=repeated, probe=single.at("cross"))
    torch.testing.assert_close(shared.weights["cross"], single.weights["cross"], atol=1e-6, rtol=0)
    gradients = [tap.gradients(out.square().sum())["cross"] for tap, out in ((shared, tapped), (single, own))]
    torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-4)


def test_keys_and_values_made_once_serve_every_call():
    attention = Attention(D, H, kv_dim=C, k_norm=nn.LayerNorm(D // H))
    x, context = normals(4, N, D), normals(B, M, C, seed=1)
    frozen = attention.keys_values(context)
    for part in (x, x[:, :1]):
        torch.testing.assert_close(attention(part, frozen), attention(part, context), atol=1e-6, rtol=0)


def test_a_context_whose_batch_does_not_divide_the_rows_is_refused():
    attention = Attention(D, H, kv_dim=C)
    with pytest.raises(ValueError, match=r"batch that divides the rows of `x` \(5\), but has 2"):
        attention(normals(5, N, D), normals(2, M, C))
